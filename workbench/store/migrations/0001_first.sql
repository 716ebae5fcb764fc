-- An experiment: prompts, answers, comparisons, judgements, runs.
-- Rows of user data are never removed: is_deleted and is_undone hide them, so that undo can
-- bring them back and nothing that a person did is ever lost.

CREATE TABLE settings (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL CHECK (json_valid(value))
) STRICT, WITHOUT ROWID;

CREATE TABLE prompts (
  id INTEGER PRIMARY KEY,
  messages TEXT NOT NULL CHECK (json_valid(messages)),
  digest TEXT NOT NULL,
  prompt_group TEXT NOT NULL,
  language TEXT NOT NULL,
  split TEXT NOT NULL CHECK (split IN ('train', 'heldout')),
  is_deleted INTEGER NOT NULL DEFAULT 0 CHECK (is_deleted IN (0, 1)),
  created_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX prompts_by_digest ON prompts (digest) WHERE is_deleted = 0;
CREATE INDEX prompts_deleted ON prompts (id) WHERE is_deleted = 1;
CREATE INDEX prompts_by_group ON prompts (prompt_group, id) WHERE is_deleted = 0;

CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('reward', 'ppo', 'evaluation')),
  name TEXT NOT NULL,
  status TEXT NOT NULL CHECK (
    status IN ('queued', 'running', 'paused', 'done', 'stopped', 'failed', 'interrupted')
  ),
  settings TEXT NOT NULL CHECK (json_valid(settings)),
  inputs TEXT NOT NULL CHECK (json_valid(inputs)),
  results TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(results)),
  error TEXT NOT NULL DEFAULT '',
  created_at TEXT NOT NULL,
  finished_at TEXT
) STRICT;
CREATE INDEX runs_by_kind ON runs (kind, id);

CREATE TABLE completions (
  id INTEGER PRIMARY KEY,
  prompt_id INTEGER NOT NULL REFERENCES prompts (id),
  text TEXT NOT NULL,
  token_ids TEXT NOT NULL CHECK (json_valid(token_ids)),
  finish TEXT NOT NULL CHECK (finish IN ('stop', 'length', 'unknown')),
  source TEXT NOT NULL CHECK (source IN ('generated', 'imported', 'edited')),
  model_digest TEXT NOT NULL,
  model_name TEXT NOT NULL,
  adapter TEXT,
  sampling TEXT NOT NULL CHECK (json_valid(sampling)),
  seed INTEGER NOT NULL,
  run_id INTEGER REFERENCES runs (id),
  is_deleted INTEGER NOT NULL DEFAULT 0 CHECK (is_deleted IN (0, 1)),
  created_at TEXT NOT NULL,
  UNIQUE (prompt_id, id)
) STRICT;
CREATE INDEX completions_by_seed ON completions (prompt_id, seed);
CREATE INDEX completions_by_run ON completions (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE comparisons (
  id INTEGER PRIMARY KEY,
  prompt_id INTEGER NOT NULL REFERENCES prompts (id),
  first_id INTEGER NOT NULL,
  second_id INTEGER NOT NULL CHECK (second_id <> first_id),
  is_deleted INTEGER NOT NULL DEFAULT 0 CHECK (is_deleted IN (0, 1)),
  created_at TEXT NOT NULL,
  FOREIGN KEY (prompt_id, first_id) REFERENCES completions (prompt_id, id),
  FOREIGN KEY (prompt_id, second_id) REFERENCES completions (prompt_id, id)
) STRICT;
CREATE INDEX comparisons_by_prompt ON comparisons (prompt_id);
CREATE INDEX comparisons_by_first ON comparisons (first_id);
CREATE INDEX comparisons_by_second ON comparisons (second_id);
-- A pair is one pair whichever answer is shown first.
CREATE UNIQUE INDEX comparisons_by_pair
  ON comparisons (min(first_id, second_id), max(first_id, second_id)) WHERE is_deleted = 0;

CREATE INDEX comparisons_deleted ON comparisons (id) WHERE is_deleted = 1;

-- Few, and found by index: what is shown is counted as all less these.
CREATE VIEW hidden_comparisons AS
  SELECT id FROM comparisons WHERE is_deleted = 1
  UNION
  SELECT c.id FROM prompts AS p JOIN comparisons AS c ON c.prompt_id = p.id WHERE p.is_deleted = 1;

CREATE TABLE judgements (
  id INTEGER PRIMARY KEY,
  comparison_id INTEGER NOT NULL REFERENCES comparisons (id),
  verdict TEXT NOT NULL CHECK (verdict IN ('first', 'second', 'tie', 'both_bad', 'skip')),
  annotator TEXT NOT NULL,
  annotator_kind TEXT NOT NULL CHECK (
    annotator_kind IN ('person', 'simulated', 'ai', 'imported')
  ),
  seconds REAL NOT NULL,
  is_undone INTEGER NOT NULL DEFAULT 0 CHECK (is_undone IN (0, 1)),
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX judgements_by_comparison
  ON judgements (comparison_id, annotator, id) WHERE is_undone = 0;
CREATE INDEX judgements_by_annotator ON judgements (annotator, id) WHERE is_undone = 0;
CREATE INDEX judgements_by_verdict
  ON judgements (verdict, annotator, comparison_id) WHERE is_undone = 0;

CREATE TRIGGER judgements_are_kept BEFORE DELETE ON judgements
BEGIN
  SELECT raise(ABORT, 'judgements are append-only');
END;
CREATE TRIGGER judgements_are_final BEFORE UPDATE OF
  id, comparison_id, verdict, annotator, annotator_kind, seconds, created_at ON judgements
BEGIN
  SELECT raise(ABORT, 'judgements are append-only');
END;

-- What each annotator still has to judge, kept by the triggers below: the next pair is the first
-- entry of an index, also when 99,999 of 100,000 are judged. A row of the table is derived from
-- the tables above and `check` compares them.
CREATE TABLE annotators (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE queue (
  annotator_id INTEGER NOT NULL REFERENCES annotators (id),
  comparison_id INTEGER NOT NULL REFERENCES comparisons (id),
  PRIMARY KEY (annotator_id, comparison_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_by_comparison ON queue (comparison_id);

CREATE VIEW pending AS
  SELECT a.id AS annotator_id, c.id AS comparison_id, c.prompt_id AS prompt_id
  FROM annotators AS a, comparisons AS c
  JOIN prompts AS p ON p.id = c.prompt_id
  WHERE c.is_deleted = 0 AND p.is_deleted = 0 AND NOT EXISTS (
    SELECT 1 FROM judgements AS j
    WHERE j.comparison_id = c.id AND j.annotator = a.name AND j.is_undone = 0
  );

CREATE TRIGGER queue_new_annotator AFTER INSERT ON annotators
BEGIN
  INSERT INTO queue (annotator_id, comparison_id)
    SELECT annotator_id, comparison_id FROM pending WHERE annotator_id = new.id;
END;
CREATE TRIGGER queue_new_comparison AFTER INSERT ON comparisons
BEGIN
  INSERT INTO queue (annotator_id, comparison_id)
    SELECT annotator_id, comparison_id FROM pending WHERE comparison_id = new.id;
END;
CREATE TRIGGER queue_hidden_comparison AFTER UPDATE OF is_deleted ON comparisons
BEGIN
  DELETE FROM queue WHERE comparison_id = new.id;
  INSERT INTO queue (annotator_id, comparison_id)
    SELECT annotator_id, comparison_id FROM pending WHERE comparison_id = new.id;
END;
CREATE TRIGGER queue_hidden_prompt AFTER UPDATE OF is_deleted ON prompts
BEGIN
  DELETE FROM queue WHERE comparison_id IN (
    SELECT id FROM comparisons WHERE prompt_id = new.id
  );
  INSERT INTO queue (annotator_id, comparison_id)
    SELECT annotator_id, comparison_id FROM pending WHERE prompt_id = new.id;
END;
CREATE TRIGGER queue_new_judgement AFTER INSERT ON judgements WHEN new.is_undone = 0
BEGIN
  DELETE FROM queue WHERE comparison_id = new.comparison_id
    AND annotator_id = (SELECT id FROM annotators WHERE name = new.annotator);
END;
CREATE TRIGGER queue_undone_judgement AFTER UPDATE OF is_undone ON judgements
BEGIN
  DELETE FROM queue WHERE comparison_id = new.comparison_id
    AND annotator_id = (SELECT id FROM annotators WHERE name = new.annotator);
  INSERT INTO queue (annotator_id, comparison_id)
    SELECT annotator_id, comparison_id FROM pending WHERE comparison_id = new.comparison_id
    AND annotator_id = (SELECT id FROM annotators WHERE name = new.annotator);
END;

CREATE TABLE metrics (
  run_id INTEGER NOT NULL REFERENCES runs (id),
  name TEXT NOT NULL,
  step INTEGER NOT NULL,
  value REAL, -- NULL stands for NaN, which SQLite cannot hold
  PRIMARY KEY (run_id, name, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE samples (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id),
  step INTEGER NOT NULL,
  prompt_id INTEGER NOT NULL,
  text TEXT NOT NULL,
  reward REAL,
  kl REAL,
  n_tokens INTEGER NOT NULL,
  is_finished INTEGER NOT NULL CHECK (is_finished IN (0, 1))
) STRICT;
CREATE INDEX samples_by_run ON samples (run_id, step, id);

CREATE TABLE run_warnings (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id),
  message TEXT NOT NULL,
  hint TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX run_warnings_by_run ON run_warnings (run_id);

CREATE TABLE artifacts (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs (id),
  kind TEXT NOT NULL CHECK (kind IN ('checkpoint', 'adapter', 'reward_model', 'export')),
  path TEXT NOT NULL,
  digest TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX artifacts_by_run ON artifacts (run_id, id);
CREATE INDEX artifacts_by_kind ON artifacts (kind, id);

-- Undo: an operation is one named transaction; a change says which column of which rows (a range
-- of ids) had which value before and after.
CREATE TABLE operations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  is_undone INTEGER NOT NULL DEFAULT 0 CHECK (is_undone IN (0, 1)),
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX operations_by_state ON operations (is_undone, id);
CREATE TABLE changes (
  id INTEGER PRIMARY KEY,
  operation_id INTEGER NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
  table_name TEXT NOT NULL,
  column_name TEXT NOT NULL,
  first_id INTEGER NOT NULL,
  last_id INTEGER NOT NULL,
  before ANY,
  after ANY
) STRICT;
CREATE INDEX changes_by_operation ON changes (operation_id, id);

-- Words, with a space round each Chinese, Japanese or Korean character (see store/search.py).
CREATE VIRTUAL TABLE prompt_search USING fts5 (
  text, content = '', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE completion_search USING fts5 (
  text, content = '', tokenize = 'unicode61 remove_diacritics 2'
);
