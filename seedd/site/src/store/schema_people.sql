-- Rights of users (cluster_seed::people); those of earlier versions were administrators. Disabled: since when, in Unix seconds.
ALTER TABLE admin ADD COLUMN rights TEXT NOT NULL DEFAULT 'administrator'
  CHECK (rights IN ('viewer','auditor','operator','administrator'));
ALTER TABLE admin ADD COLUMN disabled INTEGER;
-- Of a session: when it began, was used last, and the password was typed last (by the daemon's steady clock, as its end), and from
-- where. A session of an earlier version counts as idle for ever, and ends.
ALTER TABLE session ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN authenticated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN browser TEXT NOT NULL DEFAULT '';
CREATE INDEX session_user ON session(user);

-- API tokens. Times in Unix seconds; scopes are permissions with a space between them.
CREATE TABLE api_token (
  id      TEXT PRIMARY KEY,
  user    TEXT NOT NULL REFERENCES admin(user) ON DELETE CASCADE,
  name    TEXT NOT NULL,
  scopes  TEXT NOT NULL,
  hash    TEXT NOT NULL UNIQUE,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  used    INTEGER
) STRICT;
CREATE INDEX api_token_user ON api_token(user);

-- Passkeys. fixed and changing as webauthn_rp encodes a credential's state; times in Unix seconds.
CREATE TABLE passkey (
  id         TEXT PRIMARY KEY,
  user       TEXT NOT NULL REFERENCES admin(user) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  credential BLOB NOT NULL UNIQUE,
  handle     BLOB NOT NULL,
  fixed      BLOB NOT NULL,
  changing   BLOB NOT NULL,
  transports INTEGER NOT NULL,
  created    INTEGER NOT NULL,
  used       INTEGER
) STRICT;
CREATE INDEX passkey_user ON passkey(user);
