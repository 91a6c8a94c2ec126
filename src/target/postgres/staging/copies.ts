// Copies that `dedupe` took out of the staging table, in a merge's transaction or its own: the ends
// that they have in the ledger while they wait, and those that they get with what they are copies
// of. Whoever moves them has the claim on their lane.
import { rowEnd } from '../../../merge/batch.ts';
import { decodeEnds, booked as endsOf } from '../../../merge/ledger.ts';
import { type Copy, type EndedCopy, endCopies, keptCopies, unlikeRanges } from '../../copies.ts';
import { TargetError } from '../../target.ts';
import type { Connection, Row } from '../connection.ts';
import type { WaitingBatch } from './turn.ts';

/** What they are copies of, and that they wait no longer; in the transaction that took them out. */
export async function rememberCopies(
  connection: Connection,
  stream: string,
  { lane, copies }: { readonly lane: number; readonly copies: readonly Copy[] },
): Promise<void> {
  const kept = keptCopies(copies);
  await connection.query(
    `INSERT INTO holdfast_copies (source, first_of, last_of, sequence, copies)
     SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[])`,
    [
      kept.map(({ source }) => source),
      kept.map(({ firstOf }) => firstOf),
      kept.map(({ lastOf }) => lastOf),
      kept.map(({ sequence }) => sequence),
      kept.map((row) => row.copies),
    ],
  );
  const ended = copies.map((copy) => ({ ...copy, end: rowEnd.duplicate }));
  await bookEnds(connection, stream, { lane, ended });
}

/**
 * Copies of rows of these batches that are no duplicates of them end as those did; answered are
 * those that are dead letters, for buryCopies.
 */
export async function settleCopies(
  connection: Connection,
  stream: string,
  batches: readonly WaitingBatch[],
): Promise<readonly Copy[]> {
  const ranges = unlikeRanges(batches);
  if (ranges.length === 0) return [];
  const found = await connection.query(
    `SELECT c.source, c.copies
     FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS r (source, first, last)
     JOIN holdfast_copies c
       ON c.source = r.source AND c.last_of >= r.first AND c.first_of <= r.last`,
    [
      ranges.map(({ source }) => source),
      ranges.map(({ first }) => first),
      ranges.map(({ last }) => last),
    ],
  );
  const kept = found.map((row) => ({
    source: Number(row['source']),
    copies: String(row['copies']),
  }));
  const { later, dead } = endCopies(batches, kept);
  for (const [lane, ended] of later) await bookEnds(connection, stream, { lane, ended });
  return dead;
}

/** With the row and the reason of the dead letter that each is a copy of. */
export async function buryCopies(connection: Connection, dead: readonly Copy[]): Promise<void> {
  if (dead.length === 0) return;
  await connection.query(
    `INSERT INTO holdfast_dead_letters (stream, writer, lane, sequence, row_json, code, sqlstate,
       message)
     SELECT d.stream, d.writer, d.lane, c.sequence, d.row_json, d.code, d.sqlstate, d.message
     FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS c (source, copy_of, sequence)
     JOIN holdfast_merges m ON m.source = c.source
     JOIN holdfast_dead_letters d ON d.writer = m.writer AND d.stream = m.stream
       AND d.lane = m.lane AND d.sequence = c.copy_of`,
    [
      dead.map(({ source }) => source),
      dead.map(({ copyOf }) => copyOf),
      dead.map(({ sequence }) => sequence),
    ],
  );
}

/** Ends of records of the lane that wait, before their merge. */
async function bookEnds(
  connection: Connection,
  stream: string,
  { lane, ended }: { readonly lane: number; readonly ended: readonly EndedCopy[] },
): Promise<void> {
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
