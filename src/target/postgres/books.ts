// The books of a batch: ledger rows, dead letters, and the lanes' watermarks and totals, written in
// one statement and one round trip. They are worth something only in the transaction of the rows.

import type { Batch } from '../../merge/batch.ts';
import { type LedgerRow, ledgerRows } from '../../merge/ledger.ts';
import type { Letters } from '../letter.ts';
import { toLedgerRow } from '../rows.ts';
import type { LedgerRange, StreamId } from '../target.ts';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import { insertLetters, keepButLast, letterValues } from './letter-parts.ts';

const settleSql = `
WITH slices AS (
  SELECT * FROM unnest($3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::int[], $8::int[],
    $9::int[], $10::bigint[], $11::bytea[])
    AS s (lane, first, last, merged, duplicates, superseded, dead_letters, digest, ends)
), booked AS (
  INSERT INTO holdfast_ledger (writer, stream, lane, first_sequence, last_sequence, row_count,
    merged, duplicates, superseded, dead_letters, digest, ends, route)
  SELECT $1::uuid, $2, lane, first, last, last - first + 1, merged, duplicates, superseded,
    dead_letters, digest, ends, 'direct' FROM slices
), kept AS (
  ${insertLetters(2, 13)}
)
UPDATE holdfast_lanes l SET settled = s.last, staged = greatest(l.staged, s.last),
  merged = l.merged + s.merged, duplicates = l.duplicates + s.duplicates,
  superseded = l.superseded + s.superseded, dead_letters = l.dead_letters + s.dead_letters
FROM slices s
WHERE l.writer = $1::uuid AND l.stream = $2 AND l.lane = s.lane AND l.settled = s.first - 1
  AND l.epoch = $12::bigint
RETURNING l.lane`;

/** Books the batch, in the transaction that wrote its rows. `ends` absent: every row was merged. */
export async function settle(
  connection: Connection,
  batch: Batch,
  ended: { readonly ends: Uint8Array | undefined; readonly letters: Letters },
): Promise<void> {
  const rows = ledgerRows(batch, ended.ends);
  const { stream } = batch.rules;
  const letters = await keepButLast(connection, stream, ended.letters);
  const moved = await connection.prepared(settleSql, [
    batch.writer,
    stream,
    rows.map((row) => row.lane),
    rows.map((row) => row.first),
    rows.map((row) => row.last),
    rows.map((row) => row.merged),
    rows.map((row) => row.duplicates),
    rows.map((row) => row.superseded),
    rows.map((row) => row.deadLetters),
    rows.map((row) => row.digest),
    rows.map((row) => row.ends && Buffer.from(row.ends)),
    batch.epoch,
    ...letterValues(letters),
  ]);
  if (moved.length === rows.length) return;
  // The guard holds these rows' locks: only a trigger or a rule on our own table could do this.
  throw new TargetError(
    'hold',
    '',
    'A lane row did not move; is there a trigger on holdfast_lanes?',
  );
}

export const ledgerColumns = `lane, first_sequence AS first, last_sequence AS last,
  row_count AS "rowCount", merged, duplicates, superseded, dead_letters AS "deadLetters", digest,
  ends`;

/** Ledger rows that overlap [first, last] of the lane, ascending. */
export async function ledger(
  connection: Connection,
  { writer, stream }: StreamId,
  range: LedgerRange,
): Promise<LedgerRow[]> {
  const rows = await connection.query(
    `SELECT ${ledgerColumns} FROM holdfast_ledger WHERE writer = $1 AND stream = $2 AND lane = $3
       AND last_sequence >= $4 AND first_sequence <= $5
       AND (merged_at IS NOT NULL OR $6) ORDER BY last_sequence`,
    [writer, stream, range.lane, range.first, range.last, range.isStagedToo === true],
  );
  return rows.map(toLedgerRow);
}

export async function prune(
  connection: Connection,
  { writer, stream }: StreamId,
  upTo: readonly { readonly lane: number; readonly last: number }[],
): Promise<number> {
  const [row] = await connection.query(
    `WITH gone AS (
       DELETE FROM holdfast_ledger l USING unnest($3::int[], $4::bigint[]) AS u (lane, last)
       WHERE l.writer = $1 AND l.stream = $2 AND l.lane = u.lane AND l.last_sequence <= u.last
         AND l.merged_at IS NOT NULL AND l.route <> 'lost'
       RETURNING 1)
     SELECT count(*) AS rows FROM gone`,
    [writer, stream, upTo.map(({ lane }) => lane), upTo.map(({ last }) => last)],
  );
  return Number(row?.['rows']);
}
