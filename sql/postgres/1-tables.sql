-- The tables that Holdfast owns in a PostgreSQL database (13 and later). They are written only inside
-- the transactions that write your rows, so they say at any time exactly what those tables hold.
-- Never edit them by hand: `settled` decides which rows are sent again.

CREATE TABLE IF NOT EXISTS holdfast_version (
  version    int         PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Where each lane stands: every record up to `settled` has its end, and the totals say which.
-- The row's lock is what a batch holds while it writes; the epoch is what shuts out an older owner.
CREATE TABLE IF NOT EXISTS holdfast_lanes (
  writer       uuid   NOT NULL,
  stream       text   NOT NULL,
  lane         int    NOT NULL,
  epoch        bigint NOT NULL DEFAULT 0,
  owner        text   NOT NULL DEFAULT '',
  staged       bigint NOT NULL DEFAULT 0,
  settled      bigint NOT NULL DEFAULT 0,
  merged       bigint NOT NULL DEFAULT 0,
  duplicates   bigint NOT NULL DEFAULT 0,
  superseded   bigint NOT NULL DEFAULT 0,
  dead_letters bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (writer, stream, lane),
  CHECK (staged >= settled),
  CHECK (settled = merged + duplicates + superseded + dead_letters)
) WITH (fillfactor = 30);

-- One row per lane of each batch. `ends` is null where every record was merged; else runs in
-- sequence order: a byte (0 merged, 1 duplicate, 2 superseded, 3 dead letter), then the length
-- of the run as an unsigned LEB128. Pruned once it is older than the journal.
CREATE TABLE IF NOT EXISTS holdfast_ledger (
  writer         uuid        NOT NULL,
  stream         text        NOT NULL,
  lane           int         NOT NULL,
  first_sequence bigint      NOT NULL,
  last_sequence  bigint      NOT NULL,
  row_count      int         NOT NULL,
  merged         int         NOT NULL,
  duplicates     int         NOT NULL,
  superseded     int         NOT NULL,
  dead_letters   int         NOT NULL,
  digest         bigint      NOT NULL,
  ends           bytea,
  route          text        NOT NULL,
  at             timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (writer, stream, lane, last_sequence),
  CHECK (row_count = last_sequence - first_sequence + 1),
  CHECK (row_count = merged + duplicates + superseded + dead_letters)
);

-- Records that could not be merged, whole. `row_json` is for reading; `raw` holds the bytes as
-- given where there is no JSON, or where this database's encoding cannot hold it.
CREATE TABLE IF NOT EXISTS holdfast_dead_letters (
  writer   uuid        NOT NULL,
  stream   text        NOT NULL,
  lane     int         NOT NULL,
  sequence bigint      NOT NULL,
  row_json text,
  raw      bytea,
  code     text        NOT NULL,
  sqlstate text,
  message  text        NOT NULL,
  attempts int         NOT NULL DEFAULT 1,
  first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  state    text        NOT NULL DEFAULT 'dead',
  PRIMARY KEY (writer, stream, lane, sequence),
  CHECK (state IN ('dead', 'replayed', 'dropped'))
);
