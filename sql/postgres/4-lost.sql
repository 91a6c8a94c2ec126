-- Records that nobody has any more, passed over on an operator's order (`holdfast pass-over`): the
-- ledger has them with route 'lost', each end of them being 4, and keeps them. No total counts them,
-- so `settled` lies that far beyond the totals.
ALTER TABLE holdfast_ledger DROP CONSTRAINT IF EXISTS holdfast_ledger_ends;
ALTER TABLE holdfast_ledger ADD CONSTRAINT holdfast_ledger_ends CHECK (
  row_count >= merged + duplicates + superseded + dead_letters AND (
    merged_at IS NULL OR route = 'lost'
    OR row_count = merged + duplicates + superseded + dead_letters
  )
);
ALTER TABLE holdfast_lanes DROP CONSTRAINT IF EXISTS holdfast_lanes_check1;
ALTER TABLE holdfast_lanes DROP CONSTRAINT IF EXISTS holdfast_lanes_ends;
ALTER TABLE holdfast_lanes ADD CONSTRAINT holdfast_lanes_ends
  CHECK (settled >= merged + duplicates + superseded + dead_letters);
ALTER TABLE holdfast_merges DROP CONSTRAINT IF EXISTS holdfast_merges_check;
ALTER TABLE holdfast_merges DROP CONSTRAINT IF EXISTS holdfast_merges_ends;
ALTER TABLE holdfast_merges ADD CONSTRAINT holdfast_merges_ends
  CHECK (settled >= merged + duplicates + superseded + dead_letters);

INSERT INTO holdfast_version (version) VALUES (3) ON CONFLICT DO NOTHING;
