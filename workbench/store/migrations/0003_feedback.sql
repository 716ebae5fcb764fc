-- More kinds of feedback: strength, rankings, ratings, comments, tags, edits, hidden repeats, AI
-- judges; and a queue whose order can be chosen. Like judgements, all of it is append-only: undo
-- marks rows, nothing is removed.

CREATE TABLE rankings (
  id INTEGER PRIMARY KEY,
  prompt_id INTEGER NOT NULL REFERENCES prompts (id),
  places TEXT NOT NULL CHECK (json_valid(places)), -- [[best answers' ids], [next], ...]
  annotator TEXT NOT NULL,
  annotator_kind TEXT NOT NULL CHECK (
    annotator_kind IN ('person', 'simulated', 'ai', 'imported')
  ),
  seconds REAL NOT NULL,
  is_undone INTEGER NOT NULL DEFAULT 0 CHECK (is_undone IN (0, 1)),
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX rankings_by_prompt ON rankings (prompt_id, annotator, id) WHERE is_undone = 0;
CREATE TRIGGER rankings_are_kept BEFORE DELETE ON rankings
BEGIN
  SELECT raise(ABORT, 'rankings are append-only');
END;
CREATE TRIGGER rankings_are_final BEFORE UPDATE OF
  id, prompt_id, places, annotator, annotator_kind, seconds, created_at ON rankings
BEGIN
  SELECT raise(ABORT, 'rankings are append-only');
END;

-- 0: not said, 1: slightly better, 2: clearly better.
ALTER TABLE judgements ADD COLUMN strength INTEGER NOT NULL DEFAULT 0
  CHECK (strength IN (0, 1, 2));
-- Whether the annotator had asked which model wrote which answer.
ALTER TABLE judgements ADD COLUMN is_revealed INTEGER NOT NULL DEFAULT 0
  CHECK (is_revealed IN (0, 1));
-- The ranking that this judgement follows from.
ALTER TABLE judgements ADD COLUMN ranking_id INTEGER REFERENCES rankings (id);
DROP TRIGGER judgements_are_final;
CREATE TRIGGER judgements_are_final BEFORE UPDATE OF
  id, comparison_id, verdict, annotator, annotator_kind, seconds, created_at, strength,
  is_revealed, ranking_id ON judgements
BEGIN
  SELECT raise(ABORT, 'judgements are append-only');
END;

-- What an annotator said of a pair when it was shown once more, in the comparison's own order.
CREATE TABLE repeats (
  id INTEGER PRIMARY KEY,
  comparison_id INTEGER NOT NULL REFERENCES comparisons (id),
  verdict TEXT NOT NULL CHECK (verdict IN ('first', 'second', 'tie', 'both_bad', 'skip')),
  strength INTEGER NOT NULL DEFAULT 0 CHECK (strength IN (0, 1, 2)),
  is_swapped INTEGER NOT NULL CHECK (is_swapped IN (0, 1)), -- the second answer was shown first
  annotator TEXT NOT NULL,
  annotator_kind TEXT NOT NULL CHECK (
    annotator_kind IN ('person', 'simulated', 'ai', 'imported')
  ),
  seconds REAL NOT NULL,
  is_undone INTEGER NOT NULL DEFAULT 0 CHECK (is_undone IN (0, 1)),
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX repeats_by_annotator ON repeats (annotator, comparison_id) WHERE is_undone = 0;
CREATE TRIGGER repeats_are_kept BEFORE DELETE ON repeats
BEGIN
  SELECT raise(ABORT, 'repeats are append-only');
END;

-- What is said of one answer, or of a prompt (then completion_id is NULL).
CREATE TABLE remarks (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('rating', 'comment', 'tag')),
  prompt_id INTEGER NOT NULL REFERENCES prompts (id),
  completion_id INTEGER REFERENCES completions (id),
  value TEXT NOT NULL, -- a rating: 1 to 5
  annotator TEXT NOT NULL,
  annotator_kind TEXT NOT NULL CHECK (
    annotator_kind IN ('person', 'simulated', 'ai', 'imported')
  ),
  seconds REAL NOT NULL,
  is_undone INTEGER NOT NULL DEFAULT 0 CHECK (is_undone IN (0, 1)),
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX remarks_by_prompt ON remarks (prompt_id, kind, annotator) WHERE is_undone = 0;
CREATE INDEX remarks_by_value ON remarks (kind, value) WHERE is_undone = 0;
CREATE TRIGGER remarks_are_kept BEFORE DELETE ON remarks
BEGIN
  SELECT raise(ABORT, 'remarks are append-only');
END;
CREATE TRIGGER remarks_are_final BEFORE UPDATE OF
  id, kind, prompt_id, completion_id, value, annotator, annotator_kind, seconds, created_at
  ON remarks
BEGIN
  SELECT raise(ABORT, 'remarks are append-only');
END;

-- An edited answer knows what it was made from, one written by hand has only an author.
ALTER TABLE completions ADD COLUMN parent_id INTEGER REFERENCES completions (id);
ALTER TABLE completions ADD COLUMN author TEXT NOT NULL DEFAULT '';

-- What a person has begun to write or to rank and has not handed in.
CREATE TABLE drafts (
  comparison_id INTEGER NOT NULL REFERENCES comparisons (id),
  annotator TEXT NOT NULL,
  content TEXT NOT NULL CHECK (json_valid(content)),
  updated_at TEXT NOT NULL,
  PRIMARY KEY (comparison_id, annotator)
) STRICT, WITHOUT ROWID;

-- What an AI judge answered about a pair in one order; a judgement follows from two of them.
CREATE TABLE ai_answers (
  id INTEGER PRIMARY KEY,
  comparison_id INTEGER NOT NULL REFERENCES comparisons (id),
  judge TEXT NOT NULL, -- its name as an annotator
  is_swapped INTEGER NOT NULL CHECK (is_swapped IN (0, 1)), -- the second answer was shown first
  p_first REAL, -- probability that the comparison's first answer is better; NULL: not known
  text TEXT NOT NULL,
  seconds REAL NOT NULL,
  n_tokens INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  UNIQUE (comparison_id, judge, is_swapped)
) STRICT;

-- Smaller comes first; equal ones in the order in which they were added.
ALTER TABLE queue ADD COLUMN priority REAL NOT NULL DEFAULT 0;
CREATE INDEX queue_by_priority ON queue (annotator_id, priority, comparison_id);
