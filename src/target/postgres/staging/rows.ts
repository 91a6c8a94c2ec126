// The staged rows of taken batches on their way into the table: straight, by one INSERT … SELECT
// for each set of columns, or by way of temporary tables, where each finds its own end.
import type { ColumnType } from '../../../accept/columns.ts';
import { rowEnd } from '../../../merge/batch.ts';
import { bySize, sumOf } from '../../by-size.ts';
import { checkRequired } from '../../required.ts';
import { columnsOfSet, type Field, fieldsOfKey } from '../../staged-layout.ts';
import type { StagedStream } from '../../staging.ts';
import { TargetError } from '../../target.ts';
import type { Connection } from '../connection.ts';
import { type PlacedTemporary, placeTemporary } from '../place.ts';
import {
  castTypes,
  createTables,
  type Part,
  partsOf,
  rawType,
  readable,
  seqArray,
} from '../temporary.ts';
import { integers, list, name, tableName } from '../text.ts';
import type { KnownStage } from './table.ts';
import type { Taken, WaitingBatch } from './turn.ts';

export interface StagedRows {
  readonly stream: StagedStream;
  readonly stage: KnownStage;
  readonly taken: Taken;
}

/**
 * The rows of the taken batches, `s`, each with the `place` of its batch; no row of another batch.
 */
function stagedRows({ stage, taken: { batches } }: StagedRows): string {
  const sources = integers(batches.map(({ source }) => source));
  const firsts = integers(batches.map(({ first }) => first));
  const lasts = integers(batches.map(({ last }) => last));
  const digests = integers(batches.map(({ digest }) => digest | 0));
  return `unnest(${sources}::int[], ${firsts}::bigint[], ${lasts}::bigint[], ${digests}::int[])
      WITH ORDINALITY AS r (source, first, last, digest, place)
    JOIN ${name(stage.staging)} s ON s.holdfast_source = r.source
      AND s.holdfast_sequence BETWEEN r.first AND r.last AND s.holdfast_digest = r.digest`;
}

/** How many rows there are of each set of columns, and the batches that lack some of theirs. */
export interface CountedRows {
  readonly sets: ReadonlyMap<number, number>;
  readonly broken: readonly WaitingBatch[];
}

export async function countRows(connection: Connection, rows: StagedRows): Promise<CountedRows> {
  const { batches } = rows.taken;
  const found = new Array<number>(batches.length).fill(0);
  const sets = new Map<number, number>();
  const [counted] = await connection.script(
    `SELECT r.place, s.holdfast_set AS set, count(*) AS rows
     FROM ${stagedRows(rows)} GROUP BY 1, 2`,
  );
  for (const row of counted?.rows ?? []) {
    const place = Number(row['place']) - 1;
    const set = Number(row['set']);
    found[place] = (found[place] ?? 0) + Number(row['rows']);
    sets.set(set, (sets.get(set) ?? 0) + Number(row['rows']));
  }
  return { sets, broken: batches.filter((batch, place) => found[place] !== batch.rows) };
}

const keyFields = (fields: readonly Field[], key: readonly string[]): (Field | undefined)[] =>
  key.map((column) => fields.find((field) => field.column.name === column));

const savepoint = 'holdfast_merge';

/**
 * Whether all rows went in; else nothing did, and the transaction stands as before. A record stands
 * once in a day's staging table, so where as many rows went in as there are records, each batch was
 * whole: they need not be counted before.
 */
export async function insertStraight(
  connection: Connection,
  rows: StagedRows,
  sets: readonly number[],
): Promise<boolean> {
  const { stream, stage, taken } = rows;
  const casts = await castTypes(connection, stream.table.name);
  const inserts = sets.map((set) => {
    const fields = columnsOfSet(stage.layout, set);
    checkRequired(
      stream.table,
      fields.map(({ column }) => column.name),
    );
    partsOf(stream.table, partOf(rows, fields, new Map()));
    const values = fields.map(
      ({ name: field, column }) =>
        `${readable(column.type, `s.${name(field)}`, true)}::${casts.get(column.name)}`,
    );
    const key = keyFields(fields, stream.rules.key);
    const sorted = key.flatMap((field) => (field ? (values[fields.indexOf(field)] ?? []) : []));
    const order = sorted.length > 0 ? `ORDER BY ${sorted.join(', ')}` : '';
    return `INSERT INTO ${tableName(stream.table.name)}
      (${list(fields.map(({ column }) => column.name))}) OVERRIDING SYSTEM VALUE
      SELECT ${values.join(', ')} FROM ${stagedRows(rows)} WHERE s.holdfast_set = ${set} ${order}`;
  });
  try {
    const made = await connection.script(`SAVEPOINT ${savepoint}; ${inserts.join('; ')}`);
    const count = made.slice(1).reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0);
    if (count === taken.rows) return true;
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    if (error.kind !== 'row' && error.kind !== 'conflict') throw error;
  }
  await connection.script(`ROLLBACK TO SAVEPOINT ${savepoint}; RELEASE SAVEPOINT ${savepoint}`);
  return false;
}

function partOf(
  { stream }: StagedRows,
  fields: readonly Field[],
  byWave: ReadonlyMap<number, readonly number[]>,
) {
  const columns = fields.map(({ column }) => column);
  const isWhole = keyFields(fields, stream.rules.key).every((field) => field !== undefined);
  return { columns, key: isWhole ? stream.rules.key : [], byWave, isText: true };
}

/** A row that was refused, whole, as the journal had it. */
export interface RefusedRow {
  /** Its rank in the order of the batches, then of their sequences. */
  readonly seq: number;
  readonly fields: readonly Field[];
  /** Its tuple is bytes[start .. end). */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

export interface PlacedRows extends PlacedTemporary {
  /** Read as they are taken. */
  refused(): AsyncIterable<RefusedRow>;
}

/** Every row finds its end. `sets` says which there are. */
export async function placeStaged(
  connection: Connection,
  rows: StagedRows,
  sets: ReadonlyMap<number, number>,
): Promise<PlacedRows> {
  const { stream, stage, taken } = rows;
  const parts: Part[] = [];
  const first: { readonly part: Part; readonly fields: readonly Field[] }[] = [];
  for (const set of sets.keys()) {
    const fields = columnsOfSet(stage.layout, set);
    checkRequired(
      stream.table,
      fields.map(({ column }) => column.name),
    );
    const [shape] = partsOf(stream.table, partOf(rows, fields, new Map([[0, []]])));
    if (!shape) continue;
    const { raw, typed } = createTables(stream.table, shape);
    await connection.script(
      `${raw}; ${typed}; ${fillRaw(rows, { set, fields, raw: shape.raw, isOne: sets.size === 1 })}`,
    );
    const waves = await connection.query(
      `SELECT wave, array_agg(seq ORDER BY seq) AS seqs FROM ${shape.raw} GROUP BY wave`,
    );
    const byWave = new Map(
      waves.map((row): [number, number[]] => [Number(row['wave']), row['seqs'] as number[]]),
    );
    parts.push(...partsOf(stream.table, partOf(rows, fields, byWave)));
    first.push({ part: shape, fields });
  }
  parts.sort((a, b) => a.wave - b.wave);
  const placed = await placeTemporary(
    connection,
    { table: stream.table, count: taken.rows, parts },
    stream.rules.onConflict,
  );
  const { ends, refusals } = placed;
  const refused = async function* () {
    const seqs = [...refusals.keys()];
    if (seqs.length === 0) return;
    for (const { part, fields } of first) yield* readRefused(connection, { part, fields, seqs });
  };
  return { ends, refusals, refused };
}

/** `seq` counts over all sets: the order in which the rows take effect (P9). */
function fillRaw(
  rows: StagedRows,
  of: { set: number; fields: readonly Field[]; raw: string; isOne: boolean },
): string {
  const { set, fields, raw, isOne } = of;
  const keys = keyFields(fields, rows.stream.rules.key).flatMap((field) => field ?? []);
  const order = keys.length > 0 ? `ORDER BY ${list(keys.map((field) => field.name))}` : '';
  const columns = fields.map((_, i) => `c${i}`);
  const values = fields.map((field) => name(field.name));
  return `INSERT INTO ${raw} (${['ord', 'seq', 'wave', ...columns].join(', ')})
    SELECT row_number() OVER (${order}) - 1, seq, ${isOne ? '0' : 'wave'}, ${values.join(', ')}
    FROM (${isOne ? numbered(rows) : withWaves(rows)}) n WHERE holdfast_set = ${set}`;
}

const numbered = (rows: StagedRows): string =>
  `SELECT s.*, row_number() OVER (ORDER BY r.place, s.holdfast_sequence) - 1 AS seq
   FROM ${stagedRows(rows)}`;

/** How often the set changes among the rows of a key before it; see merge/waves.ts. */
function withWaves(rows: StagedRows): string {
  const names = fieldsOfKey(rows.stage.layout, rows.stream.rules.key).map((field) => field.name);
  const parted = names.length > 0 ? `PARTITION BY ${list(names)}` : '';
  return `SELECT c.*, coalesce(sum(changes) OVER (${parted} ORDER BY seq), 0)::int AS wave
    FROM (SELECT n.*, (holdfast_set <> lag(holdfast_set) OVER (${parted} ORDER BY seq))::int
      AS changes FROM (${numbered(rows)}) n) c`;
}

/** Behind the head of a binary COPY. */
const copyHeadBytes = 19;

/** Of what is read at once; a single row may be larger. */
const readBytesMax = 4 * 1024 * 1024;

async function* readRefused(
  connection: Connection,
  of: { readonly part: Part; readonly fields: readonly Field[]; readonly seqs: readonly number[] },
): AsyncGenerator<RefusedRow> {
  const { part, fields } = of;
  const columns = fields.map((_, i) => `c${i}`);
  const sizes = part.types.map((type, i) => `coalesce(${sizeOf(type, `c${i}`)}, 0)`);
  const [found] = await connection.script(
    `SELECT seq, ${sumOf(sizes)} AS size FROM ${part.raw}
     WHERE ${seqArray(of.seqs)} ORDER BY seq`,
  );
  const sized = found?.rows ?? [];
  for (const some of bySize(sized, (row) => Number(row['size']), readBytesMax)) {
    const seqs = some.map((row) => Number(row['seq']));
    const bytes = await connection.copyOut(
      `COPY (SELECT ${columns.join(', ')} FROM ${part.raw} WHERE ${seqArray(seqs)} ORDER BY seq)
       TO STDOUT (FORMAT binary)`,
    );
    let at = copyHeadBytes;
    for (const seq of seqs) {
      const start = at;
      at += 2;
      for (const _ of fields) at += 4 + Math.max(bytes.readInt32BE(at), 0);
      yield { seq, fields, bytes, start, end: at };
    }
  }
}

/** As it is sent, whatever compression makes of it in the table. */
function sizeOf(type: ColumnType, column: string): string {
  const raw = rawType(type, true);
  if (raw === 'numeric') return `octet_length(numeric_send(${column}))`;
  return ['text', 'bytea'].includes(raw) ? `octet_length(${column})` : `pg_column_size(${column})`;
}

/** The batch of a row, and the place of its record in it. */
export interface RowPlace {
  readonly batch: number;
  readonly at: number;
}

/** By seq. */
export function placesOf(batches: readonly WaitingBatch[]): RowPlace[] {
  return batches.flatMap(({ ends }, batch) => {
    const places: RowPlace[] = [];
    ends.forEach((end, at) => {
      if (end === rowEnd.merged) places.push({ batch, at });
    });
    return places;
  });
}
