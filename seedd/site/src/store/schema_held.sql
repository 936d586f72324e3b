-- What a node said last about the list of peers that it holds: epoch and version, the number of the message, Unix seconds.
ALTER TABLE node ADD COLUMN held_epoch INTEGER;
ALTER TABLE node ADD COLUMN held_version INTEGER;
ALTER TABLE node ADD COLUMN held_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN held_at INTEGER;
