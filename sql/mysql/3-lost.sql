-- Records that nobody has any more, passed over on an operator's order (`holdfast pass-over`): the
-- ledger has them with route 'lost', each end of them being 4, and keeps them. No total counts them,
-- so `settled` lies that far beyond the totals. Tables of version 2 did not allow it; here MariaDB
-- is taught to. On MySQL 8.0.16 and later, drop their CHECKs by hand.
ALTER TABLE holdfast_ledger /*M!100502 DROP CONSTRAINT IF EXISTS CONSTRAINT_3,
  ADD CONSTRAINT IF NOT EXISTS holdfast_ledger_ends CHECK (merged_at IS NULL OR route = 'lost'
    OR row_count = merged + duplicates + superseded + dead_letters) */;
ALTER TABLE holdfast_lanes /*M!100502 DROP CONSTRAINT IF EXISTS CONSTRAINT_2,
  ADD CONSTRAINT IF NOT EXISTS holdfast_lanes_ends
    CHECK (settled >= merged + duplicates + superseded + dead_letters) */;
ALTER TABLE holdfast_merges /*M!100502 DROP CONSTRAINT IF EXISTS CONSTRAINT_1,
  ADD CONSTRAINT IF NOT EXISTS holdfast_merges_ends
    CHECK (settled >= merged + duplicates + superseded + dead_letters) */;
