-- Runs of any algorithm: kind says what a run makes, algorithm how. SQLite cannot change a CHECK,
-- so the table is written anew; ids stay, and with them everything that points to a run.

CREATE TABLE runs_new (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('reward', 'policy', 'evaluation')),
  algorithm TEXT NOT NULL,
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
INSERT INTO runs_new
  SELECT id, iif(kind = 'ppo', 'policy', kind), kind, name, status, settings, inputs, results,
    error, created_at, finished_at FROM runs;
DROP TABLE runs;
ALTER TABLE runs_new RENAME TO runs;
CREATE INDEX runs_by_kind ON runs (kind, id);
