// Copies that `dedupe` took out of the staging table, in a merge's transaction or its own: the ends
// that they have in the ledger while they wait, and those that they get with what they are copies
// of. Whoever moves them has the claim on their lane.
import { decodeEnds, booked as endsOf } from '../../../merge/ledger.ts';
import { type Copy, type EndedCopy, endCopies, unlikeRuns } from '../../copies.ts';
import { TargetError } from '../../target.ts';
import type { Connection, Row } from '../connection.ts';
import type { WaitingBatch } from './turn.ts';

/**
 * Copies of rows of these batches that are no duplicates of them end as those did; their letters
 * come with the batches' own.
 */
export async function settleCopies(
  connection: Connection,
  stream: string,
  batches: readonly WaitingBatch[],
): Promise<void> {
  const runs = unlikeRuns(batches);
  if (runs.length === 0) return;
  const found = await connection.query(
    `SELECT c.source, c.copy_of AS "copyOf", c.sequence
     FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS r (source, first, last)
     JOIN holdfast_copies c ON c.source = r.source AND c.copy_of BETWEEN r.first AND r.last`,
    [
      runs.map(({ source }) => source),
      runs.map(({ first }) => first),
      runs.map(({ last }) => last),
    ],
  );
  const copies = found.map(
    (row): Copy => ({
      source: Number(row['source']),
      copyOf: Number(row['copyOf']),
      sequence: Number(row['sequence']),
    }),
  );
  for (const [lane, ended] of endCopies(batches, copies)) {
    await bookEnds(connection, stream, { lane, ended });
  }
}

/** Ends of records of the lane that wait, before their merge. */
export async function bookEnds(
  connection: Connection,
  stream: string,
  { lane, ended }: { readonly lane: number; readonly ended: readonly EndedCopy[] },
): Promise<void> {
  if (ended.length === 0) return;
  const batches = await connection.query(
    `SELECT l.writer, m.source, l.first_sequence AS first, l.last_sequence AS last,
       l.row_count AS "rowCount", l.ends
     FROM holdfast_ledger l JOIN holdfast_merges m
       ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane
     WHERE l.stream = $1 AND l.lane = $2 AND l.merged_at IS NULL
     ORDER BY m.source, l.last_sequence FOR UPDATE OF l`,
    [stream, lane],
  );
  const sorted = ended.toSorted((a, b) => a.source - b.source || a.sequence - b.sequence);
  const writers: string[] = [];
  const lasts: number[] = [];
  const rows: ReturnType<typeof endsOf>[] = [];
  let at = 0;
  for (const batch of batches) {
    let copy = sorted[at];
    if (!copy || !isOf(batch, copy)) continue;
    const own = decodedEnds(batch);
    for (; copy && isOf(batch, copy); copy = sorted[++at]) {
      own[copy.sequence - Number(batch['first'])] = copy.end;
    }
    writers.push(String(batch['writer']));
    lasts.push(Number(batch['last']));
    rows.push(endsOf(own));
  }
  if (at < sorted.length) throw new TargetError('hold', '', 'Collapsed rows are in no batch.');
  await connection.query(
    `UPDATE holdfast_ledger l SET duplicates = b.duplicates, superseded = b.superseded,
       dead_letters = b.dead_letters, ends = b.ends
     FROM unnest($3::uuid[], $4::bigint[], $5::int[], $6::int[], $7::int[], $8::bytea[])
       AS b (writer, last, duplicates, superseded, dead_letters, ends)
     WHERE l.stream = $1 AND l.lane = $2 AND l.writer = b.writer AND l.last_sequence = b.last`,
    [
      stream,
      lane,
      writers,
      lasts,
      rows.map((row) => row.duplicates),
      rows.map((row) => row.superseded),
      rows.map((row) => row.deadLetters),
      rows.map((row) => row.ends && Buffer.from(row.ends)),
    ],
  );
}

function decodedEnds(batch: Row): Uint8Array {
  const given = batch['ends'] instanceof Uint8Array ? batch['ends'] : null;
  return decodeEnds({ ends: given, rowCount: Number(batch['rowCount']) });
}

const isOf = (batch: Row, { source, sequence }: EndedCopy): boolean =>
  source === Number(batch['source']) && sequence <= Number(batch['last']);
