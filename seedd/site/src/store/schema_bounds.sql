-- Unix seconds: off the list until it is seen again.
ALTER TABLE machine ADD COLUMN forgotten INTEGER;
CREATE INDEX machine_seen ON machine(last_seen);
CREATE INDEX enrollment_ip ON enrollment(ip, created);
-- Rows up to the event of the signed checkpoint that setting 'log.floor' names may be deleted, the oldest first.
DROP TRIGGER event_is_kept;
CREATE TRIGGER event_is_kept BEFORE DELETE ON event
  WHEN OLD.id > coalesce((SELECT CAST(value AS INTEGER) FROM setting WHERE key = 'log.floor'), 0)
  BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
