// Copies that `dedupe` took out of the staging table, in a merge's transaction or its own: the ends
// that they have in the ledger while they wait, and those that they get with what they are copies
// of. Whoever moves them has the claim on their lane.
import { decodeEnds, booked as endsOf } from '../../../merge/ledger.ts';
import { type Copy, type EndedCopy, endCopies, type RecordRun, unlikeRuns } from '../../copies.ts';
import { TargetError } from '../../target.ts';
import type { Connection, Row } from '../connection.ts';
import { ofStream } from '../lanes.ts';
import { bytes } from '../text.ts';
import type { WaitingBatch } from './turn.ts';

/** Runs that one statement asks for. */
const runsMax = 200;

/**
 * Copies of rows of these batches that are no duplicates of them end as those did. The dead letters
 * of the batches are there.
 */
export async function settleCopies(
  connection: Connection,
  stream: string,
  batches: readonly WaitingBatch[],
): Promise<void> {
  const runs = unlikeRuns(batches);
  const copies: Copy[] = [];
  for (let at = 0; at < runs.length; at += runsMax) {
    for (const copy of await copiesOf(connection, runs.slice(at, at + runsMax))) copies.push(copy);
  }
  for (const [lane, ended] of endCopies(batches, copies)) {
    await bookEnds(connection, stream, { lane, ended });
  }
}

/** Those of these records, with the dead letters that they get where that is how these ended. */
async function copiesOf(connection: Connection, runs: readonly RecordRun[]): Promise<Copy[]> {
  const among = runs.map(
    ({ source, first, last }) => `c.source = ${source} AND c.copy_of BETWEEN ${first} AND ${last}`,
  );
  const from = 'holdfast_copies c FORCE INDEX (PRIMARY)';
  const found = await connection.query(
    `SELECT c.source, c.copy_of, c.sequence FROM ${from} WHERE ${among.join(' OR ')}`,
  );
  if (found.length === 0) return [];
  const same = 'row_json, raw, code, `sqlstate`, message, first_at, last_at';
  await connection.script(
    `INSERT INTO holdfast_dead_letters (writer, stream, lane, sequence, ${same})
     SELECT d.writer, d.stream, d.lane, c.sequence, ${same} FROM ${from}
     STRAIGHT_JOIN holdfast_merges m ON m.source = c.source
     STRAIGHT_JOIN holdfast_dead_letters d FORCE INDEX (PRIMARY) ON d.writer = m.writer
       AND d.stream = m.stream AND d.lane = m.lane AND d.sequence = c.copy_of
     WHERE ${among.join(' OR ')}`,
  );
  return found.map(toCopy);
}

export const toCopy = (row: Row): Copy => ({
  source: Number(row['source']),
  copyOf: Number(row['copy_of']),
  sequence: Number(row['sequence']),
});

/** Ends of records of the lane that wait, before their merge. */
export async function bookEnds(
  connection: Connection,
  stream: string,
  { lane, ended }: { readonly lane: number; readonly ended: readonly EndedCopy[] },
): Promise<void> {
  for (const [source, own] of Map.groupBy(ended, (copy) => copy.source)) {
    const sorted = own.toSorted((a, b) => a.sequence - b.sequence);
    await bookSource(connection, stream, { lane, source, sorted });
  }
}

async function bookSource(
  connection: Connection,
  stream: string,
  of: { readonly lane: number; readonly source: number; readonly sorted: readonly EndedCopy[] },
): Promise<void> {
  const { lane, source, sorted } = of;
  const [owner] = await connection.query(
    `SELECT writer FROM holdfast_merges WHERE source = ${source}`,
  );
  const own = `${ofStream({ writer: String(owner?.['writer']), stream })} AND lane = ${lane}`;
  const batches = await connection.query(
    `SELECT first_sequence AS first, last_sequence AS last, row_count AS \`rowCount\`, ends
     FROM holdfast_ledger FORCE INDEX (PRIMARY)
     WHERE ${own} AND last_sequence >= ${sorted[0]?.sequence} AND merged_at IS NULL
     ORDER BY last_sequence FOR UPDATE`,
  );
  let at = 0;
  for (const row of batches) {
    const [first, last] = [Number(row['first']), Number(row['last'])];
    const from = at;
    const given = row['ends'] instanceof Uint8Array ? row['ends'] : null;
    const ends = decodeEnds({ ends: given, rowCount: Number(row['rowCount']) });
    for (let copy = sorted[at]; copy && copy.sequence <= last; copy = sorted[++at]) {
      ends[copy.sequence - first] = copy.end;
    }
    if (at === from) continue;
    const after = endsOf(ends);
    await connection.script(
      `UPDATE holdfast_ledger SET duplicates = ${after.duplicates},
         superseded = ${after.superseded}, dead_letters = ${after.deadLetters},
         ends = ${after.ends ? bytes(after.ends) : 'NULL'}
       WHERE ${own} AND last_sequence = ${last}`,
    );
  }
  if (at < sorted.length) {
    throw new TargetError('hold', '', 'Collapsed rows are in no staged batch.');
  }
}
