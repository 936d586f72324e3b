-- Convergence of a node: the number of its last message and when it came (Unix seconds), what it ran and holds (JSON), and the orders
-- that it was given last, as the site signed them.
ALTER TABLE node ADD COLUMN converge_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN converge_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN converge TEXT;
ALTER TABLE node ADD COLUMN orders TEXT;
