-- The staged route: a batch is first committed to a staging table of its stream, and merges bring
-- it into the stream's table later. Streams of the direct route leave all of this empty.

-- What a lane of a staged stream has in holdfast_lanes for the direct route: its `settled` and its
-- totals. They stand apart, so that a merge and the staging of the next batch never wait for each
-- other. `source` stands for (writer, stream, lane) in the staging table.
CREATE TABLE IF NOT EXISTS holdfast_merges (
  writer       CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  stream       VARCHAR(150) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  lane         INT    NOT NULL,
  source       INT    NOT NULL AUTO_INCREMENT,
  settled      BIGINT NOT NULL DEFAULT 0,
  merged       BIGINT NOT NULL DEFAULT 0,
  duplicates   BIGINT NOT NULL DEFAULT 0,
  superseded   BIGINT NOT NULL DEFAULT 0,
  dead_letters BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (writer, stream, lane),
  UNIQUE KEY (source),
  CONSTRAINT holdfast_merges_ends
    CHECK (settled >= merged + duplicates + superseded + dead_letters)
) ENGINE = InnoDB;

-- A merger holds the lock of a row while it merges that lane of every writer: rows of one key are
-- in lanes of one number, so two mergers never meet at a key.
CREATE TABLE IF NOT EXISTS holdfast_claims (
  stream VARCHAR(150) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  lane   INT NOT NULL,
  PRIMARY KEY (stream, lane)
) ENGINE = InnoDB;

-- Rows that `holdfast dedupe` took out of a staging table: copies of others of the same source, which
-- stand there for them. They are known until these are merged, since they end as these do where these
-- are no rows of the table. `copies`: [copy of, sequence] of each as JSON, some hundred of them; what
-- they are copies of lies from `first_of` to `last_of`, the last of them is `sequence`.
CREATE TABLE IF NOT EXISTS holdfast_copies (
  source   INT      NOT NULL,
  first_of BIGINT   NOT NULL,
  last_of  BIGINT   NOT NULL,
  sequence BIGINT   NOT NULL,
  copies   LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  PRIMARY KEY (source, last_of, sequence)
) ENGINE = InnoDB;

-- Each staged stream: its staging table, what its rows are for, and what they mean, as JSON.
-- `fields`: per column of the staging table the column that was journaled; `sets`: the sets of
-- columns that rows provide, as places in `fields`. Both only grow.
CREATE TABLE IF NOT EXISTS holdfast_stages (
  stream  VARCHAR(150) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  staging VARCHAR(64)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  target  VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  rules   LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  fields  LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  sets    LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (stream)
) ENGINE = InnoDB;
