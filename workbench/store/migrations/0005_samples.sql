-- Whether an answer is to a prompt that is asked again and again through the run.
ALTER TABLE samples ADD COLUMN is_watched INTEGER NOT NULL DEFAULT 0 CHECK (is_watched IN (0, 1));

-- The tokens of the answer as they read, and of each figure a number for every token.
ALTER TABLE samples ADD COLUMN tokens TEXT CHECK (tokens IS NULL OR json_valid(tokens));
ALTER TABLE samples ADD COLUMN figures TEXT CHECK (figures IS NULL OR json_valid(figures));
