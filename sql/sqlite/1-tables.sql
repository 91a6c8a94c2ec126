-- The tables that Holdfast owns in an SQLite database (3.37 and later). They are written only
-- inside the transactions that write your rows, so they say at any time exactly what those tables
-- hold. Never edit them by hand: `settled` decides which rows are sent again. Times are
-- milliseconds since 1970, UTC: datetime(at / 1000, 'unixepoch') reads them.
-- Tables of an earlier version are left as they are: Holdfast brings them up itself, once it is
-- started with `createTables: true`.

-- `identity` tells this file from another one of the same name. One row.
CREATE TABLE IF NOT EXISTS holdfast_version (
  version  INTEGER PRIMARY KEY,
  identity TEXT    NOT NULL
) STRICT;

INSERT INTO holdfast_version (version, identity)
  SELECT 2, lower(hex(randomblob(16))) WHERE NOT EXISTS (SELECT 1 FROM holdfast_version);

-- Where each lane stands: every record up to `settled` has its end, and the totals say which.
-- The epoch is what shuts out an older owner. Records that nobody has any more, passed over on an
-- operator's order (`holdfast pass-over`), are in no total: `settled` lies that far beyond them.
CREATE TABLE IF NOT EXISTS holdfast_lanes (
  writer       TEXT    NOT NULL,
  stream       TEXT    NOT NULL,
  lane         INTEGER NOT NULL,
  epoch        INTEGER NOT NULL DEFAULT 0,
  owner        TEXT    NOT NULL DEFAULT '',
  staged       INTEGER NOT NULL DEFAULT 0,
  settled      INTEGER NOT NULL DEFAULT 0,
  merged       INTEGER NOT NULL DEFAULT 0,
  duplicates   INTEGER NOT NULL DEFAULT 0,
  superseded   INTEGER NOT NULL DEFAULT 0,
  dead_letters INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (writer, stream, lane),
  CHECK (staged >= settled),
  CHECK (settled >= merged + duplicates + superseded + dead_letters)
) STRICT, WITHOUT ROWID;

-- One row per lane of each batch. `ends` is null where every record was merged; else runs in
-- sequence order: a byte (0 merged, 1 duplicate, 2 superseded, 3 dead letter, 4 lost), then the
-- length of the run as an unsigned LEB128. Pruned once it is older than the journal; what was lost
-- (route 'lost') stays.
CREATE TABLE IF NOT EXISTS holdfast_ledger (
  writer         TEXT    NOT NULL,
  stream         TEXT    NOT NULL,
  lane           INTEGER NOT NULL,
  first_sequence INTEGER NOT NULL,
  last_sequence  INTEGER NOT NULL,
  row_count      INTEGER NOT NULL,
  merged         INTEGER NOT NULL,
  duplicates     INTEGER NOT NULL,
  superseded     INTEGER NOT NULL,
  dead_letters   INTEGER NOT NULL,
  digest         INTEGER NOT NULL,
  ends           BLOB,
  route          TEXT    NOT NULL,
  at             INTEGER NOT NULL,
  PRIMARY KEY (writer, stream, lane, last_sequence),
  CHECK (row_count = last_sequence - first_sequence + 1),
  CHECK (route = 'lost' OR row_count = merged + duplicates + superseded + dead_letters)
) STRICT, WITHOUT ROWID;

-- Records that could not be merged, whole. `row_json` is for reading and null where the record
-- never decoded; `raw` holds the bytes as given. `sqlstate` holds SQLite's result code.
CREATE TABLE IF NOT EXISTS holdfast_dead_letters (
  writer   TEXT    NOT NULL,
  stream   TEXT    NOT NULL,
  lane     INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  row_json TEXT,
  raw      BLOB    NOT NULL,
  code     TEXT    NOT NULL,
  sqlstate TEXT,
  message  TEXT    NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 1,
  first_at INTEGER NOT NULL,
  last_at  INTEGER NOT NULL,
  state    TEXT    NOT NULL DEFAULT 'dead' CHECK (state IN ('dead', 'replayed', 'dropped')),
  PRIMARY KEY (writer, stream, lane, sequence)
) STRICT;
