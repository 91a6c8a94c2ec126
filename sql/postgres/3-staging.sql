-- The staged route: a batch is first committed to a staging table of its stream, and merges bring it
-- into the stream's table later. Streams of the direct route leave all of this empty.

-- What a lane of a staged stream has in holdfast_lanes for the direct route: its `settled` and its
-- totals. They stand apart, so that a merge and the staging of the next batch never wait for each
-- other. `source` stands for (writer, stream, lane) in the staging table.
CREATE TABLE IF NOT EXISTS holdfast_merges (
  writer       uuid   NOT NULL,
  stream       text   NOT NULL,
  lane         int    NOT NULL,
  source       int    NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
  settled      bigint NOT NULL DEFAULT 0,
  merged       bigint NOT NULL DEFAULT 0,
  duplicates   bigint NOT NULL DEFAULT 0,
  superseded   bigint NOT NULL DEFAULT 0,
  dead_letters bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (writer, stream, lane),
  CHECK (settled = merged + duplicates + superseded + dead_letters)
) WITH (fillfactor = 30);

-- A merger holds the lock of a row while it merges that lane of every writer: rows of one key are in
-- lanes of one number, so two mergers never meet at a key.
CREATE TABLE IF NOT EXISTS holdfast_claims (
  stream text NOT NULL,
  lane   int  NOT NULL,
  PRIMARY KEY (stream, lane)
);

-- Rows that `holdfast dedupe` took out of a staging table: copies of others of the same source, which
-- stand there for them. They are known until these are merged, since they end as these do where these
-- are no rows of the table. `copies`: [copy of, sequence] of each as JSON, some hundred of them; what
-- they are copies of lies from `first_of` to `last_of`, the last of them is `sequence`.
CREATE TABLE IF NOT EXISTS holdfast_copies (
  source   int    NOT NULL,
  first_of bigint NOT NULL,
  last_of  bigint NOT NULL,
  sequence bigint NOT NULL,
  copies   text   NOT NULL,
  PRIMARY KEY (source, last_of, sequence)
);

-- Each staged stream: its staging table, what its rows are for, and what they mean. `fields`: per
-- column of the staging table the column that was journaled; `sets`: the sets of columns that rows
-- provide, as places in `fields`. Both only grow.
CREATE TABLE IF NOT EXISTS holdfast_stages (
  stream  text  PRIMARY KEY,
  staging text  NOT NULL,
  target  text  NOT NULL,
  rules   jsonb NOT NULL,
  fields  jsonb NOT NULL DEFAULT '[]',
  sets    jsonb NOT NULL DEFAULT '[]'
);

-- The first thing that the transaction of a staged batch does; see holdfast_guard.
--   HF004  the stream is staged for another table, or under other rules
--   HF005  the day is over: rows would go into the partition of another one
-- The stage's row is held, so that its rules stay until the batch shows up as waiting.
CREATE OR REPLACE PROCEDURE holdfast_stage_guard(
  batch_writer uuid, batch_stream text, batch_epoch bigint,
  batch_lanes int[], batch_firsts bigint[], batch_target text, batch_rules jsonb,
  batch_day text
) LANGUAGE plpgsql AS $guard$
DECLARE
  found_lane record;
  place int := 0;
  moved text;
BEGIN
  PERFORM 1 FROM holdfast_stages s
  WHERE s.stream = batch_stream AND s.target = batch_target AND s.rules = batch_rules
  FOR KEY SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'stream % is staged under other rules than the batch', batch_stream
      USING ERRCODE = 'HF004';
  END IF;
  IF batch_day <> to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD') THEN
    RAISE EXCEPTION 'the day % is over', batch_day USING ERRCODE = 'HF005';
  END IF;
  FOR found_lane IN
    SELECT l.lane, l.epoch, l.staged FROM holdfast_lanes l
    WHERE l.writer = batch_writer AND l.stream = batch_stream AND l.lane = ANY (batch_lanes)
    ORDER BY l.lane FOR UPDATE
  LOOP
    place := place + 1;
    IF found_lane.epoch > batch_epoch THEN
      RAISE EXCEPTION 'lane % belongs to epoch %, this batch to %',
        found_lane.lane, found_lane.epoch, batch_epoch USING ERRCODE = 'HF002';
    END IF;
    IF found_lane.lane <> batch_lanes[place] OR found_lane.epoch <> batch_epoch
      OR found_lane.staged <> batch_firsts[place] - 1 THEN
      moved := coalesce(moved, format('lane %s is staged to %s in epoch %s',
        found_lane.lane, found_lane.staged, found_lane.epoch));
    END IF;
  END LOOP;
  IF moved IS NOT NULL OR place <> cardinality(batch_lanes) THEN
    RAISE EXCEPTION '%', coalesce(moved, 'a lane of the batch is missing') USING ERRCODE = 'HF001';
  END IF;
END
$guard$;

-- Tables of version 1 are altered in the order in which a batch locks them, so that none of a
-- process that still runs meets this in a deadlock.
-- `merged_at`: null in the ledger's row of a batch that is staged; its `ends` are then only those
-- that were decided before the merge (dead letters that never decoded, duplicates that were
-- collapsed). `confirmed`: what the lane's owner has told last; partitions of the staging table
-- with later records are kept.
DO $staging$
BEGIN
  IF EXISTS (SELECT FROM holdfast_version WHERE version >= 2) THEN
    RETURN;
  END IF;
  ALTER TABLE holdfast_lanes ADD COLUMN IF NOT EXISTS confirmed bigint NOT NULL DEFAULT 0;
  ALTER TABLE holdfast_ledger ADD COLUMN IF NOT EXISTS merged_at timestamptz DEFAULT now(),
    DROP CONSTRAINT IF EXISTS holdfast_ledger_check1;
  CREATE INDEX IF NOT EXISTS holdfast_ledger_waiting
    ON holdfast_ledger (stream, lane, writer, last_sequence) WHERE merged_at IS NULL;
END
$staging$;
