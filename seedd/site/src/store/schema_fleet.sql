-- What an operator noted about a machine: where it is mounted, and its labels as a JSON array in order.
CREATE TABLE machine_note (
  machine INTEGER PRIMARY KEY REFERENCES machine(id) ON DELETE CASCADE,
  place   TEXT NOT NULL DEFAULT '',
  labels  TEXT NOT NULL DEFAULT '[]'
) STRICT;
-- Running nodes that were not heard: since when (Unix seconds), and the number of their last message, so that a later one ends it.
CREATE TABLE silence (
  node  TEXT PRIMARY KEY REFERENCES node(id) ON DELETE CASCADE,
  since INTEGER NOT NULL,
  mark  INTEGER NOT NULL
) STRICT;
