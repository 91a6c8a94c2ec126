// The transaction that stages a batch: its rows go into the staging table as the journal has them,
// so that none can be refused; what never decoded becomes a dead letter now; the ledger is told
// what a merge will have to find.
import type { Column } from '../../../accept/columns.ts';
import type { Batch } from '../../../merge/batch.ts';
import { type LedgerRow, ledgerRows } from '../../../merge/ledger.ts';
import { columnsOfSet, extended, setIndex } from '../../staged-layout.ts';
import type { StagedStream } from '../../staging.ts';
import { TargetError } from '../../target.ts';
import { keepLetters } from '../books.ts';
import type { Connection } from '../connection.ts';
import { beginStaging, ofStream } from '../lanes.ts';
import { undecodedLetters } from '../place.ts';
import { insertRows, loadRows, type Sink } from '../rows.ts';
import type { Ways } from '../stage.ts';
import { bytes, literal, name } from '../text.ts';
import { rawType } from './raw.ts';
import { holdRules, type KnownStage, openStage } from './table.ts';

/** What a session remembers of a stream's staging table. */
export interface StageKnown {
  stage: KnownStage;
  /** Per lane its `source`, of this epoch. */
  readonly epoch: number;
  readonly sources: ReadonlyMap<number, number>;
}

export async function readSources(
  connection: Connection,
  writer: string,
  stream: string,
): Promise<Map<number, number>> {
  const rows = await connection.query(
    `SELECT lane, source FROM holdfast_merges WHERE ${ofStream({ writer, stream })}`,
  );
  return new Map(rows.map((row) => [Number(row['lane']), Number(row['source'])]));
}

export async function stage(
  connection: Connection,
  batch: Batch,
  of: { readonly known: StageKnown; readonly stream: StagedStream; readonly ways: Ways },
): Promise<{ readonly position: string }> {
  const { known, stream, ways } = of;
  const rows = { journaled: batch.journaled, sets: usedSets(batch) };
  if (extended(known.stage.layout, rows) !== known.stage.layout) {
    known.stage = await openStage(connection, stream, rows);
  }
  try {
    return await connection.transaction(async () => {
      const day = await beginStaging(connection, batch);
      await holdRules(connection, stream);
      await sendRows(connection, batch, { known, day, ways });
      await book(connection, batch, ways.packetBytesMax);
      await connection.commit();
      return { position: '' };
    });
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    if (error.kind !== 'row' && error.kind !== 'conflict') throw error;
    // No row can be refused. 1526 says that the day's partition is missing: the next session makes
    // it when it opens the table.
    const isDay = ['ER_NO_PARTITION_FOR_GIVEN_VALUE', '1526'].includes(error.code);
    const kind = isDay ? 'transient' : 'hold';
    throw new TargetError(kind, error.code, `Staging was refused: ${error.message}`, error);
  }
}

const usedSets = (batch: Batch): (readonly number[])[] =>
  batch.columnSets.filter((_, set) => batch.sets.includes(set));

async function sendRows(
  connection: Connection,
  batch: Batch,
  of: { readonly known: StageKnown; readonly day: number; readonly ways: Ways },
): Promise<void> {
  const { canLoad, packetBytesMax } = of.ways;
  for (const [index, set] of batch.columnSets.entries()) {
    const rows = rowsOfSet(batch, index);
    if (rows.length === 0) continue;
    const sink = sinkOf(batch, set, of);
    if (canLoad) await loadRows(connection, batch, { sink, rows });
    else await insertRows(connection, batch, { sink, rows, packetBytesMax });
  }
}

/** In the order in which they lie in memory, lane by lane: that of the staging table's index. */
function rowsOfSet(batch: Batch, set: number): Int32Array {
  const rows = Int32Array.from({ length: batch.count }, (_, row) => row);
  return batch.columnSets.length === 1 ? rows : rows.filter((row) => batch.sets[row] === set);
}

function sinkOf(
  batch: Batch,
  set: readonly number[],
  { known, day }: { readonly known: StageKnown; readonly day: number },
): Sink {
  const { staging, layout } = known.stage;
  const number = setIndex(layout, { journaled: batch.journaled, set });
  const columns = set.flatMap((place) => {
    const column = batch.journaled.columns[place];
    return column ? [{ column, now: rawColumn(column) }] : [];
  });
  const { slices, sliceOf, sequences } = batch;
  const bySlice = (of: (slice: number) => number): Float64Array => {
    const values = slices.map((_, slice) => of(slice));
    return Float64Array.from(sliceOf, (slice) => values[slice] ?? 0);
  };
  const all = (value: number): Float64Array => new Float64Array(batch.count).fill(value);
  return {
    table: name(staging),
    columns,
    names: columnsOfSet(layout, number).map((field) => field.name),
    lead: [
      {
        name: 'holdfast_source',
        numbers: bySlice((slice) => sourceOf(known, slices[slice]?.lane ?? -1)),
      },
      { name: 'holdfast_sequence', numbers: sequences },
      { name: 'holdfast_day', numbers: all(day) },
      { name: 'holdfast_digest', numbers: bySlice((slice) => slices[slice]?.digest ?? 0) },
      { name: 'holdfast_set', numbers: all(number) },
    ],
    converted: new Set(),
  };
}

function sourceOf({ sources }: StageKnown, lane: number): number {
  const source = sources.get(lane);
  if (source !== undefined) return source;
  const message = `Lane ${lane} is not one of the staged stream's: holdfast_merges lacks it.`;
  throw new TargetError('moved', '', message);
}

const rawColumn = (column: Column): Column => ({ ...column, sqlType: rawType(column.type) });

async function book(connection: Connection, batch: Batch, packetBytesMax: number): Promise<void> {
  const { writer, rules } = batch;
  await keepLetters(connection, rules.stream, { letters: undecodedLetters(batch), packetBytesMax });
  const id = `${literal(writer)}, ${literal(rules.stream)}`;
  const rows = ledgerRows(batch, undefined);
  const booked = rows.map((row) => {
    const ends = row.ends === null ? 'NULL' : bytes(row.ends);
    const numbers = [row.lane, row.first, row.last, row.rowCount, 0, 0, 0, row.deadLetters];
    return `(${id}, ${numbers.join()}, ${row.digest}, ${ends}, 'staged', UTC_TIMESTAMP(6), NULL)`;
  });
  const [, moved] = await connection.script(
    `INSERT INTO holdfast_ledger (writer, stream, lane, first_sequence, last_sequence, row_count,
       merged, duplicates, superseded, dead_letters, digest, ends, route, at, merged_at)
     VALUES ${booked.join()}; ${moveLanes(batch, rows)}`,
  );
  // The guard holds these rows' locks.
  if (moved?.affected === rows.length) return;
  const message = 'A lane row did not move; is there a trigger on holdfast_lanes?';
  throw new TargetError('hold', '', message);
}

function moveLanes(batch: Batch, rows: readonly LedgerRow[]): string {
  const lasts = rows.map(({ lane, last }) => `WHEN ${lane} THEN ${last}`);
  const lanes = rows.map(({ lane }) => lane).join();
  const own = ofStream({ writer: batch.writer, stream: batch.rules.stream });
  return `UPDATE holdfast_lanes SET staged = CASE lane ${lasts.join(' ')} END
    WHERE ${own} AND lane IN (${lanes}) AND epoch = ${batch.epoch}`;
}
