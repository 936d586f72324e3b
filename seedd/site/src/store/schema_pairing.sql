-- The state Confirming, and what a pairing by SPAKE2 needs. A CHECK cannot be changed in place, so the table is made anew; the
-- caller has foreign keys off meanwhile and checks them afterwards.
CREATE TABLE enrollment_new (
  id          TEXT PRIMARY KEY,
  machine     INTEGER NOT NULL REFERENCES machine(id),
  state       TEXT NOT NULL CHECK (state IN ('Discovered','Pending','Confirming','Approved','Issued','Installing','Installed',
                'FabricReady','Converged','Denied','Revoked','Failed','Expired')),
  -- first part of the pairing code
  number      INTEGER CHECK (number BETWEEN 1 AND 999),
  -- of protocol 1; only rows of earlier versions have them
  commitment  TEXT,
  seed_nonce  TEXT,
  nonce       TEXT,
  ip          TEXT NOT NULL,
  -- told by the reveal; facts_digest is of the facts as they were signed, pake the machine's message
  recipient   TEXT,
  node_key    TEXT UNIQUE,
  facts       TEXT,
  facts_digest TEXT,
  pake        TEXT,
  -- what the operator decided, with the seed's half of the pairing, as JSON; made when the code is typed
  decision    TEXT,
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
INSERT INTO enrollment_new (id, machine, state, commitment, seed_nonce, nonce, ip, recipient, node_key, facts, wrong_codes, reason,
    challenge, claim_nonce, issued, last_seq, written, total, rate, created, since, touched)
  SELECT id, machine, state, commitment, seed_nonce, nonce, ip, recipient, node_key, facts, wrong_codes, reason,
    challenge, claim_nonce, issued, last_seq, written, total, rate, created, since, touched FROM enrollment ORDER BY rowid;
DROP TABLE enrollment;
ALTER TABLE enrollment_new RENAME TO enrollment;
-- A pairing of protocol 1 cannot be finished by this version.
UPDATE enrollment SET state = 'Expired', reason = 'the seed was updated; restart the machine'
  WHERE state IN ('Discovered','Pending');
CREATE INDEX enrollment_machine ON enrollment(machine, created);
CREATE INDEX enrollment_state ON enrollment(state);
CREATE INDEX enrollment_ip ON enrollment(ip, created);
CREATE UNIQUE INDEX enrollment_number ON enrollment(number) WHERE state IN ('Discovered','Pending','Confirming');
