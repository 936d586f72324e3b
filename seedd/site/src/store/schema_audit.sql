-- Pages of the log by kind, family and actor read only rows that fit. The expression is that of store/audit.rs.
CREATE INDEX event_kind ON event(kind, id);
CREATE INDEX event_family ON event(substr(kind, 1, instr(kind || '.', '.') - 1), id);
CREATE INDEX event_actor ON event(actor, id) WHERE actor IS NOT NULL;
CREATE INDEX event_at ON event(at, id);
