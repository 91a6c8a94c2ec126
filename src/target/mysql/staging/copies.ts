// Copies that `dedupe` took out of the staging table, in a merge's transaction or its own: the ends
// that they have in the ledger while they wait, and those that they get with what they are copies
// of. Whoever moves them has the claim on their lane.
import { rowEnd } from '../../../merge/batch.ts';
import { decodeEnds, booked as endsOf } from '../../../merge/ledger.ts';
import { type Copy, type EndedCopy, endCopies, keptCopies, unlikeRanges } from '../../copies.ts';
import { TargetError } from '../../target.ts';
import type { Connection, Row } from '../connection.ts';
import { ofStream } from '../lanes.ts';
import { bytes, literal } from '../text.ts';
import type { WaitingBatch } from './turn.ts';

/** Sources that one statement asks for. */
const sourcesMax = 200;

/** What they are copies of, and that they wait no longer; in the transaction that took them out. */
export async function rememberCopies(
  connection: Connection,
  stream: string,
  { lane, copies }: { readonly lane: number; readonly copies: readonly Copy[] },
): Promise<void> {
  for (const row of keptCopies(copies)) {
    const places = [row.source, row.firstOf, row.lastOf, row.sequence];
    await connection.script(
      `INSERT INTO holdfast_copies (source, first_of, last_of, sequence, copies)
       VALUES (${places.join()}, ${literal(row.copies)})`,
    );
  }
  const ended = copies.map((copy) => ({ ...copy, end: rowEnd.duplicate }));
  await bookEnds(connection, stream, { lane, ended });
}

/**
 * Copies of rows of these batches that are no duplicates of them end as those did; answered are
 * those that are dead letters.
 */
export async function settleCopies(
  connection: Connection,
  stream: string,
  batches: readonly WaitingBatch[],
): Promise<readonly Copy[]> {
  const ranges = unlikeRanges(batches).map(
    ({ source, first, last }) =>
      `source = ${source} AND last_of >= ${first} AND first_of <= ${last}`,
  );
  const found: Row[] = [];
  for (let at = 0; at < ranges.length; at += sourcesMax) {
    const rows = await connection.query(
      `SELECT source, copies FROM holdfast_copies FORCE INDEX (PRIMARY)
       WHERE ${ranges.slice(at, at + sourcesMax).join(' OR ')}`,
    );
    found.push(...rows);
  }
  const kept = found.map((row) => ({
    source: Number(row['source']),
    copies: String(row['copies']),
  }));
  const { later, dead } = endCopies(batches, kept);
  for (const [lane, ended] of later) await bookEnds(connection, stream, { lane, ended });
  return dead;
}

/** Ends of records of the lane that wait, before their merge. */
async function bookEnds(
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
