// The rows of one batch, seen as SQLite wants them: plans per column set, values per row, and the
// three things that are done with them: insert many, place one by the stream's rules, look one up.
import assert from 'node:assert/strict';
import { type TupleBytes, tupleBytes } from '../../accept/render.ts';
import { type Batch, type RowEnd, rowEnd } from '../../merge/batch.ts';
import { TargetError } from '../target.ts';
import { type Bound, Refused } from './bind.ts';
import { classify, codeName, resultCode, toTargetError } from './codes.ts';
import type { Connection } from './connection.ts';
import type { Plan } from './plan.ts';

/** How often a row is given to a table that takes it and then does not have it. */
const swallowedTriesMax = 2;

/** What the table holds under a row's key. `same`: on the columns that the row provides. */
interface Found {
  readonly same: boolean;
  /** Where the rules say newest: how the table's version stands to the row's. */
  readonly version: 'newer' | 'tied' | 'older' | undefined;
}

export class BatchRows {
  readonly #connection: Connection;
  readonly #batch: Batch;
  readonly #plans: readonly Plan[];
  readonly #from: TupleBytes;

  /** `plans`: one per column set of the batch. */
  constructor(connection: Connection, batch: Batch, plans: readonly Plan[]) {
    this.#connection = connection;
    this.#batch = batch;
    this.#plans = plans;
    this.#from = tupleBytes(batch.bytes);
  }

  #planOf(row: number): Plan {
    const plan = this.#plans[this.#batch.sets[row] ?? 0];
    assert(plan, 'every column set has a plan');
    return plan;
  }

  /** What the row's columns are given, in the order of its set. Throws Refused. */
  values(row: number, plan = this.#planOf(row)): Bound[] {
    const values = new Array<Bound>(plan.width);
    plan.read(this.#from, this.#batch.starts[row] ?? 0, { values, at: 0 });
    return values;
  }

  /** Inserts all rows, many a statement, in key order. Throws kinds 'conflict' and 'row'. */
  insertAll(): void {
    const { order, sets } = this.#batch;
    for (const [set, plan] of this.#plans.entries()) {
      const rows = this.#plans.length === 1 ? order : order.filter((row) => sets[row] === set);
      for (let at = 0; at < rows.length; at += plan.rowsPerInsert) {
        this.#insertSome(plan, rows.subarray(at, at + plan.rowsPerInsert));
      }
    }
  }

  #insertSome(plan: Plan, rows: Int32Array): void {
    const values = new Array<Bound>(rows.length * plan.width);
    const sql = plan.insert(rows.length);
    let stored: number;
    try {
      rows.forEach((row, i) => {
        plan.read(this.#from, this.#batch.starts[row] ?? 0, { values, at: i * plan.width });
      });
      stored = this.#run(sql, values);
    } catch (error) {
      if (!(error instanceof Refused) && !this.#isRowsFault(error, sql)) throw error;
      const code = resultCode(error);
      // Without a key nothing can be a duplicate: whatever is unique there, refuses the row.
      const isConflict =
        this.#batch.rules.key.length > 0 && code !== undefined && classify(code) === 'conflict';
      const message = error instanceof Error ? error.message : '';
      throw new TargetError(isConflict ? 'conflict' : 'row', nameOf(code), message, error);
    }
    if (stored === rows.length) return;
    throw new TargetError('row', '', `${rows.length} rows were given, ${stored} were stored.`);
  }

  #run(sql: string, values: readonly Bound[]): number {
    return Number(this.#connection.statement(sql).run(...values).changes);
  }

  /**
   * Whether the row is to blame, and not the table, a trigger that is out of order, or the disk.
   */
  #isRowsFault(error: unknown, sql: string): boolean {
    const code = resultCode(error);
    if (code === undefined) return false;
    const kind = classify(code);
    if (kind === 'row' || kind === 'conflict') return true;
    // SQLITE_ERROR is also what a CHECK or a trigger raises for one value (`malformed JSON`,
    // `integer overflow`). What is missing or misspelt is noticed when the statement is prepared.
    return nameOf(code) === 'SQLITE_ERROR' && this.#connection.canPrepare(sql);
  }

  /**
   * Brings one row to its end by the stream's rules. Throws Refused where it becomes a dead letter;
   * all that the row did is undone then, unless a trigger has ended the whole transaction.
   */
  place(row: number): RowEnd {
    const plan = this.#planOf(row);
    if (plan.lacksVersion) {
      throw new Refused(
        'missing-column',
        null,
        'The version column that `newest` names is absent.',
      );
    }
    const values = this.values(row, plan);
    for (let tries = 0; tries < swallowedTriesMax; tries++) {
      if (this.#placeOnce(plan, values)) return rowEnd.merged;
      const end = this.#endBeside(plan, values);
      if (end !== undefined) return end;
    }
    throw new Refused('swallowed', null, 'SQLite took the row, and the table does not have it.');
  }

  #placeOnce(plan: Plan, values: readonly Bound[]): boolean {
    const connection = this.#connection;
    // A trigger's RAISE(FAIL) leaves behind what it had done before.
    connection.statement('SAVEPOINT holdfast_row').run();
    try {
      const isPlaced = this.#run(plan.place, values) === 1;
      connection.statement('RELEASE holdfast_row').run();
      return isPlaced;
    } catch (error) {
      if (!this.#isRowsFault(error, plan.place)) throw toTargetError(error);
      if (connection.isInTransaction) {
        connection.exec('ROLLBACK TO holdfast_row; RELEASE holdfast_row');
      }
      const message = error instanceof Error ? error.message : '';
      throw new Refused('refused', nameOf(resultCode(error)), message);
    }
  }

  /**
   * The end of a row that did not go in, from the row that has its key; undefined: there is none.
   */
  #endBeside(plan: Plan, values: readonly Bound[]): RowEnd | undefined {
    const found = this.#find(plan, values);
    if (!found) return undefined;
    if (found.version === 'newer') return rowEnd.superseded;
    if (found.same) return rowEnd.duplicate;
    const policy = this.#batch.rules.onConflict;
    if (policy === 'ignore') return rowEnd.superseded;
    // It should have replaced the row that is there: a trigger has swallowed the update.
    if (policy === 'update' || found.version === 'older') return undefined;
    const message = 'Another row has this key and other content.';
    throw new Refused('key-conflict', null, message);
  }

  #find(plan: Plan, values: readonly Bound[]): Found | undefined {
    if (plan.find === undefined) return undefined;
    const [found] = this.#connection.query(plan.find, ...values);
    if (!found) return undefined;
    const { newer, tied } = found;
    const version = newer === undefined ? undefined : standing(newer === 1, tied === 1);
    return { same: found['same'] === 1, version };
  }

  /** What the table holds under the row's key: undefined where it has no such row. */
  sameAs(row: number): boolean | undefined {
    const plan = this.#planOf(row);
    return this.#find(plan, this.values(row, plan))?.same;
  }
}

const nameOf = (code: number | undefined): string => (code === undefined ? '' : codeName(code));

function standing(isNewer: boolean, isTied: boolean): 'newer' | 'tied' | 'older' {
  if (isNewer) return 'newer';
  return isTied ? 'tied' : 'older';
}
