// The staged rows of taken batches on their way into the table: straight, by one INSERT … SELECT
// for each set of columns, or by way of a temporary table, where each finds its own end.
//
// A record is known here by `ord`, its rank among all records of the taken batches: by source, then
// sequence. That is the order in which rows take effect, too: rows of a key are in lanes of one
// number, and the lanes of one number differ only in their writers.
import { isolate } from '../../../merge/isolate.ts';
import { checkKey } from '../../key.ts';
import { checkRequired } from '../../required.ts';
import { columnsOfSet, fieldsOfKey } from '../../staged-layout.ts';
import type { StagedStream } from '../../staging.ts';
import { TargetError } from '../../target.ts';
import type { Connection } from '../connection.ts';
import { columnNow, type Relation } from '../relation.ts';
import { checkUnchanged } from '../rows.ts';
import type { Refusal, Savepoint } from '../savepoint.ts';
import { type Part, rowsTable, sortsOf, type Ways, winnersOf } from '../stage.ts';
import { integers, list, name, tableName } from '../text.ts';
import { stagedField } from './raw.ts';
import type { KnownStage } from './table.ts';
import type { Taken, WaitingBatch } from './turn.ts';

export interface StagedRows {
  readonly stream: StagedStream;
  readonly stage: KnownStage;
  readonly taken: Taken;
}

/** Records of one batch that lie behind each other. */
export interface Run {
  readonly source: number;
  readonly first: number;
  readonly last: number;
  readonly digest: number;
}

/** The rows `s` of these runs, grouped by source: a row meets few comparisons that way. */
export function among(runs: readonly Run[]): string {
  const bySource = new Map<number, string[]>();
  for (const { source, first, last, digest } of runs) {
    const some = bySource.get(source) ?? [];
    some.push(`s.holdfast_sequence BETWEEN ${first} AND ${last} AND s.holdfast_digest = ${digest}`);
    bySource.set(source, some);
  }
  const each = [...bySource].map(
    ([source, some]) => `s.holdfast_source = ${source} AND (${some.join(' OR ')})`,
  );
  return each.length === 0 ? 'FALSE' : `(${each.join(' OR ')})`;
}

/** The partitions' statistics are of before all this was staged: no plan may go by them. */
export const staged = (stage: KnownStage): string =>
  `${name(stage.staging)} s FORCE INDEX (PRIMARY)`;

export interface PlacedRow {
  readonly ord: number;
  readonly set: number;
  /** Its key, where several sets need one: see withWaves. */
  readonly key: string;
}

export interface ReadRows {
  readonly rows: readonly PlacedRow[];
  /** Batches that lack some of their rows. */
  readonly broken: readonly WaitingBatch[];
}

/** Which rows there are, in the order of their ords. */
export async function readRows(connection: Connection, of: StagedRows): Promise<ReadRows> {
  const { stage, taken } = of;
  const keys = keyFields(of);
  const found = await connection.query(
    `SELECT s.holdfast_source AS source, s.holdfast_sequence AS sequence, s.holdfast_set AS \`set\`
       ${keys.map((field, i) => `, s.${name(field)} AS k${i}`).join('')}
     FROM ${staged(stage)} WHERE ${among(taken.batches)}
     ORDER BY s.holdfast_source, s.holdfast_sequence`,
  );
  const rows: PlacedRow[] = [];
  const counts = new Uint32Array(taken.batches.length);
  let at = 0;
  let base = 0;
  for (const row of found) {
    const [source, sequence] = [Number(row['source']), Number(row['sequence'])];
    let batch = taken.batches[at];
    while (batch && (batch.source !== source || sequence > batch.last)) {
      base += batch.ends.length;
      at++;
      batch = taken.batches[at];
    }
    if (!batch) break;
    counts[at] = (counts[at] ?? 0) + 1;
    const key = keys.map((_, i) => keyText(row[`k${i}`])).join();
    rows.push({ ord: base + sequence - batch.first, set: Number(row['set']), key });
  }
  return { rows, broken: taken.batches.filter((batch, i) => counts[i] !== batch.rows) };
}

const keyText = (value: unknown): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value);

/** The fields to tell keys by, where rows of several sets may have one. */
const keyFields = ({ stream, stage: { layout } }: StagedRows): string[] =>
  layout.sets.length < 2 ? [] : fieldsOfKey(layout, stream.rules.key).map((field) => field.name);

/** Which sets of columns there are among the rows, where the layout has several. */
async function usedSets(connection: Connection, of: StagedRows): Promise<number[]> {
  const { stage, taken } = of;
  if (stage.layout.sets.length === 1) return [0];
  const found = await connection.query(
    `SELECT DISTINCT s.holdfast_set AS \`set\` FROM ${staged(stage)} WHERE ${among(taken.batches)}`,
  );
  return found.map((row) => Number(row['set'])).sort((a, b) => a - b);
}

/**
 * Whether all rows went in; where not, the transaction must end. A record stands once in a day's
 * staging table, so where as many rows went in as there are, each batch was whole: they need not be
 * counted before.
 */
export async function insertStraight(connection: Connection, of: StagedRows): Promise<boolean> {
  const { taken } = of;
  const sets = await usedSets(connection, of);
  let stored = 0;
  try {
    // One by one: each names all batches, and together they may not fit into a packet.
    for (const set of sets) {
      const [made] = await connection.script(insertSet(of, set));
      // What it warns of is a changed value: that row is found by the other way.
      if (!made || made.warnings > 0) return false;
      stored += made.affected;
    }
    return stored === taken.rows;
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    if (error.kind !== 'row' && error.kind !== 'conflict') throw error;
    return false;
  }
}

/** The rows of one set of columns, from the staging table into the stream's. */
function insertSet({ stream, stage, taken }: StagedRows, set: number): string {
  const fields = columnsOfSet(stage.layout, set);
  const names = fields.map(({ column }) => columnNow(stream.table, column).name);
  checkRequired(stream.table, names);
  const values = fields.map((field) => stagedField(field.name));
  const order = stream.rules.key.flatMap((column) => {
    const field = fields.find((one) => one.column.name === column);
    return field ? [stagedField(field.name)] : [];
  });
  return `INSERT INTO ${tableName(stream.table.name)} (${list(names)})
    SELECT ${values.join()} FROM ${staged(stage)} WHERE ${among(taken.batches)}
      AND s.holdfast_set = ${set}
    ${order.length > 0 ? `ORDER BY ${order.join()}` : ''}`;
}

const rowsName = 'holdfast_rows_0';

/** The temporary table of a merge, and how staged rows come into it. */
export class StagedStage {
  readonly #connection: Connection;
  readonly #relation: Relation;
  /** The table's columns in the temporary table: c0, c1 … */
  readonly #columns: readonly string[];

  private constructor(connection: Connection, relation: Relation, columns: readonly string[]) {
    this.#connection = connection;
    this.#relation = relation;
    this.#columns = columns;
  }

  /** Makes the temporary tables, for all sets of the layout; outside a transaction. */
  static async make(
    connection: Connection,
    of: { readonly stream: StagedStream; readonly stage: KnownStage; readonly ways: Ways },
  ): Promise<StagedStage> {
    const { rules, table } = of.stream;
    checkKey({ rules, table });
    const relation = await of.ways.relations.of(connection, table);
    const journaled = new Set(of.stage.layout.fields.map(({ column }) => column.name));
    const columns = [...relation.keys()].filter((column) => journaled.has(column));
    const tables = [rowsTable(rowsName, columns, relation), ...winnersOf(rules.key, relation)];
    await connection.script(tables.join('; '));
    return new StagedStage(connection, relation, columns);
  }

  /** For placeParts: brings the rows into the temporary table. */
  filling(of: StagedRows, rows: readonly PlacedRow[]) {
    return {
      fill: async (
        savepoint: Savepoint,
        refused: (ord: number, refusal: Refusal) => void,
      ): Promise<readonly Part[]> => {
        const out = new Set<number>();
        const refuse = (ord: number, refusal: Refusal): void => {
          out.add(ord);
          refused(ord, refusal);
        };
        const parts = this.#parts(of, rows);
        for (const set of new Set(rows.map((row) => row.set))) {
          const ords = rows.flatMap((row) => (row.set === set ? [row.ord] : []));
          await this.#fillSet(of, { set, ords, savepoint, refuse });
        }
        await this.#markWaves(of, parts);
        if (out.size === 0) return parts;
        return parts.map((part) => ({ ...part, ords: part.ords.filter((ord) => !out.has(ord)) }));
      },
    };
  }

  /** `wave` stands for set and wave: the temporary table has rows of all sets. */
  #parts({ stream, stage }: StagedRows, rows: readonly PlacedRow[]): Part[] {
    const parts = new Map<number, { readonly set: number; readonly ords: number[] }>();
    const count = stage.layout.sets.length;
    for (const { set, ord, wave } of withWaves(rows, stream.rules.key.length > 0)) {
      const number = wave * count + set;
      const part = parts.get(number) ?? { set, ords: [] };
      part.ords.push(ord);
      parts.set(number, part);
    }
    return [...parts]
      .sort(([a], [b]) => a - b)
      .map(([wave, { set, ords }]) => {
        const fields = columnsOfSet(stage.layout, set);
        const columns = fields.map(({ column }) => columnNow(stream.table, column).name);
        checkRequired(stream.table, columns);
        const isWhole = stream.rules.key.every((column) => columns.includes(column));
        return {
          wave,
          rows: rowsName,
          columns,
          fields: this.#fieldsOf(columns),
          sorts: sortsOf(columns, this.#relation),
          key: isWhole ? stream.rules.key : [],
          isDistinct: false,
          ords,
          seqOf: (ord: number) => ord,
        };
      });
  }

  #fieldsOf(columns: readonly string[]): string[] {
    return columns.map((column) => `c${this.#columns.indexOf(column)}`);
  }

  async #fillSet(
    of: StagedRows,
    how: {
      readonly set: number;
      readonly ords: readonly number[];
      readonly savepoint: Savepoint;
      readonly refuse: (ord: number, refusal: Refusal) => void;
    },
  ): Promise<void> {
    const { set, ords, savepoint, refuse } = how;
    const { stage, taken } = of;
    const fields = columnsOfSet(stage.layout, set);
    const columns = this.#fieldsOf(fields.map(({ column }) => column.name));
    const values = fields.map((field) => stagedField(field.name));
    const head = `INSERT INTO ${rowsName} (${['ord', 'seq', 'wave', ...columns].join()})`;
    await isolate(
      ords.length,
      (first, last) =>
        savepoint.attempt(async (before) => {
          const { runs, ord } = runsBetween(taken.batches, ords[first] ?? 0, ords[last] ?? -1);
          const filled = await this.#connection.script(`${before}${head}
            SELECT ${[ord, ord, set, ...values].join()} FROM ${staged(stage)}
            WHERE ${among(runs)} AND s.holdfast_set = ${set}`);
          return checkUnchanged(this.#connection, filled);
        }),
      (place, refusal) => refuse(ords[place] ?? 0, refusal),
    );
    await savepoint.end();
  }

  /** All rows came in as of the first wave of their set. */
  async #markWaves({ stage }: StagedRows, parts: readonly Part[]): Promise<void> {
    for (const { wave, ords } of parts) {
      if (wave < stage.layout.sets.length) continue;
      await this.#connection.script(
        `UPDATE ${rowsName} SET wave = ${wave} WHERE ord IN ${integers(ords)}`,
      );
    }
  }
}

/** Per row how often the set changes among the rows of its key before it; see merge/waves.ts. */
function withWaves(
  rows: readonly PlacedRow[],
  isKeyed: boolean,
): (PlacedRow & { readonly wave: number })[] {
  const last = new Map<string, { set: number; wave: number }>();
  return rows.map((row) => {
    if (!isKeyed) return { ...row, wave: 0 };
    const before = last.get(row.key) ?? { set: row.set, wave: 0 };
    if (before.set !== row.set) before.wave++;
    before.set = row.set;
    last.set(row.key, before);
    return { ...row, wave: before.wave };
  });
}

/** The records from one ord to another, and their ord in SQL. */
function runsBetween(
  batches: readonly WaitingBatch[],
  from: number,
  to: number,
): { readonly runs: readonly Run[]; readonly ord: string } {
  const runs: Run[] = [];
  const offsets = new Map<number, number>();
  let base = 0;
  for (const { source, first, last, digest, ends } of batches) {
    const [low, high] = [Math.max(from, base), Math.min(to, base + ends.length - 1)];
    if (low <= high) {
      runs.push({
        source,
        first: first + low - base,
        last: last - (base + ends.length - 1 - high),
        digest,
      });
      // The batches of a source lie behind each other, here and in their sequences.
      if (!offsets.has(source)) offsets.set(source, base - first);
    }
    base += ends.length;
  }
  const cases = [...offsets].map(([source, offset]) => `WHEN ${source} THEN ${offset}`);
  const ord = `s.holdfast_sequence + CASE s.holdfast_source ${cases.join(' ')} END`;
  return { runs, ord };
}

/** The batch of an ord, and the place of its record in it. */
export function placesOf(batches: readonly WaitingBatch[]) {
  const bases: number[] = [];
  let base = 0;
  for (const { ends } of batches) {
    bases.push(base);
    base += ends.length;
  }
  return (ord: number): { readonly batch: WaitingBatch; readonly at: number } | undefined => {
    let [low, high] = [0, bases.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((bases[middle] ?? 0) <= ord) low = middle;
      else high = middle - 1;
    }
    const batch = batches[low];
    return batch && { batch, at: ord - (bases[low] ?? 0) };
  };
}
