-- Keys of nodes that are being replaced (cluster_seed::rotation). Not part of a capsule: the second site has the key that counts.
CREATE TABLE rotation (
  node    TEXT NOT NULL REFERENCES node(id) ON DELETE CASCADE,
  plane   TEXT NOT NULL,
  serial  INTEGER NOT NULL,
  stage   TEXT NOT NULL CHECK (stage IN ('queued', 'asked', 'announced', 'switched')),
  -- The new key while announced, the old one once switched.
  other   TEXT,
  -- Version of the list that brought the stage.
  version INTEGER NOT NULL DEFAULT 0,
  since   INTEGER NOT NULL,
  actor   TEXT NOT NULL,
  PRIMARY KEY (node, plane),
  CHECK ((other IS NOT NULL) = (stage IN ('announced', 'switched')))
) STRICT;

-- Unix seconds at which the key replaced an earlier one.
ALTER TABLE node_plane ADD COLUMN rotated INTEGER;
