-- The tables that Holdfast owns in a MariaDB (10.5 and later) or MySQL (5.6 and later) database.
-- They are written only inside the transactions that write your rows, so they say at any time
-- exactly what those tables hold. Never edit them by hand: `settled` decides which rows are sent
-- again. Times are UTC. MySQL before 8.0.16 reads the CHECKs and does not keep them.

-- Where each lane stands: every record up to `settled` has its end, and the totals say which.
-- The row's lock is what a batch holds while it writes; the epoch is what shuts out an older owner;
-- `confirmed` is what that owner has told last (staged streams).
CREATE TABLE IF NOT EXISTS holdfast_lanes (
  writer       CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  stream       VARCHAR(150) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  lane         INT          NOT NULL,
  epoch        BIGINT       NOT NULL DEFAULT 0,
  owner        VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  staged       BIGINT       NOT NULL DEFAULT 0,
  settled      BIGINT       NOT NULL DEFAULT 0,
  merged       BIGINT       NOT NULL DEFAULT 0,
  duplicates   BIGINT       NOT NULL DEFAULT 0,
  superseded   BIGINT       NOT NULL DEFAULT 0,
  dead_letters BIGINT       NOT NULL DEFAULT 0,
  confirmed    BIGINT       NOT NULL DEFAULT 0,
  PRIMARY KEY (writer, stream, lane),
  CHECK (staged >= settled),
  CONSTRAINT holdfast_lanes_ends
    CHECK (settled >= merged + duplicates + superseded + dead_letters)
) ENGINE = InnoDB;

-- One row per lane of each batch. `ends` is null where every record was merged; else runs in
-- sequence order: a byte (0 merged, 1 duplicate, 2 superseded, 3 dead letter, 4 lost), then the
-- length of the run as an unsigned LEB128. Pruned once it is older than the journal. A batch that
-- is staged and not merged has no `merged_at`; its `ends` are then only those that were decided
-- before the merge (dead letters that never decoded, duplicates that were collapsed).
CREATE TABLE IF NOT EXISTS holdfast_ledger (
  writer         CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  stream         VARCHAR(150) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  lane           INT         NOT NULL,
  first_sequence BIGINT      NOT NULL,
  last_sequence  BIGINT      NOT NULL,
  row_count      INT         NOT NULL,
  merged         INT         NOT NULL,
  duplicates     INT         NOT NULL,
  superseded     INT         NOT NULL,
  dead_letters   INT         NOT NULL,
  digest         BIGINT      NOT NULL,
  ends           LONGBLOB,
  route          VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  at             DATETIME(6) NOT NULL,
  merged_at      DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (writer, stream, lane, last_sequence),
  KEY holdfast_ledger_waiting (stream, merged_at, lane),
  CHECK (row_count = last_sequence - first_sequence + 1),
  CHECK (row_count >= merged + duplicates + superseded + dead_letters),
  CONSTRAINT holdfast_ledger_ends CHECK (merged_at IS NULL OR route = 'lost'
    OR row_count = merged + duplicates + superseded + dead_letters)
) ENGINE = InnoDB;

-- Records that could not be merged, whole. `row_json` is for reading; `raw` holds the bytes as
-- given where there is no JSON.
CREATE TABLE IF NOT EXISTS holdfast_dead_letters (
  writer   CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  stream   VARCHAR(150) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  lane     INT         NOT NULL,
  sequence BIGINT      NOT NULL,
  row_json LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  raw      LONGBLOB,
  code     VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `sqlstate` VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  message  TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  attempts INT         NOT NULL DEFAULT 1,
  first_at DATETIME(6) NOT NULL,
  last_at  DATETIME(6) NOT NULL,
  state    VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'dead',
  PRIMARY KEY (writer, stream, lane, sequence),
  KEY holdfast_dead_letters_by_age (state, first_at),
  CHECK (state IN ('dead', 'replayed', 'dropped'))
) ENGINE = InnoDB;

-- Written to last, in 4-version.sql: where it says so, the others are there. DDL has no
-- transactions here.
CREATE TABLE IF NOT EXISTS holdfast_version (
  version    INT         NOT NULL PRIMARY KEY,
  created_at DATETIME(6) NOT NULL
) ENGINE = InnoDB;
