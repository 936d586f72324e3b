CREATE TRIGGER event_is_append_only BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
CREATE TRIGGER event_is_kept BEFORE DELETE ON event
  WHEN OLD.id > coalesce((SELECT CAST(value AS INTEGER) FROM setting WHERE key = 'log.floor'), 0)
  BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
