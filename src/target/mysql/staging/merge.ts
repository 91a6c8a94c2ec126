// The transaction of a merge (L2 to L3): claims, what waits under them, rows, and the books of all
// of it together. Nothing is decided from memory: a merge that comes late, twice or after a crash
// finds `settled` where the last one left it.
import assert from 'node:assert/strict';
import { rowEnd } from '../../../merge/batch.ts';
import { booked, type EndCounts } from '../../../merge/ledger.ts';
import type { Copy } from '../../copies.ts';
import type { Letter } from '../../letter.ts';
import type { MergedTurn, MergeTurn } from '../../staging.ts';
import { TargetError } from '../../target.ts';
import { keepLetters } from '../books.ts';
import type { Connection } from '../connection.ts';
import { ofStream } from '../lanes.ts';
import { placeParts } from '../place.ts';
import type { Refusal } from '../savepoint.ts';
import type { Ways } from '../stage.ts';
import { bytes } from '../text.ts';
import { settleCopies } from './copies.ts';
import { readJson } from './row-json.ts';
import { insertStraight, placesOf, readRows, type StagedRows, StagedStage } from './rows.ts';
import { mergedStage, readStage } from './table.ts';
import {
  claimLanes,
  type LanesWaiting,
  lanesWaiting,
  recordsOf,
  sendBack,
  takeBatches,
  type WaitingBatch,
} from './turn.ts';

export interface MergeOptions {
  readonly ways: Ways;
  /** Whether the server has SKIP LOCKED. */
  readonly canSkip: boolean;
}

/** A turn with what waits, on its way through one or two transactions. */
interface Begun extends MergeOptions {
  readonly turn: MergeTurn;
  readonly waiting: LanesWaiting;
}

/**
 * Plain inserts that do not go through end their transaction: the temporary tables of what comes
 * then are made before it begins, since not every server allows that within one.
 */
export async function mergeTurn(
  connection: Connection,
  turn: MergeTurn,
  options: MergeOptions,
): Promise<MergedTurn | undefined> {
  const waiting = await lanesWaiting(connection, turn);
  if (waiting.lanes.length === 0) return undefined;
  const begun = { ...options, turn, waiting };
  const straight = turn.isOptimistic ? await mergeStraight(connection, begun) : 'failed';
  if (straight !== 'failed') return straight;
  return mergePlacing(connection, begun);
}

/** Takes what waits, in an open transaction; undefined where there is nothing, and it is ended. */
async function take(
  connection: Connection,
  { turn, ...how }: Begun,
): Promise<StagedRows | undefined> {
  const lanes = await claimLanes(connection, turn, how);
  const taken = await takeBatches(connection, turn, lanes);
  // Read behind the batches, the layout knows the columns of all their rows.
  const stage = await mergedStage(connection, turn.stream);
  if (stage && taken.batches.length + taken.broken.length > 0) {
    return { stream: turn.stream, stage, taken };
  }
  await connection.commit();
  return undefined;
}

function mergeStraight(
  connection: Connection,
  begun: Begun,
): Promise<MergedTurn | 'failed' | undefined> {
  return connection.transaction(async () => {
    const rows = await take(connection, begun);
    if (!rows) return undefined;
    const { taken } = rows;
    const isEmpty = taken.rows === 0;
    if (taken.broken.length > 0 || !(isEmpty || (await insertStraight(connection, rows)))) {
      await connection.script('ROLLBACK');
      return 'failed';
    }
    await book(connection, rows.stream.rules.stream, taken.batches);
    await connection.commit();
    const optimistic = isEmpty ? 'not tried' : 'passed';
    return { records: taken.records, lost: 0, optimistic, position: '' };
  });
}

async function mergePlacing(connection: Connection, begun: Begun): Promise<MergedTurn | undefined> {
  const { turn, ways } = begun;
  const { stream, isOptimistic } = turn;
  const known = await readStage(connection, stream.rules.stream);
  if (!known) return undefined;
  const temporary = await StagedStage.make(connection, { stream, stage: known, ways });
  return connection.transaction(async () => {
    const rows = await take(connection, begun);
    if (!rows) return undefined;
    const { batches, records } = rows.taken;
    if (rows.stage.layout.fields.length !== known.layout.fields.length) {
      // The temporary table may lack a column of rows that were staged since.
      throw new TargetError('transient', '', 'The staging table has grown.');
    }
    const read = await readRows(connection, rows);
    const gone = [...rows.taken.broken, ...read.broken];
    if (gone.length > 0) {
      await sendBack(connection, stream.rules.stream, { broken: gone, stage: rows.stage });
      await connection.commit();
      return { records: 0, lost: recordsOf(gone), optimistic: 'not tried', position: '' };
    }
    const placed = await placeParts(connection, {
      table: stream.table.name,
      count: records,
      onConflict: stream.rules.onConflict,
      stage: temporary.filling(rows, read.rows),
    });
    const placeOf = placesOf(batches);
    for (const { ord } of read.rows) {
      const place = placeOf(ord);
      if (place) place.batch.ends[place.at] = placed.ends[ord] ?? rowEnd.merged;
    }
    const dead = await settleCopies(connection, stream.rules.stream, batches);
    const letters = lettersOf(connection, rows, { refusals: placed.refusals, dead });
    const { packetBytesMax } = ways;
    await keepLetters(connection, stream.rules.stream, { letters, packetBytesMax });
    await book(connection, stream.rules.stream, batches);
    await connection.commit();
    const optimistic = isOptimistic ? 'failed' : 'not tried';
    return { records, lost: 0, optimistic, position: '' };
  });
}

/** The dead letters of refused rows, and of their copies. */
async function* lettersOf(
  connection: Connection,
  rows: StagedRows,
  of: {
    readonly refusals: ReadonlyMap<number, Refusal>;
    readonly dead: readonly Copy[];
  },
): AsyncGenerator<Letter> {
  const placeOf = placesOf(rows.taken.batches);
  const copies = Map.groupBy(of.dead, ({ source, copyOf }) => `${source} ${copyOf}`);
  const ords = [...of.refusals.keys()].sort((a, b) => a - b);
  let count = 0;
  for await (const { ord, json } of readJson(connection, rows, ords)) {
    const [place, reason] = [placeOf(ord), of.refusals.get(ord)];
    assert(place && reason, 'a refused row has its place and a reason');
    const { writer, lane, source, first } = place.batch;
    const letter = { writer, lane, sequence: first + place.at, row: json, raw: null, ...reason };
    yield letter;
    for (const { sequence } of copies.get(`${source} ${letter.sequence}`) ?? []) {
      yield { ...letter, sequence };
    }
    count++;
  }
  if (count === ords.length) return;
  throw new TargetError('hold', '', 'A refused row cannot be read back.');
}

/** Rows of one UPDATE: its SELECTs are nested in each other while they are read. */
const rowsPerUpdate = 100;

interface Moved extends EndCounts {
  readonly lane: number;
  readonly source: number;
  readonly first: number;
  readonly last: number;
  readonly ends: Uint8Array | null;
}

/** The ledger, the lanes' totals and `settled`, and copies, in one round trip. */
async function book(
  connection: Connection,
  stream: string,
  batches: readonly WaitingBatch[],
): Promise<void> {
  const byWriter = new Map<string, Moved[]>();
  for (const { writer, lane, source, first, last, ends } of batches) {
    const own = byWriter.get(writer) ?? [];
    own.push({ lane, source, first, last, ...booked(ends) });
    byWriter.set(writer, own);
  }
  const statements: string[] = [];
  const forgotten: string[] = [];
  let count = 0;
  for (const [writer, rows] of byWriter) {
    const lanes = byLane(rows);
    const id = { writer, stream };
    statements.push(
      ...bookBatches(ofStream(id, 'l.'), rows),
      ...moveLanes(ofStream(id, 'm.'), lanes),
    );
    forgotten.push(...forgetCopies(lanes));
    count += rows.length + lanes.length;
  }
  const answers = await connection.script([...statements, ...forgotten].join('; '));
  const moved = answers.slice(0, statements.length);
  if (moved.reduce((sum, { affected }) => sum + affected, 0) === count) return;
  // The claims are ours: only a trigger or a person could have moved these rows.
  throw new TargetError('hold', '', 'The books of staged batches moved under a merge.');
}

/** Batches lie in the order of their lanes and sequences. */
function byLane(rows: readonly Moved[]): Moved[] {
  const lanes = new Map<number, Moved>();
  for (const row of rows) {
    const before = lanes.get(row.lane);
    lanes.set(row.lane, {
      ...row,
      first: before?.first ?? row.first,
      merged: row.merged + (before?.merged ?? 0),
      duplicates: row.duplicates + (before?.duplicates ?? 0),
      superseded: row.superseded + (before?.superseded ?? 0),
      deadLetters: row.deadLetters + (before?.deadLetters ?? 0),
    });
  }
  return [...lanes.values()];
}

function chunked(rows: readonly Moved[], statement: (slices: string) => string): string[] {
  const statements: string[] = [];
  for (let at = 0; at < rows.length; at += rowsPerUpdate) {
    const slices = rows.slice(at, at + rowsPerUpdate).map((row) => {
      const ends = row.ends === null ? 'NULL' : bytes(row.ends);
      return `SELECT ${row.lane} AS lane, ${row.source} AS source, ${row.first} AS first,
        ${row.last} AS last, ${row.merged} AS merged, ${row.duplicates} AS duplicates,
        ${row.superseded} AS superseded, ${row.deadLetters} AS dead, ${ends} AS ends`;
    });
    statements.push(statement(`(${slices.join(' UNION ALL ')}) s`));
  }
  return statements;
}

const bookBatches = (own: string, rows: readonly Moved[]): string[] =>
  chunked(
    rows,
    (slices) => `UPDATE ${slices} STRAIGHT_JOIN holdfast_ledger l FORCE INDEX (PRIMARY)
        ON ${own} AND l.lane = s.lane AND l.last_sequence = s.last
      SET l.merged = s.merged, l.duplicates = s.duplicates, l.superseded = s.superseded,
        l.dead_letters = s.dead, l.ends = s.ends, l.merged_at = UTC_TIMESTAMP(6)
      WHERE l.merged_at IS NULL`,
  );

const moveLanes = (own: string, lanes: readonly Moved[]): string[] =>
  chunked(
    lanes,
    (slices) => `UPDATE ${slices} STRAIGHT_JOIN holdfast_merges m FORCE INDEX (PRIMARY)
        ON ${own} AND m.lane = s.lane
      SET m.settled = s.last, m.merged = m.merged + s.merged,
        m.duplicates = m.duplicates + s.duplicates, m.superseded = m.superseded + s.superseded,
        m.dead_letters = m.dead_letters + s.dead
      WHERE m.settled = s.first - 1`,
  );

const forgetCopies = (lanes: readonly Moved[]): string[] =>
  chunked(
    lanes,
    (slices) => `DELETE c FROM ${slices} STRAIGHT_JOIN holdfast_copies c FORCE INDEX (PRIMARY)
        ON c.source = s.source AND c.last_of <= s.last`,
  );
