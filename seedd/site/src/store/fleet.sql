-- The list of machines as one table, so that searching, sorting and paging read nothing else. Derived: triggers keep it, and it is
-- made anew whenever this text or the schema has changed (derived.rs).
CREATE TABLE fleet (
  machine    INTEGER PRIMARY KEY,
  -- the enrollment that makes it a node, or else its newest one
  enrollment TEXT,
  member     INTEGER NOT NULL,
  state      TEXT,
  stage      TEXT NOT NULL,
  rank       INTEGER NOT NULL,
  -- name, or else serial number, or else MAC address
  title      TEXT NOT NULL,
  name       TEXT NOT NULL,
  role       TEXT NOT NULL,
  serial     TEXT NOT NULL,
  model      TEXT NOT NULL,
  mac        TEXT NOT NULL,
  ip         TEXT NOT NULL,
  -- on the control plane, and the host number there
  address    TEXT NOT NULL,
  host       INTEGER,
  place      TEXT NOT NULL,
  labels     TEXT NOT NULL,
  reason     TEXT NOT NULL,
  since      INTEGER NOT NULL,
  heard      INTEGER NOT NULL,
  -- everything that a word may be found in, in lower case
  words      TEXT NOT NULL
) STRICT;
CREATE INDEX fleet_rank ON fleet(rank, title, machine);
CREATE INDEX fleet_stage ON fleet(stage, title, machine);
CREATE INDEX fleet_title ON fleet(title, machine);
CREATE INDEX fleet_heard ON fleet(heard, machine);

CREATE VIEW fleet_shown AS
SELECT m.id AS machine, m.mac, m.last_seen, m.ip AS seen_ip, e.id AS enrollment, e.state, e.reason, e.since, e.touched, e.ip,
  coalesce(e.state IN ('Approved','Issued','Installing','Installed','FabricReady','Converged'), 0) AS member,
  n.host, n.held_at, n.converge_at, p.address, s.since AS silent,
  coalesce(n.hostname, CASE WHEN e.state = 'Confirming' THEN json_extract(e.decision, '$.hostname') END, '') AS name,
  coalesce(n.role, CASE WHEN e.state = 'Confirming' THEN json_extract(e.decision, '$.role') END, '') AS role,
  coalesce(CASE WHEN n.id IS NOT NULL THEN e.facts END, m.facts, '{}') AS facts,
  coalesce(o.place, '') AS place, coalesce(o.labels, '[]') AS labels
FROM machine m
LEFT JOIN enrollment e ON e.rowid = coalesce(
  (SELECT b.rowid FROM enrollment b WHERE b.machine = m.id
     AND b.state IN ('Approved','Issued','Installing','Installed','FabricReady','Converged')
     ORDER BY b.created DESC, b.rowid DESC LIMIT 1),
  (SELECT c.rowid FROM enrollment c WHERE c.machine = m.id ORDER BY c.created DESC, c.rowid DESC LIMIT 1))
LEFT JOIN node n ON n.enrollment = e.id
LEFT JOIN node_plane p ON p.node = n.id AND p.plane = 'wg1'
LEFT JOIN silence s ON s.node = n.id
LEFT JOIN machine_note o ON o.machine = m.id
WHERE m.forgotten IS NULL;

CREATE VIEW fleet_row AS
SELECT machine, enrollment, member, state,
  CASE
    WHEN state IS NULL OR state = 'Discovered' THEN 'seen'
    WHEN state = 'Pending' THEN 'waiting'
    WHEN state IN ('Confirming','Approved','Issued','Installing') THEN 'installing'
    WHEN state IN ('FabricReady','Converged') AND silent IS NOT NULL THEN 'silent'
    WHEN state IN ('Installed','FabricReady') THEN 'joining'
    WHEN state = 'Converged' THEN 'working'
    WHEN state = 'Failed' THEN 'failed'
    ELSE 'ended' END AS stage,
  CASE
    WHEN state = 'Pending' THEN 0
    WHEN state = 'Failed' THEN 1
    WHEN state IN ('FabricReady','Converged') AND silent IS NOT NULL THEN 2
    WHEN state IN ('Confirming','Approved','Issued','Installing') THEN 3
    WHEN state IN ('Installed','FabricReady') THEN 4
    WHEN state IS NULL OR state = 'Discovered' THEN 5
    WHEN state = 'Converged' THEN 6
    ELSE 7 END AS rank,
  coalesce(nullif(name, ''), nullif(json_extract(facts, '$.serial'), ''), mac) AS title,
  name, role,
  coalesce(json_extract(facts, '$.serial'), '') AS serial,
  trim(coalesce(json_extract(facts, '$.vendor'), '') || ' ' || coalesce(json_extract(facts, '$.product'), '')) AS model,
  mac,
  coalesce(CASE WHEN member THEN ip END, seen_ip, '') AS ip,
  coalesce(address, '') AS address,
  host, place, labels,
  coalesce(reason, '') AS reason,
  coalesce(since, 0) AS since,
  CASE WHEN member THEN max(touched, coalesce(held_at, 0), coalesce(converge_at, 0)) ELSE last_seen END AS heard,
  lower(name || ' ' || role || ' ' || coalesce(state, 'seen') || ' ' || coalesce(json_extract(facts, '$.serial'), '') || ' '
    || coalesce(json_extract(facts, '$.vendor'), '') || ' ' || coalesce(json_extract(facts, '$.product'), '') || ' ' || mac || ' '
    || coalesce(CASE WHEN member THEN ip END, seen_ip, '') || ' ' || coalesce(address, '') || ' ' || place || ' ' || labels)
    AS words
FROM fleet_shown;

-- Not INSERT OR REPLACE: an upsert that fires a trigger decides what becomes of conflicts in it (sqlite.org/lang_createtrigger.html).
CREATE TRIGGER fleet_machine_new AFTER INSERT ON machine BEGIN
  DELETE FROM fleet WHERE machine = NEW.id;
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = NEW.id;
END;
CREATE TRIGGER fleet_machine_changed AFTER UPDATE OF mac, ip, facts, forgotten ON machine
WHEN OLD.mac IS NOT NEW.mac OR OLD.ip IS NOT NEW.ip OR OLD.facts IS NOT NEW.facts OR OLD.forgotten IS NOT NEW.forgotten BEGIN
  DELETE FROM fleet WHERE machine = NEW.id;
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = NEW.id;
END;
CREATE TRIGGER fleet_machine_seen AFTER UPDATE OF last_seen ON machine WHEN OLD.last_seen IS NOT NEW.last_seen BEGIN
  UPDATE fleet SET heard = NEW.last_seen WHERE machine = NEW.id AND member = 0;
END;
CREATE TRIGGER fleet_machine_gone AFTER DELETE ON machine BEGIN
  DELETE FROM fleet WHERE machine = OLD.id;
END;

CREATE TRIGGER fleet_enrollment_new AFTER INSERT ON enrollment BEGIN
  DELETE FROM fleet WHERE machine = NEW.machine;
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = NEW.machine;
END;
CREATE TRIGGER fleet_enrollment_changed AFTER UPDATE OF state, ip, facts, decision, reason, since ON enrollment
WHEN OLD.state IS NOT NEW.state OR OLD.ip IS NOT NEW.ip OR OLD.facts IS NOT NEW.facts OR OLD.decision IS NOT NEW.decision
  OR OLD.reason IS NOT NEW.reason OR OLD.since IS NOT NEW.since BEGIN
  DELETE FROM fleet WHERE machine = NEW.machine;
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = NEW.machine;
END;
CREATE TRIGGER fleet_enrollment_heard AFTER UPDATE OF touched ON enrollment WHEN OLD.touched IS NOT NEW.touched BEGIN
  UPDATE fleet SET heard = max(heard, NEW.touched) WHERE machine = NEW.machine AND member = 1 AND enrollment = NEW.id;
END;
CREATE TRIGGER fleet_enrollment_gone AFTER DELETE ON enrollment BEGIN
  DELETE FROM fleet WHERE machine = OLD.machine;
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = OLD.machine;
END;

CREATE TRIGGER fleet_node_new AFTER INSERT ON node BEGIN
  DELETE FROM fleet WHERE machine = (SELECT machine FROM enrollment WHERE id = NEW.enrollment);
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = (SELECT machine FROM enrollment WHERE id = NEW.enrollment);
END;
CREATE TRIGGER fleet_node_changed AFTER UPDATE OF hostname, role, host ON node BEGIN
  DELETE FROM fleet WHERE machine = (SELECT machine FROM enrollment WHERE id = NEW.enrollment);
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = (SELECT machine FROM enrollment WHERE id = NEW.enrollment);
END;
CREATE TRIGGER fleet_node_heard AFTER UPDATE OF held_at, converge_at ON node BEGIN
  UPDATE fleet SET heard = max(heard, coalesce(NEW.held_at, 0), coalesce(NEW.converge_at, 0))
    WHERE machine = (SELECT machine FROM enrollment WHERE id = NEW.enrollment) AND member = 1 AND enrollment = NEW.enrollment;
END;
CREATE TRIGGER fleet_node_gone AFTER DELETE ON node BEGIN
  DELETE FROM fleet WHERE machine = (SELECT machine FROM enrollment WHERE id = OLD.enrollment);
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = (SELECT machine FROM enrollment WHERE id = OLD.enrollment);
END;
CREATE TRIGGER fleet_plane_new AFTER INSERT ON node_plane WHEN NEW.plane = 'wg1' BEGIN
  DELETE FROM fleet WHERE machine = (SELECT machine FROM enrollment WHERE id = (SELECT enrollment FROM node WHERE id = NEW.node));
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = (SELECT machine FROM enrollment WHERE id = (SELECT enrollment FROM node WHERE id = NEW.node));
END;

CREATE TRIGGER fleet_silence_new AFTER INSERT ON silence BEGIN
  DELETE FROM fleet WHERE machine = (SELECT machine FROM enrollment WHERE id = (SELECT enrollment FROM node WHERE id = NEW.node));
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = (SELECT machine FROM enrollment WHERE id = (SELECT enrollment FROM node WHERE id = NEW.node));
END;
CREATE TRIGGER fleet_silence_gone AFTER DELETE ON silence BEGIN
  DELETE FROM fleet WHERE machine = (SELECT machine FROM enrollment WHERE id = (SELECT enrollment FROM node WHERE id = OLD.node));
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = (SELECT machine FROM enrollment WHERE id = (SELECT enrollment FROM node WHERE id = OLD.node));
END;

CREATE TRIGGER fleet_note_new AFTER INSERT ON machine_note BEGIN
  DELETE FROM fleet WHERE machine = NEW.machine;
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = NEW.machine;
END;
CREATE TRIGGER fleet_note_changed AFTER UPDATE ON machine_note BEGIN
  DELETE FROM fleet WHERE machine = NEW.machine;
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = NEW.machine;
END;
CREATE TRIGGER fleet_note_gone AFTER DELETE ON machine_note BEGIN
  DELETE FROM fleet WHERE machine = OLD.machine;
  INSERT INTO fleet SELECT * FROM fleet_row
    WHERE machine = OLD.machine;
END;

CREATE INDEX fleet_certificates ON node(json_extract(converge, '$.bundle.issued'), hostname)
  WHERE revoked IS NULL AND converge IS NOT NULL;

INSERT INTO fleet SELECT * FROM fleet_row;
