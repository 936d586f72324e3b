CREATE TABLE setting (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE machine (
  id         INTEGER PRIMARY KEY,
  mac        TEXT NOT NULL UNIQUE,
  ip         TEXT,
  first_seen INTEGER NOT NULL,
  last_seen  INTEGER NOT NULL,
  facts      TEXT
) STRICT;

CREATE TABLE enrollment (
  id          TEXT PRIMARY KEY,
  machine     INTEGER NOT NULL REFERENCES machine(id),
  state       TEXT NOT NULL CHECK (state IN ('Discovered','Pending','Approved','Issued','Installing','Installed',
                'FabricReady','Converged','Denied','Revoked','Failed','Expired')),
  commitment  TEXT NOT NULL,
  seed_nonce  TEXT NOT NULL,
  ip          TEXT NOT NULL,
  -- told by the reveal
  recipient   TEXT,
  node_key    TEXT UNIQUE,
  nonce       TEXT,
  facts       TEXT,
  wrong_codes INTEGER NOT NULL DEFAULT 0,
  reason      TEXT,
  -- made at approval; the identity is dropped at the machine's first report
  challenge   TEXT,
  claim_nonce TEXT,
  issued      TEXT,
  last_seq    INTEGER NOT NULL DEFAULT 0,
  written     INTEGER NOT NULL DEFAULT 0,
  total       INTEGER NOT NULL DEFAULT 0,
  rate        INTEGER NOT NULL DEFAULT 0,
  created     INTEGER NOT NULL,
  since       INTEGER NOT NULL,
  touched     INTEGER NOT NULL
) STRICT;
CREATE INDEX enrollment_machine ON enrollment(machine, created);
CREATE INDEX enrollment_state ON enrollment(state);

CREATE TABLE node (
  id         TEXT PRIMARY KEY,
  enrollment TEXT NOT NULL UNIQUE REFERENCES enrollment(id),
  hostname   TEXT NOT NULL,
  role       TEXT NOT NULL,
  host       INTEGER NOT NULL CHECK (host > 1),
  artifact   TEXT NOT NULL,
  endpoint   TEXT,
  -- the identity as age ciphertext to the vault
  vault      BLOB NOT NULL,
  revoked    INTEGER
) STRICT;
CREATE UNIQUE INDEX node_hostname ON node(hostname) WHERE revoked IS NULL;
CREATE UNIQUE INDEX node_host ON node(host) WHERE revoked IS NULL;

CREATE TABLE node_plane (
  node    TEXT NOT NULL REFERENCES node(id),
  plane   TEXT NOT NULL,
  address TEXT NOT NULL,
  public  TEXT NOT NULL UNIQUE,
  PRIMARY KEY (node, plane)
) STRICT;

CREATE TABLE lease (
  ip         TEXT PRIMARY KEY,
  mac        TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  hostname   TEXT,
  client_id  BLOB
) STRICT;

CREATE TABLE event (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  at         INTEGER NOT NULL,
  kind       TEXT NOT NULL,
  text       TEXT NOT NULL,
  machine    INTEGER,
  enrollment TEXT,
  actor      TEXT,
  -- sha256 over the previous row's hash and this row
  hash       TEXT NOT NULL
) STRICT;
CREATE INDEX event_machine ON event(machine, id);
CREATE TRIGGER event_is_append_only BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
CREATE TRIGGER event_is_kept BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;

CREATE TABLE admin (
  user     TEXT PRIMARY KEY,
  password TEXT NOT NULL,
  created  INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
  token_hash TEXT PRIMARY KEY,
  user       TEXT NOT NULL REFERENCES admin(user),
  expires    INTEGER NOT NULL
) STRICT;
