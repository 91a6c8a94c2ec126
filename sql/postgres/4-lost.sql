-- Records that nobody has any more, passed over on an operator's order (`holdfast pass-over`): the
-- ledger has them with route 'lost', each end of them being 4, and keeps them. No total counts them,
-- so `settled` lies that far beyond the totals.
-- The locks are taken in the order in which batches and mergers take them, all at once: none of a
-- process that still runs meets this in a deadlock.
DO $lost$
BEGIN
  IF EXISTS (SELECT FROM holdfast_version WHERE version >= 3) THEN
    RETURN;
  END IF;
  LOCK TABLE holdfast_lanes, holdfast_claims, holdfast_merges, holdfast_ledger
    IN ACCESS EXCLUSIVE MODE;
  ALTER TABLE holdfast_lanes DROP CONSTRAINT IF EXISTS holdfast_lanes_check1,
    DROP CONSTRAINT IF EXISTS holdfast_lanes_ends,
    ADD CONSTRAINT holdfast_lanes_ends
      CHECK (settled >= merged + duplicates + superseded + dead_letters);
  ALTER TABLE holdfast_merges DROP CONSTRAINT IF EXISTS holdfast_merges_check,
    DROP CONSTRAINT IF EXISTS holdfast_merges_ends,
    ADD CONSTRAINT holdfast_merges_ends
      CHECK (settled >= merged + duplicates + superseded + dead_letters);
  ALTER TABLE holdfast_ledger DROP CONSTRAINT IF EXISTS holdfast_ledger_ends,
    ADD CONSTRAINT holdfast_ledger_ends CHECK (
      row_count >= merged + duplicates + superseded + dead_letters AND (
        merged_at IS NULL OR route = 'lost'
        OR row_count = merged + duplicates + superseded + dead_letters
      )
    );
  INSERT INTO holdfast_version (version) VALUES (3) ON CONFLICT DO NOTHING;
END
$lost$;
