// What a merge takes: lanes that nobody else is merging, the batches that wait in them, and whether
// all of their staged rows are there. The lock on a lane's claim is the merger's fence: whoever has
// it may move the `settled` of that lane, of every writer.
import { rowEnd } from '../../../merge/batch.ts';
import { decodeEnds } from '../../../merge/ledger.ts';
import { inSequence } from '../../rows.ts';
import type { MergeTurn } from '../../staging.ts';
import type { Connection, Row } from '../connection.ts';
import { opening } from '../merge.ts';
import { byIndexOnly } from '../temporary.ts';
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

/** What a merge takes, by lane, writer and sequence. */
export interface Taken {
  readonly batches: readonly WaitingBatch[];
  readonly rows: number;
  /** Batches that do not follow on what is settled in their lane. */
  readonly broken: readonly WaitingBatch[];
}

const nobody = '00000000-0000-0000-0000-000000000000';

export interface LanesWaiting {
  /** All that have something to merge, from the turn's `start` on. */
  readonly lanes: readonly number[];
  /** How many of them this merger takes. */
  readonly count: number;
}

/** Little is merged by one; of much, each merger takes its share of the lanes. */
export async function lanesWaiting(connection: Connection, turn: MergeTurn): Promise<LanesWaiting> {
  const rows = await connection.query(
    `SELECT lane, sum(row_count) AS records FROM holdfast_ledger
     WHERE stream = $1 AND merged_at IS NULL GROUP BY lane ORDER BY lane`,
    [turn.stream.rules.stream],
  );
  const records = rows.reduce((sum, row) => sum + Number(row['records']), 0);
  const share = records <= turn.rowsMax ? 1 : turn.share;
  const from = Math.floor(turn.start * rows.length);
  const lanes = [...rows.slice(from), ...rows.slice(0, from)].map((row) => Number(row['lane']));
  return { lanes, count: Math.ceil(rows.length * share) };
}

/**
 * Begins the transaction: the table's lock and fingerprint, then claims. Plans that read the
 * staging table must go by its index: fresh tables have no statistics, and a scan costs all that
 * waits.
 */
export async function claimLanes(
  connection: Connection,
  turn: MergeTurn,
  { lanes, count }: LanesWaiting,
): Promise<number[]> {
  const { rules, table } = turn.stream;
  const guard = opening({ writer: nobody, epoch: 0, rules, slices: [], table });
  const results = await connection.script(`${guard};
    ${byIndexOnly};
    SELECT c.lane FROM unnest(${integers(lanes)}::int[]) WITH ORDINALITY AS wanted (lane, place)
      JOIN holdfast_claims c ON c.stream = ${literal(rules.stream)} AND c.lane = wanted.lane
      ORDER BY wanted.place LIMIT ${count} FOR UPDATE OF c SKIP LOCKED`);
  return (results.at(-1)?.rows ?? []).map((row) => Number(row['lane']));
}

/** Ledger rows that one merge looks at. */
const batchesMax = 4_000;

/**
 * The batches of claimed lanes that come next, up to `rowsMax` records: the oldest of all lanes,
 * whose keys lie together as a rule. No batch goes before an earlier one of its lane, whatever the
 * server's clock said between them.
 */
export async function takeBatches(
  connection: Connection,
  turn: MergeTurn,
  lanes: readonly number[],
): Promise<Taken> {
  const found = await connection.query(
    `SELECT l.writer, l.lane, m.source, m.settled, l.first_sequence AS first,
       l.last_sequence AS last, l.row_count AS "rowCount", l.digest, l.ends
     FROM holdfast_ledger l
     JOIN holdfast_merges m ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane
     WHERE l.stream = $1 AND l.lane = ANY ($2::int[]) AND l.merged_at IS NULL
     ORDER BY max(l.at) OVER (PARTITION BY l.lane, l.writer ORDER BY l.last_sequence),
       l.lane, l.writer, l.last_sequence LIMIT ${batchesMax}`,
    [turn.stream.rules.stream, lanes],
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
  return { batches, broken, rows: batches.reduce((sum, { rows }) => sum + rows, 0) };
}

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
 * Staged rows are gone (an unlogged table after a crash), or somebody touched them: nothing of
 * these lanes is passed over. `staged` goes back to `settled`, and their owners stage them again.
 */
export async function sendBack(
  connection: Connection,
  stream: string,
  of: { readonly broken: readonly WaitingBatch[]; readonly stage: KnownStage },
): Promise<void> {
  const lanes = new Map(of.broken.map((batch) => [batch.source, batch]));
  for (const { writer, lane, source } of [...lanes.values()].sort((a, b) => a.lane - b.lane)) {
    const own = `writer = ${literal(writer)} AND stream = ${literal(stream)} AND lane = ${lane}`;
    const settled = `(SELECT settled FROM holdfast_merges WHERE ${own})`;
    await connection.script(`
      UPDATE holdfast_lanes SET staged = ${settled} WHERE ${own};
      DELETE FROM ${name(of.stage.staging)}
        WHERE holdfast_source = ${source} AND holdfast_sequence > ${settled};
      DELETE FROM holdfast_copies WHERE source = ${source};
      DELETE FROM holdfast_dead_letters WHERE ${own} AND sequence > ${settled};
      DELETE FROM holdfast_ledger WHERE ${own} AND merged_at IS NULL`);
  }
}
