-- Runs can be described, tagged and put away; what happened at which of their steps; people's votes.

ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN tags TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags));
ALTER TABLE runs ADD COLUMN is_deleted INTEGER NOT NULL DEFAULT 0 CHECK (is_deleted IN (0, 1));

-- What charts mark beside the figures: a round of labels, an alarm, a pause.
CREATE TABLE run_marks (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id),
  step INTEGER NOT NULL,
  kind TEXT NOT NULL,
  text TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX run_marks_by_run ON run_marks (run_id, step, id);

-- A training run that asked for labels on its own answers, and what came of it.
CREATE TABLE label_rounds (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id),
  step INTEGER NOT NULL,
  comparison_ids TEXT NOT NULL CHECK (json_valid(comparison_ids)),
  n_wanted INTEGER NOT NULL,
  reward_run_before INTEGER NOT NULL REFERENCES runs (id),
  reward_run_trained INTEGER REFERENCES runs (id), -- NULL: not trained yet
  outcome TEXT NOT NULL DEFAULT 'open' CHECK (
    outcome IN ('open', 'accepted', 'refused', 'skipped')
  ),
  facts TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(facts)), -- what the gate measured
  created_at TEXT NOT NULL,
  finished_at TEXT
) STRICT;
CREATE INDEX label_rounds_by_run ON label_rounds (run_id, id);

-- A blind vote between two answers of an evaluation, whose sides the voter did not know.
CREATE TABLE votes (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id),
  item INTEGER NOT NULL, -- which of the evaluation's prompts and draws
  first TEXT NOT NULL, -- the contestant shown first, as the evaluation calls it
  second TEXT NOT NULL CHECK (second <> first),
  verdict TEXT NOT NULL CHECK (verdict IN ('first', 'second', 'tie', 'both_bad', 'skip')),
  annotator TEXT NOT NULL,
  annotator_kind TEXT NOT NULL CHECK (
    annotator_kind IN ('person', 'simulated', 'ai', 'imported')
  ),
  seconds REAL NOT NULL,
  is_undone INTEGER NOT NULL DEFAULT 0 CHECK (is_undone IN (0, 1)),
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX votes_by_run ON votes (run_id, item, annotator) WHERE is_undone = 0;
CREATE TRIGGER votes_are_kept BEFORE DELETE ON votes
BEGIN
  SELECT raise(ABORT, 'votes are append-only');
END;
CREATE TRIGGER votes_are_final BEFORE UPDATE OF
  id, run_id, item, first, second, verdict, annotator, annotator_kind, seconds, created_at
  ON votes
BEGIN
  SELECT raise(ABORT, 'votes are append-only');
END;
