// The transaction that stages a batch: its rows go into the staging table as the journal has them,
// so that none can be refused; what never decoded becomes a dead letter now; the ledger is told
// what a merge will have to find.
import type { Batch } from '../../../merge/batch.ts';
import { ledgerRows } from '../../../merge/ledger.ts';
import { columnsOfSet, extended, setIndex } from '../../staged-layout.ts';
import type { StagedStream } from '../../staging.ts';
import { TargetError } from '../../target.ts';
import type { Connection } from '../connection.ts';
import { type Gather, type Prefix, prefixedRows } from '../copy.ts';
import { begin } from '../lanes.ts';
import { insertLetters, keepButLast, letterValues } from '../letter-parts.ts';
import { commitAt } from '../merge.ts';
import { undecodedLetters } from '../place.ts';
import { integers, literal, name } from '../text.ts';
import { type KnownStage, openStage, rulesOf } from './table.ts';

/** What a session remembers of a stream's staging table. */
export interface StageKnown {
  stage: KnownStage;
  /** The server's, YYYYMMDD; the guard says when it is over. */
  readonly day: string;
  /** Per lane its `source`, of this epoch. */
  readonly epoch: number;
  readonly sources: ReadonlyMap<number, number>;
}

export interface StageOptions {
  readonly stream: StagedStream;
  readonly encoding: string;
  readonly positions: boolean;
}

export async function readSources(
  connection: Connection,
  writer: string,
  stream: string,
): Promise<Map<number, number>> {
  const rows = await connection.query(
    'SELECT lane, source FROM holdfast_merges WHERE writer = $1 AND stream = $2',
    [writer, stream],
  );
  return new Map(rows.map((row) => [Number(row['lane']), Number(row['source'])]));
}

export async function stage(
  connection: Connection,
  batch: Batch,
  { known, ...options }: StageOptions & { readonly known: StageKnown },
): Promise<{ readonly position: string }> {
  const rows = { journaled: batch.journaled, sets: usedSets(batch) };
  if (extended(known.stage.layout, rows) !== known.stage.layout) {
    known.stage = await openStage(connection, options.stream, rows);
  }
  try {
    return await connection.transaction(async () => {
      await copyRows(connection, batch, { known, stream: options.stream });
      await book(connection, batch, options.encoding);
      return { position: await commitAt(connection, options.positions) };
    });
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    if (error.kind !== 'row' && error.kind !== 'conflict') throw error;
    // No row can be refused.
    throw new TargetError('hold', error.code, `Staging was refused: ${error.message}`, error);
  }
}

const usedSets = (batch: Batch): (readonly number[])[] =>
  batch.columnSets.filter((_, set) => batch.sets.includes(set));

const opening = (batch: Batch, stream: StagedStream, day: string): string => `${begin};
  CALL holdfast_stage_guard(
    ${literal(batch.writer)}, ${literal(batch.rules.stream)}, ${batch.epoch},
    ${integers(batch.slices.map((slice) => slice.lane))},
    ${integers(batch.slices.map((slice) => slice.first))},
    ${literal(stream.table.name)}, ${literal(rulesOf(stream))}::jsonb, ${literal(day)})`;

async function copyRows(
  connection: Connection,
  batch: Batch,
  { known, stream }: { readonly known: StageKnown; readonly stream: StagedStream },
): Promise<void> {
  const { staging, layout } = known.stage;
  // Straight into the day's own table: to be led there costs each row a tenth of its time.
  const table = name(`${staging}_p${known.day}`);
  let before = `${opening(batch, stream, known.day)};`;
  for (const [index, set] of batch.columnSets.entries()) {
    const rows = rowsOfSet(batch, index);
    if (rows.length === 0) continue;
    const number = setIndex(layout, { journaled: batch.journaled, set });
    const fields = columnsOfSet(layout, number).map((field) => name(field.name));
    const columns = [...ownFields, ...fields].join(', ');
    const prefix = placeOf(batch, number, known.sources);
    const { chunks } = connection;
    const stored = await connection.copyIn(
      `${before} COPY ${table} (${columns}) FROM STDIN (FORMAT binary)`,
      prefixedRows(batch, rows, { prefix, chunks }),
    );
    before = '';
    if (stored === rows.length) continue;
    throw new TargetError('hold', '', `${rows.length} rows were staged, ${stored} were stored.`);
  }
  if (before !== '') await connection.script(before);
}

/** In the order in which they lie in memory, lane by lane: no order is asked for here. */
function rowsOfSet(batch: Batch, set: number): Int32Array {
  const rows = Int32Array.from({ length: batch.count }, (_, row) => row);
  return batch.columnSets.length === 1 ? rows : rows.filter((row) => batch.sets[row] === set);
}

const ownFields = ['holdfast_sequence', 'holdfast_source', 'holdfast_digest', 'holdfast_set'];

/** Of their values, with their lengths. */
const leadBytes = 36;

/** Their values before each row's own. */
function placeOf(batch: Batch, set: number, sources: ReadonlyMap<number, number>): Prefix {
  const { sliceOf, sequences } = batch;
  // Rows of a slice differ in their sequence alone.
  const leads = batch.slices.map(({ lane, digest }) => {
    const source = sources.get(lane);
    if (source === undefined) {
      // A standby that took over before it heard of them: the lanes must be claimed again.
      throw new TargetError('moved', '', `Lane ${lane} is not known here.`);
    }
    const lead = Buffer.alloc(leadBytes);
    lead.writeInt32BE(8, 0);
    [source, digest | 0, set].forEach((value, i) => {
      lead.writeInt32BE(4, 12 + i * 8);
      lead.writeInt32BE(value, 16 + i * 8);
    });
    return lead;
  });
  return {
    fields: ownFields.length,
    bytes: leadBytes,
    put: (gather: Gather, row: number) => {
      const lead = leads[sliceOf[row] ?? 0];
      if (lead) gather.putNumbered(lead, 4, sequences[row] ?? 0);
    },
  };
}

const bookSql = `
WITH slices AS (
  SELECT * FROM unnest($3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::bigint[], $8::bytea[])
    AS s (lane, first, last, dead_letters, digest, ends)
), booked AS (
  INSERT INTO holdfast_ledger (writer, stream, lane, first_sequence, last_sequence, row_count,
    merged, duplicates, superseded, dead_letters, digest, ends, route, merged_at)
  SELECT $1::uuid, $2, lane, first, last, last - first + 1, 0, 0, 0, dead_letters, digest, ends,
    'staged', NULL FROM slices
), kept AS (
  ${insertLetters(2, 10)}
)
UPDATE holdfast_lanes l SET staged = s.last FROM slices s
WHERE l.writer = $1::uuid AND l.stream = $2 AND l.lane = s.lane AND l.staged = s.first - 1
  AND l.epoch = $9::bigint
RETURNING l.lane`;

async function book(connection: Connection, batch: Batch, encoding: string): Promise<void> {
  const rows = ledgerRows(batch, undefined);
  const { stream } = batch.rules;
  const undecoded = undecodedLetters(batch, encoding);
  const letters = await keepButLast(connection, stream, undecoded);
  const moved = await connection.prepared(bookSql, [
    batch.writer,
    stream,
    rows.map((row) => row.lane),
    rows.map((row) => row.first),
    rows.map((row) => row.last),
    rows.map((row) => row.deadLetters),
    rows.map((row) => row.digest),
    rows.map((row) => row.ends && Buffer.from(row.ends)),
    batch.epoch,
    ...letterValues(letters),
  ]);
  if (moved.length === rows.length) return;
  throw new TargetError(
    'hold',
    '',
    'A lane row did not move; is there a trigger on holdfast_lanes?',
  );
}
