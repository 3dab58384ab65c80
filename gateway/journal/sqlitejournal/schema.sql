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
  pending    INTEGER NOT NULL DEFAULT 0, -- signals not yet consumed
  doc        BLOB    NOT NULL,
  events     BLOB    NOT NULL,           -- JSON array
  bodies     BLOB    NOT NULL,           -- JSON object: name → place in the segments
  -- Where the item's wrapped key lies in the segments: doc and events are sealed under it. 0: they are in clear.
  key_segment INTEGER NOT NULL DEFAULT 0,
  key_offset  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX item_citizen ON item(citizen, seq);
CREATE INDEX item_due     ON item(shard, leased, wake) WHERE wake IS NOT NULL;
-- One citizen's requests that were not delivered yet: whom the order of acceptance concerns.
CREATE INDEX item_early   ON item(citizen, seq) WHERE state IN ('accepted', 'enriched');
CREATE INDEX item_state   ON item(shard, state);
-- Messages to participants alone, in the order of their creation; requests pay nothing for it.
CREATE INDEX item_letter  ON item(shard, state, service) WHERE shard >= 'shep:' AND shard < 'shep;';
CREATE TABLE inbox (
  item     INTEGER NOT NULL REFERENCES item(seq),
  key      TEXT    NOT NULL,
  n        INTEGER NOT NULL,
  kind     TEXT    NOT NULL,
  at       INTEGER NOT NULL,
  place    BLOB    NOT NULL,           -- JSON: where the body lies in the segments
  consumed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (item, key)
) STRICT;
CREATE TABLE audit (
  n       INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  door    TEXT    NOT NULL,
  party   TEXT    NOT NULL,
  reason  TEXT    NOT NULL,
  content TEXT    NOT NULL,
  action  TEXT    NOT NULL DEFAULT '', -- of an operator; empty for a refusal
  subject TEXT    NOT NULL DEFAULT '',
  shard   TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX audit_action  ON audit(n) WHERE action <> '';
-- By age, for retention.
CREATE INDEX audit_old_refusal ON audit(at) WHERE action = '';
CREATE INDEX audit_old_action  ON audit(at) WHERE action <> '';
CREATE TABLE erasure (                 -- bodies that are gone, whose bytes are still to be wiped
  segment INTEGER NOT NULL,
  offset  INTEGER NOT NULL,
  length  INTEGER NOT NULL,
  PRIMARY KEY (segment, offset)
) STRICT, WITHOUT ROWID;
CREATE TABLE data_key (                -- of the installation, under which keys of items may be wrapped
  id      TEXT    PRIMARY KEY,         -- a digest of it
  current INTEGER NOT NULL,            -- 1: new ones are wrapped under it
  opened  INTEGER NOT NULL DEFAULT 0   -- how often the journal was opened since
) STRICT;
CREATE TABLE heartbeat (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  n      INTEGER NOT NULL,
  latest INTEGER NOT NULL DEFAULT 0    -- no instant written under lies more than half a minute after this
) STRICT;
INSERT INTO heartbeat VALUES (1, 0, 0);
