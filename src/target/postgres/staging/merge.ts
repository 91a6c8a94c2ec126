// The transaction of a merge (L2 to L3): claims, what waits under them, rows, and the books of all
// of it together. Nothing is decided from memory: a merge that comes late, twice or after a crash
// finds `settled` where the last one left it.
import assert from 'node:assert/strict';
import { renderRow } from '../../../accept/json-text.ts';
import { booked } from '../../../merge/ledger.ts';
import type { Letter, Letters } from '../../letter.ts';
import type { MergedTurn, MergeTurn } from '../../staging.ts';
import { TargetError } from '../../target.ts';
import type { Connection } from '../connection.ts';
import { insertLetters, keepButLast, letterValues } from '../letter-parts.ts';
import { commitAt } from '../merge.ts';
import type { Refusal } from '../savepoint.ts';
import { buryCopies, settleCopies } from './copies.ts';
import {
  countRows,
  insertStraight,
  type PlacedRows,
  placeStaged,
  placesOf,
  type RefusedRow,
  type RowPlace,
  type StagedRows,
} from './rows.ts';
import { mergedStage } from './table.ts';
import { claimLanes, lanesWaiting, sendBack, takeBatches, type WaitingBatch } from './turn.ts';

export async function mergeTurn(
  connection: Connection,
  turn: MergeTurn,
  positions: boolean,
): Promise<MergedTurn | undefined> {
  const waiting = await lanesWaiting(connection, turn);
  if (waiting.lanes.length === 0) return undefined;
  return connection.transaction(async () => {
    const lanes = await claimLanes(connection, turn, waiting);
    const taken = await takeBatches(connection, turn, lanes);
    // Read behind the batches, the layout knows the columns of all their rows.
    const stage = await mergedStage(connection, turn.stream);
    if (!stage || taken.batches.length + taken.broken.length === 0) {
      await connection.commit();
      return undefined;
    }
    const rows = { stream: turn.stream, stage, taken };
    const done = await settleRows(connection, rows, turn.isOptimistic);
    const position = await commitAt(connection, positions);
    return { ...done, position };
  });
}

type Done = Omit<MergedTurn, 'position'>;

const recordsOf = (batches: readonly WaitingBatch[]): number =>
  batches.reduce((sum, { ends }) => sum + ends.length, 0);

async function settleRows(
  connection: Connection,
  rows: StagedRows,
  isOptimistic: boolean,
): Promise<Done> {
  const { batches } = rows.taken;
  const stream = rows.stream.rules.stream;
  const records = recordsOf(batches);
  const isOneSet = rows.stage.layout.sets.length === 1;
  const isEmpty = rows.taken.rows === 0;
  if (rows.taken.broken.length === 0 && (isEmpty || (isOptimistic && isOneSet))) {
    if (isEmpty || (await insertStraight(connection, rows, [0]))) {
      await book(connection, stream, { batches, letters: [] });
      return { records, lost: 0, optimistic: isEmpty ? 'not tried' : 'passed' };
    }
  }
  const { sets, broken } = await countRows(connection, rows);
  const gone = [...rows.taken.broken, ...broken];
  if (gone.length > 0) {
    await sendBack(connection, stream, { broken: gone, stage: rows.stage });
    return { records: 0, lost: recordsOf(gone), optimistic: 'not tried' };
  }
  if (isOptimistic && !isOneSet && (await insertStraight(connection, rows, [...sets.keys()]))) {
    await book(connection, stream, { batches, letters: [] });
    return { records, lost: 0, optimistic: 'passed' };
  }
  await placeAll(connection, rows, sets);
  return { records, lost: 0, optimistic: isOptimistic ? 'failed' : 'not tried' };
}

async function placeAll(
  connection: Connection,
  rows: StagedRows,
  sets: ReadonlyMap<number, number>,
): Promise<void> {
  const { batches } = rows.taken;
  const placed = await placeStaged(connection, rows, sets);
  const places = placesOf(batches);
  placed.ends.forEach((end, seq) => {
    const place = places[seq];
    const batch = place && batches[place.batch];
    if (!batch) throw new TargetError('hold', '', 'More rows were staged than were counted.');
    batch.ends[place.at] = end;
  });
  const { stream } = rows.stream.rules;
  const dead = await settleCopies(connection, stream, batches);
  await book(connection, stream, { batches, letters: lettersOf(batches, places, placed) });
  await buryCopies(connection, dead);
}

async function* lettersOf(
  batches: readonly WaitingBatch[],
  places: readonly RowPlace[],
  placed: PlacedRows,
): AsyncGenerator<Letter> {
  let count = 0;
  for await (const { seq, ...row } of placed.refused()) {
    const place = places[seq];
    const batch = place && batches[place.batch];
    const reason = placed.refusals.get(seq);
    assert(batch && reason, 'a refused row has its batch and a reason');
    const { writer, lane } = batch;
    yield { writer, lane, sequence: batch.first + place.at, ...letterOf(row, reason) };
    count++;
  }
  if (count === placed.refusals.size) return;
  throw new TargetError('hold', '', 'A refused row cannot be read back.');
}

function letterOf(
  { fields, ...tuple }: Omit<RefusedRow, 'seq'>,
  { code, sqlState, message }: Refusal,
): Pick<Letter, 'row' | 'raw' | keyof Refusal> {
  const columns = fields.map(({ column }) => column);
  const set = columns.map((_, place) => place);
  return {
    row: renderRow({ name: '', columns, keys: [], fingerprint: '', warnings: [] }, set, tuple),
    raw: null,
    code,
    sqlState,
    message: message.replaceAll('\0', '?'),
  };
}

// Without `merged_at IS NULL`: a planner that has no statistics yet would go through all that
// waits, once for each batch. That none is booked twice is what `settled` sees to.
const bookSql = `
WITH batches AS (
  SELECT * FROM unnest($2::uuid[], $3::int[], $4::int[], $5::bigint[], $6::bigint[], $7::int[],
    $8::int[], $9::int[], $10::int[], $11::bytea[])
    AS b (writer, lane, source, first, last, merged, duplicates, superseded, dead_letters, ends)
), booked AS (
  UPDATE holdfast_ledger l SET merged = b.merged, duplicates = b.duplicates,
    superseded = b.superseded, dead_letters = b.dead_letters, ends = b.ends, merged_at = now()
  FROM batches b
  WHERE l.stream = $1 AND l.writer = b.writer AND l.lane = b.lane AND l.last_sequence = b.last
  RETURNING 1
), kept AS (
  ${insertLetters(1, 12)}
), lanes AS (
  SELECT writer, lane, source, min(first) AS first, max(last) AS last, sum(merged) AS merged,
    sum(duplicates) AS duplicates, sum(superseded) AS superseded, sum(dead_letters) AS dead_letters
  FROM batches GROUP BY writer, lane, source
), gone AS (
  DELETE FROM holdfast_copies c USING lanes s WHERE c.source = s.source AND c.last_of <= s.last
), moved AS (
  UPDATE holdfast_merges m SET settled = s.last, merged = m.merged + s.merged,
    duplicates = m.duplicates + s.duplicates, superseded = m.superseded + s.superseded,
    dead_letters = m.dead_letters + s.dead_letters
  FROM lanes s
  WHERE m.stream = $1 AND m.writer = s.writer AND m.lane = s.lane AND m.settled = s.first - 1
  RETURNING 1
) SELECT (SELECT count(*) FROM booked) = (SELECT count(*) FROM batches)
    AND (SELECT count(*) FROM moved) = (SELECT count(*) FROM lanes) AS "isWhole"`;

/** The ledger, the lanes' totals and `settled`, dead letters and copies, in one round trip. */
async function book(
  connection: Connection,
  stream: string,
  of: {
    readonly batches: readonly WaitingBatch[];
    readonly letters: Letters;
  },
): Promise<void> {
  const { batches } = of;
  const letters = await keepButLast(connection, stream, of.letters);
  const rows = batches.map(({ ends }) => booked(ends));
  const [result] = await connection.prepared(bookSql, [
    stream,
    batches.map(({ writer }) => writer),
    batches.map(({ lane }) => lane),
    batches.map(({ source }) => source),
    batches.map(({ first }) => first),
    batches.map(({ last }) => last),
    rows.map((row) => row.merged),
    rows.map((row) => row.duplicates),
    rows.map((row) => row.superseded),
    rows.map((row) => row.deadLetters),
    rows.map((row) => row.ends && Buffer.from(row.ends)),
    ...letterValues(letters),
  ]);
  if (result?.['isWhole'] === true) return;
  // The claims are ours: only a trigger or a person could have moved these rows.
  throw new TargetError('hold', '', 'The books of staged batches moved under a merge.');
}
