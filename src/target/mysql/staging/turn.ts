// What a merge takes: lanes that nobody else is merging, the batches that wait in them, and whether
// all of their staged rows are there. The lock on a lane's claim is the merger's fence: whoever has
// it may move the `settled` of that lane, of every writer.
import { rowEnd } from '../../../merge/batch.ts';
import { decodeEnds } from '../../../merge/ledger.ts';
import { inSequence } from '../../rows.ts';
import type { MergeTurn } from '../../staging.ts';
import type { Connection, Row } from '../connection.ts';
import { beginGuarded, ofStream } from '../lanes.ts';
import { integers, literal, name } from '../text.ts';
import type { KnownStage } from './table.ts';

/** A batch's records of one lane, as the ledger has them before their merge. */
export interface WaitingBatch {
  readonly writer: string;
  readonly lane: number;
  readonly source: number;
  readonly first: number;
  readonly last: number;
  readonly digest: number;
  /** Per record: `merged` where it waits for the merge, or the end that it has already. */
  readonly ends: Uint8Array;
  /** How many of its records wait: so many rows of it must be in the staging table. */
  readonly rows: number;
}

/** What a merge takes, by source and sequence. */
export interface Taken {
  readonly batches: readonly WaitingBatch[];
  readonly records: number;
  readonly rows: number;
  /** Batches that do not follow on what is settled in their lane. */
  readonly broken: readonly WaitingBatch[];
}

export interface LanesWaiting {
  /** All that have something to merge, from the turn's `start` on. */
  readonly lanes: readonly number[];
  /** Where they go back to the first one. */
  readonly turnsAt: number;
  /** How many of them this merger takes. */
  readonly count: number;
}

/** Little is merged by one; of much, each merger takes its share of the lanes. */
export async function lanesWaiting(connection: Connection, turn: MergeTurn): Promise<LanesWaiting> {
  const rows = await connection.query(
    `SELECT lane, SUM(row_count) AS records
     FROM holdfast_ledger FORCE INDEX (holdfast_ledger_waiting)
     WHERE stream = ${literal(turn.stream.rules.stream)} AND merged_at IS NULL
     GROUP BY lane ORDER BY lane`,
  );
  const records = rows.reduce((sum, row) => sum + Number(row['records']), 0);
  const share = records <= turn.rowsMax ? 1 : turn.share;
  const from = Math.floor(turn.start * rows.length);
  const lanes = [...rows.slice(from), ...rows.slice(0, from)].map((row) => Number(row['lane']));
  return { lanes, turnsAt: rows.length - from, count: Math.ceil(rows.length * share) };
}

const nobody = '00000000-0000-0000-0000-000000000000';

/**
 * Begins the transaction: the table's metadata lock and fingerprint, then claims. A server that
 * cannot skip what is locked waits for it, in the order of the lanes.
 */
export async function claimLanes(
  connection: Connection,
  turn: MergeTurn,
  { waiting, canSkip }: { readonly waiting: LanesWaiting; readonly canSkip: boolean },
): Promise<number[]> {
  const { rules, table } = turn.stream;
  await beginGuarded(connection, { writer: nobody, epoch: 0, rules, slices: [], table });
  const { lanes, turnsAt, count } = waiting;
  const parts = canSkip ? [lanes.slice(0, turnsAt), lanes.slice(turnsAt)] : [lanes];
  const claimed: number[] = [];
  for (const part of parts) {
    if (part.length === 0 || claimed.length === count) continue;
    const rows = await connection.query(
      `SELECT lane FROM holdfast_claims FORCE INDEX (PRIMARY)
       WHERE stream = ${literal(rules.stream)} AND lane IN ${integers(part)}
       ORDER BY lane LIMIT ${count - claimed.length} FOR UPDATE ${canSkip ? 'SKIP LOCKED' : ''}`,
    );
    claimed.push(...rows.map((row) => Number(row['lane'])));
  }
  return claimed;
}

/** Ledger rows that one merge looks at: the statement that books them all fits into a packet. */
const batchesMax = 1_000;

/**
 * The batches of claimed lanes that come next, up to `rowsMax` records: the oldest of all lanes,
 * whose keys lie together as a rule. Where the server's clock went back, a later batch of a lane
 * looks older than the one before it; then those that are nearest to what is settled.
 */
export async function takeBatches(
  connection: Connection,
  turn: MergeTurn,
  lanes: readonly number[],
): Promise<Taken> {
  const oldest = await takeFirst(connection, turn, { lanes, order: 'l.at' });
  if (oldest.broken.length === 0) return oldest;
  return takeFirst(connection, turn, { lanes, order: 'l.last_sequence - m.settled' });
}

async function takeFirst(
  connection: Connection,
  turn: MergeTurn,
  { lanes, order }: { readonly lanes: readonly number[]; readonly order: string },
): Promise<Taken> {
  const found = await connection.query(
    `SELECT l.writer, l.lane, m.source, m.settled, l.first_sequence AS first,
       l.last_sequence AS last, l.row_count AS \`rowCount\`, l.digest, l.ends
     FROM holdfast_ledger l FORCE INDEX (holdfast_ledger_waiting)
     JOIN holdfast_merges m ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane
     WHERE l.stream = ${literal(turn.stream.rules.stream)} AND l.merged_at IS NULL
       AND l.lane IN ${integers([-1, ...lanes])}
     ORDER BY ${order}, l.lane, l.writer, l.last_sequence LIMIT ${batchesMax}`,
  );
  const batches: WaitingBatch[] = [];
  const broken: WaitingBatch[] = [];
  const next = new Map<number, number>();
  let records = 0;
  for (const row of inSequence(found)) {
    const batch = toWaiting(row);
    if (records > 0 && records + batch.ends.length > turn.rowsMax) break;
    records += batch.ends.length;
    const expected = next.get(batch.source) ?? Number(row['settled']) + 1;
    next.set(batch.source, batch.last + 1);
    (batch.first === expected ? batches : broken).push(batch);
  }
  batches.sort((a, b) => a.source - b.source || a.first - b.first);
  return { batches, broken, records: recordsOf(batches), rows: rowsOf(batches) };
}

export const recordsOf = (batches: readonly WaitingBatch[]): number =>
  batches.reduce((sum, { ends }) => sum + ends.length, 0);

const rowsOf = (batches: readonly WaitingBatch[]): number =>
  batches.reduce((sum, { rows }) => sum + rows, 0);

function toWaiting(row: Row): WaitingBatch {
  const given = row['ends'] instanceof Uint8Array ? row['ends'] : null;
  const ends = decodeEnds({ ends: given, rowCount: Number(row['rowCount']) });
  return {
    writer: String(row['writer']),
    lane: Number(row['lane']),
    source: Number(row['source']),
    first: Number(row['first']),
    last: Number(row['last']),
    digest: Number(row['digest']),
    ends,
    rows: ends.reduce((sum, end) => sum + Number(end === rowEnd.merged), 0),
  };
}

/**
 * Staged rows are gone, or somebody touched them: nothing of these lanes is passed over. `staged`
 * goes back to `settled`, and their owners stage them again.
 */
export async function sendBack(
  connection: Connection,
  stream: string,
  of: { readonly broken: readonly WaitingBatch[]; readonly stage: KnownStage },
): Promise<void> {
  const lanes = new Map(of.broken.map((batch) => [batch.source, batch]));
  for (const { writer, lane, source } of [...lanes.values()].sort((a, b) => a.lane - b.lane)) {
    const own = `${ofStream({ writer, stream })} AND lane = ${lane}`;
    const [row] = await connection.query(
      `SELECT settled FROM holdfast_merges WHERE ${own} FOR UPDATE`,
    );
    const settled = Number(row?.['settled']);
    await connection.script(`
      UPDATE holdfast_lanes SET staged = ${settled} WHERE ${own};
      DELETE FROM ${name(of.stage.staging)}
        WHERE holdfast_source = ${source} AND holdfast_sequence > ${settled};
      DELETE FROM holdfast_copies WHERE source = ${source};
      DELETE FROM holdfast_dead_letters WHERE ${own} AND sequence > ${settled};
      DELETE FROM holdfast_ledger WHERE ${own} AND merged_at IS NULL`);
  }
}
