-- The word of the cause of a failure (cluster_seed::trouble).
ALTER TABLE enrollment ADD COLUMN trouble TEXT;
