-- The first thing that a batch's transaction does: it locks the batch's lanes, in order, and raises
-- an error unless this owner may write exactly these records into exactly this table now. A
-- transaction that was sent twice, by an owner that was replaced, or against a table that was
-- altered, thus ends here, before a row is written.
--   HF001  a lane is not where the batch begins
--   HF002  another owner has taken the lanes over
--   HF003  the table's columns, what they ask of a row, or its unique indexes are not as described
-- `lanes` ascends and `firsts` stands beside it. The caller holds the table's lock already, so that
-- the fingerprint stays true until the transaction ends. describe.ts computes the same fingerprint.
-- Of unique indexes it has those that may be a key: without one, COPY would store a row twice. One
-- that is dropped CONCURRENTLY goes on refusing until this transaction has ended.

CREATE OR REPLACE PROCEDURE holdfast_guard(
  batch_writer uuid, batch_stream text, batch_epoch bigint,
  batch_lanes int[], batch_firsts bigint[], batch_table regclass, batch_fingerprint text
) LANGUAGE plpgsql AS $guard$
DECLARE
  found_lane record;
  place int := 0;
  moved text;
  fingerprint text;
  demands text;
BEGIN
  FOR found_lane IN
    SELECT l.lane, l.epoch, l.settled FROM holdfast_lanes l
    WHERE l.writer = batch_writer AND l.stream = batch_stream AND l.lane = ANY (batch_lanes)
    ORDER BY l.lane FOR UPDATE
  LOOP
    place := place + 1;
    IF found_lane.epoch > batch_epoch THEN
      RAISE EXCEPTION 'lane % belongs to epoch %, this batch to %',
        found_lane.lane, found_lane.epoch, batch_epoch USING ERRCODE = 'HF002';
    END IF;
    IF found_lane.lane <> batch_lanes[place] OR found_lane.epoch <> batch_epoch
      OR found_lane.settled <> batch_firsts[place] - 1 THEN
      moved := coalesce(moved, format('lane %s is settled to %s in epoch %s',
        found_lane.lane, found_lane.settled, found_lane.epoch));
    END IF;
  END LOOP;
  IF moved IS NOT NULL OR place <> cardinality(batch_lanes) THEN
    RAISE EXCEPTION '%', coalesce(moved, 'a lane of the batch is missing') USING ERRCODE = 'HF001';
  END IF;

  SELECT md5(string_agg(format('%s %s %s.%s %s',
      a.attnum, quote_ident(a.attname), n.nspname, t.typname, a.atttypmod), ',' ORDER BY a.attnum)),
    md5(string_agg(format('%s %s %s %s',
      a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated), ',' ORDER BY a.attnum))
  INTO fingerprint, demands
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
  WHERE a.attrelid = batch_table AND a.attnum > 0 AND NOT a.attisdropped;
  -- A process of version 3 that still runs sends the columns' part alone, one of version 4 that of
  -- the keys as well, and each goes on as it did.
  IF length(batch_fingerprint) > 32 THEN
    SELECT fingerprint || md5(coalesce(string_agg(k.mark, ',' ORDER BY k.mark COLLATE "C"), ''))
    INTO fingerprint
    FROM (SELECT DISTINCT format('%s %s %s', x.indkey, x.indnkeyatts, x.indcollation) AS mark
      FROM pg_index x
      WHERE x.indrelid = batch_table AND x.indisunique AND x.indisvalid AND x.indisready
        AND x.indimmediate AND x.indpred IS NULL AND x.indexprs IS NULL) k;
  END IF;
  IF length(batch_fingerprint) > 64 THEN
    fingerprint := fingerprint || demands;
  END IF;
  IF fingerprint IS DISTINCT FROM batch_fingerprint THEN
    RAISE EXCEPTION 'the columns or keys of % are not as they were described', batch_table
      USING ERRCODE = 'HF003';
  END IF;
END
$guard$;
