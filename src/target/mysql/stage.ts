// Brings the rows of a batch into temporary tables, one for each column set, of the table's own
// types and collations: so the server itself reads the values, compares keys and contents, and a
// row that does not fit (any more) is refused here. The tables are made before the transaction
// begins, since not every server allows that within one, and anew each time, so that no rows are
// left in them.
import type { Batch } from '../../merge/batch.ts';
import { isolate } from '../../merge/isolate.ts';
import { keyPlaces, sequenceOrder, waves } from '../../merge/waves.ts';
import { checkKey } from '../key.ts';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import { type Relation, type Relations, sinkOf } from './relation.ts';
import { insertRows, loadRows, type Sink } from './rows.ts';
import type { Refusal, Savepoint } from './savepoint.ts';

/** What a session knows of its server when it writes rows. */
export interface Ways {
  readonly relations: Relations;
  readonly canLoad: boolean;
  readonly packetBytesMax: number;
}

/**
 * The rows of one column set and wave. A row of the batch is known in the temporary tables by
 * `ord`, its rank in key order, which is also the order in which rows are written; `seq` is its
 * rank in sequence order.
 */
export interface Part {
  readonly wave: number;
  /** The temporary table. */
  readonly rows: string;
  /** The table's columns that the rows provide. */
  readonly columns: readonly string[];
  /** Their names in the temporary table. */
  readonly fields: readonly string[];
  /** Per column, whether it is compared as bytes: a collation takes unequal texts for equal. */
  readonly sorts: readonly ('plain' | 'text' | 'json')[];
  /** The key's columns, where the rows provide them all. */
  readonly key: readonly string[];
  /** Whether no two rows have the same key: known where equal keys have equal bytes. */
  readonly isDistinct: boolean;
  /** Ascending. */
  ords: readonly number[];
  /** A row's `seq` by its `ord`. */
  readonly seqOf: (ord: number) => number;
}

/** A part's column in its temporary table. */
export const staged = (part: Part, column: string): string =>
  part.fields[part.columns.indexOf(column)] ?? '';

export const winnersTable = 'holdfast_winners';

interface SetRows {
  readonly sink: Sink;
  readonly rows: Int32Array;
  readonly parts: readonly Part[];
}

/** Which rows go into which temporary tables, before any of it is sent. */
export class Stage {
  readonly #connection: Connection;
  readonly #ways: Ways;
  readonly #batch: Batch;
  readonly #sets: readonly SetRows[];
  readonly #definitions: readonly string[];

  private constructor(
    connection: Connection,
    of: {
      readonly ways: Ways;
      readonly batch: Batch;
      readonly sets: readonly SetRows[];
      readonly definitions: readonly string[];
    },
  ) {
    this.#connection = connection;
    this.#ways = of.ways;
    this.#batch = of.batch;
    this.#sets = of.sets;
    this.#definitions = of.definitions;
  }

  /** Makes the temporary tables; outside a transaction. */
  static async make(connection: Connection, batch: Batch, ways: Ways): Promise<Stage> {
    checkKey(batch);
    const relation = await ways.relations.of(connection, batch.table);
    const bySequence = sequenceOrder(batch);
    const seq = ranks(bySequence);
    const ord = ranks(batch.order);
    const wave = waves(batch, bySequence);
    const sets: SetRows[] = [];
    const definitions: string[] = [];
    for (const [index, columns] of batch.columnSets.entries()) {
      const rows = batch.order.filter((row) => batch.sets[row] === index);
      if (rows.length === 0) continue;
      const own = sinkOf(batch, columns, relation);
      const table = `holdfast_rows_${sets.length}`;
      const sink: Sink = {
        ...own,
        table,
        names: own.columns.map((_, i) => `c${i}`),
        lead: [
          { name: 'ord', numbers: ord },
          { name: 'seq', numbers: seq },
          { name: 'wave', numbers: wave },
        ],
      };
      const names = own.columns.map(({ now }) => now.name);
      definitions.push(rowsTable(table, names, relation));
      const key = keyPlaces(batch, index) === undefined ? [] : batch.rules.key;
      const isDistinct = hasDistinctKeys(batch, index, rows);
      const seqOf = (at: number): number => seq[batch.order[at] ?? 0] ?? 0;
      const parts = partsOf(sink, { rows, ord, wave, key, relation, isDistinct, seqOf });
      sets.push({ sink, rows, parts });
    }
    definitions.push(...winnersOf(batch.rules.key, relation));
    const stage = new Stage(connection, { ways, batch, sets, definitions });
    await stage.#create();
    return stage;
  }

  async #create(): Promise<void> {
    if (this.#definitions.length === 0) return;
    await this.#connection.script(this.#definitions.join('; '));
  }

  /** Sends all rows, in the open transaction. One that does not fit goes to `refused`. */
  async fill(
    savepoint: Savepoint,
    refused: (ord: number, refusal: Refusal) => void,
  ): Promise<readonly Part[]> {
    const parts: Part[] = [];
    for (const set of this.#sets) {
      const out = await this.#fillSet(set, savepoint, refused);
      for (const part of set.parts) {
        if (out.size > 0) part.ords = part.ords.filter((ord) => !out.has(ord));
        parts.push(part);
      }
    }
    return parts.sort((a, b) => a.wave - b.wave);
  }

  async #fillSet(
    { sink, rows }: SetRows,
    savepoint: Savepoint,
    refused: (ord: number, refusal: Refusal) => void,
  ): Promise<ReadonlySet<number>> {
    const out = new Set<number>();
    if (this.#ways.canLoad && (await this.#load(sink, rows))) return out;
    const ord = sink.lead[0]?.numbers;
    const { packetBytesMax } = this.#ways;
    await isolate(
      rows.length,
      (first, last) =>
        savepoint.attempt(async (before) => {
          const some = rows.subarray(first, last + 1);
          const options = { sink, rows: some, packetBytesMax, before };
          await insertRows(this.#connection, this.#batch, options);
          return undefined;
        }),
      (place, refusal) => {
        const at = ord?.[rows[place] ?? 0] ?? 0;
        out.add(at);
        refused(at, refusal);
      },
    );
    await savepoint.end();
    return out;
  }

  /** False where a row did not fit: INSERTs will tell which. */
  async #load(sink: Sink, rows: Int32Array): Promise<boolean> {
    try {
      await loadRows(this.#connection, this.#batch, { sink, rows });
      return true;
    } catch (error) {
      const isRefused = error instanceof TargetError && ['row', 'conflict'].includes(error.kind);
      if (!isRefused) throw error;
      await this.#connection.script(`DELETE FROM ${sink.table}`);
      return false;
    }
  }
}

function ranks(order: Int32Array): Int32Array {
  const rank = new Int32Array(order.length);
  order.forEach((row, i) => {
    rank[row] = i;
  });
  return rank;
}

/** `rows` are in the order of their keys' bytes: equal ones stand beside each other. */
function hasDistinctKeys(batch: Batch, set: number, rows: Int32Array): boolean {
  const places = keyPlaces(batch, set);
  const isBytewise = batch.rules.key.every((key) =>
    [batch.table, batch.journaled].every(
      ({ columns }) => columns.find(({ name: own }) => own === key)?.bytewiseEqual === true,
    ),
  );
  if (!places || !isBytewise) return false;
  const bytes = Buffer.from(batch.bytes.buffer, batch.bytes.byteOffset, batch.bytes.byteLength);
  const fieldAt = (row: number, place: number): Buffer => {
    let at = (batch.starts[row] ?? 0) + 2;
    for (let i = 0; i < place; i++) at += 4 + Math.max(bytes.readInt32BE(at), 0);
    return bytes.subarray(at, at + 4 + Math.max(bytes.readInt32BE(at), 0));
  };
  let before = places.map(() => bytes.subarray(0, 0));
  for (const row of rows) {
    const key = places.map((place) => fieldAt(row, place));
    if (key.every((field, i) => field.equals(before[i] ?? field))) return false;
    before = key;
  }
  return true;
}

function partsOf(
  sink: Sink,
  of: {
    readonly rows: Int32Array;
    readonly ord: Int32Array;
    readonly wave: Int32Array;
    readonly key: readonly string[];
    readonly relation: Relation;
    readonly isDistinct: boolean;
    readonly seqOf: Part['seqOf'];
  },
): Part[] {
  const byWave = new Map<number, number[]>();
  for (const row of of.rows) {
    const wave = of.wave[row] ?? 0;
    const ords = byWave.get(wave) ?? [];
    ords.push(of.ord[row] ?? 0);
    byWave.set(wave, ords);
  }
  const columns = sink.columns.map(({ now }) => now.name);
  const sorts = sortsOf(columns, of.relation);
  const fields = sink.names ?? columns;
  return [...byWave].map(([wave, ords]) => {
    const { key, isDistinct, seqOf } = of;
    return { wave, rows: sink.table, columns, fields, sorts, key, isDistinct, ords, seqOf };
  });
}

export const sortsOf = (columns: readonly string[], relation: Relation): Part['sorts'] =>
  columns.map((column) => {
    const row = relation.get(column);
    if (row?.base === 'json') return 'json';
    const isText = row?.charset != null && row.base !== 'enum' && row.base !== 'set';
    return isText ? 'text' : 'plain';
  });

/** The column's type without what belongs to the table: default, NOT NULL, comment. */
function definition(relation: Relation, column: string): string {
  const row = relation.get(column);
  const { sqlType = '', charset = null, collation = null } = row ?? {};
  const isText = charset !== null && charset !== 'binary';
  return isText ? `${sqlType} CHARACTER SET ${charset} COLLATE ${collation}` : sqlType;
}

/** Makes a temporary table with these columns of the table's, as c0, c1 … */
export function rowsTable(table: string, columns: readonly string[], relation: Relation): string {
  const own = columns.map((column, i) => `, c${i} ${definition(relation, column)} NULL`);
  return `DROP TEMPORARY TABLE IF EXISTS ${table}; CREATE TEMPORARY TABLE ${table}
    (ord INT NOT NULL PRIMARY KEY, seq INT NOT NULL, wave INT NOT NULL${own.join('')})
    ENGINE = InnoDB`;
}

/** One row of each key, as the table compares keys: the row that stands for it. */
export function winnersOf(key: readonly string[], relation: Relation): string[] {
  if (key.length === 0) return [];
  const columns = key.map((column, i) => `k${i} ${definition(relation, column)} NOT NULL`);
  const keys = key.map((_, i) => `k${i}`);
  return [
    `DROP TEMPORARY TABLE IF EXISTS ${winnersTable}; CREATE TEMPORARY TABLE ${winnersTable}
     (ord INT NOT NULL, ${columns.join()}, PRIMARY KEY (${keys.join()}), UNIQUE KEY (ord))
     ENGINE = InnoDB`,
  ];
}
