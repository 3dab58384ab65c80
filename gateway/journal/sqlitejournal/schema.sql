CREATE TABLE item (
  seq        INTEGER PRIMARY KEY,
  id         TEXT    NOT NULL UNIQUE,
  message    BLOB    NOT NULL UNIQUE,
  portal     TEXT    NOT NULL,
  message_id TEXT    NOT NULL,
  content    BLOB    NOT NULL,
  citizen    TEXT    NOT NULL,
  service    TEXT    NOT NULL,
  shard      TEXT    NOT NULL,
  provider   TEXT    NOT NULL,
  state      TEXT    NOT NULL,
  version    INTEGER NOT NULL,
  attempt    INTEGER NOT NULL,
  created    INTEGER NOT NULL,
  updated    INTEGER NOT NULL,
  wake       INTEGER,
  leased     INTEGER NOT NULL DEFAULT 0,
  doc        BLOB    NOT NULL
) STRICT;
CREATE INDEX item_citizen ON item(citizen, seq);
CREATE INDEX item_wake    ON item(shard, wake) WHERE wake IS NOT NULL;
CREATE INDEX item_state   ON item(state, seq);
CREATE TABLE event (
  item INTEGER NOT NULL REFERENCES item(seq),
  n    INTEGER NOT NULL,
  data TEXT    NOT NULL,
  PRIMARY KEY (item, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE body (
  item   INTEGER NOT NULL REFERENCES item(seq),
  name   TEXT    NOT NULL,
  sha256 BLOB    NOT NULL,
  data   BLOB    NOT NULL,
  PRIMARY KEY (item, name)
) STRICT;
CREATE TABLE inbox (
  item     INTEGER NOT NULL REFERENCES item(seq),
  key      TEXT    NOT NULL,
  n        INTEGER NOT NULL,
  kind     TEXT    NOT NULL,
  at       INTEGER NOT NULL,
  body     BLOB    NOT NULL,
  consumed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (item, key)
) STRICT;
CREATE TABLE audit (
  n       INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  door    TEXT    NOT NULL,
  party   TEXT    NOT NULL,
  reason  TEXT    NOT NULL,
  content TEXT    NOT NULL
) STRICT;
CREATE TABLE heartbeat (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  n   INTEGER NOT NULL
) STRICT;
INSERT INTO heartbeat VALUES (1, 0);
