// The tables of a world as those who own them change them: a column more for a while, a column that
// gets another type, becomes required, or is dropped and added anew. As a server does it: with the
// rows that are there, and not at all where one of them cannot be had like that.
import type { ColumnType } from '../../src/accept/columns.ts';
import type { Difference } from '../../src/types.ts';
import { castCell } from '../../test/simulation/simulated-cast.ts';
import type { Cell, SimulatedColumn } from '../../test/simulation/simulated-store.ts';
import type { SimulatedTarget } from '../../test/simulation/simulated-target.ts';
import { column, optional } from '../../test/support/rows.ts';
import type { StreamPlan } from './plan.ts';
import type { RetypePlan, ValueType } from './retypes.ts';

const own: readonly SimulatedColumn[] = [
  { column: column('id', { kind: 'int', bytes: 8 }) },
  { column: column('version', { kind: 'int', bytes: 8 }) },
  { column: column('note', { kind: 'text' }) },
];

const extra = { column: column('extra', { kind: 'text' }, optional), value: 'a default' };

const types: Readonly<Record<ValueType, ColumnType>> = {
  jsonb: { kind: 'jsonb' },
  json: { kind: 'json' },
  text: { kind: 'text' },
  'numeric(12,2)': { kind: 'numeric', precision: 12, scale: 2 },
  'numeric(12,4)': { kind: 'numeric', precision: 12, scale: 4 },
  bigint: { kind: 'int', bytes: 8 },
};

/** What rows without a value get where they must have one; no row has it by itself. */
const filler = 0;

/** What a value means, whatever type its column has; '' is none. */
export function meaningOf(cell: Cell | undefined): string {
  const plain = cell instanceof Uint8Array ? Buffer.from(cell).toString('hex') : String(cell ?? '');
  // A text is a JSON string.
  const text = /^"(.*)"$/.exec(plain)?.[1] ?? plain;
  const meaning = /^-?\d+(\.0+)?$/.test(text) ? String(Number(text)) : text;
  return meaning === String(filler) ? '' : meaning;
}

interface Shape {
  /** How the column `value` begins; undefined: the table has none. */
  readonly first: ValueType | undefined;
  /** Left out while it is gone. */
  value?: SimulatedColumn;
  isExtended: boolean;
  /** Of how many columns it ever had. */
  number: number;
  /** Of rows that lost theirs with the column: by note. */
  readonly lost: Map<string, string>;
  /** It was made required under rows that lack it; who described the table before knows nothing. */
  isRefusing: boolean;
}

function columnsOf({ value, isExtended }: Shape): SimulatedColumn[] {
  return [...own, ...(value ? [value] : []), ...(isExtended ? [extra] : [])];
}

function valueColumn(type: ValueType, number: number, isRequired = false): SimulatedColumn {
  const rest = isRequired ? {} : optional;
  return { column: column('value', types[type], { sqlType: type, ...rest }), number };
}

export class Shapes {
  readonly #target: SimulatedTarget;
  readonly #see: (what: string) => void;
  readonly #shapes = new Map<string, Shape>();

  constructor(target: SimulatedTarget, see: (what: string) => void) {
    this.#target = target;
    this.#see = see;
  }

  /** The columns with which the stream's table begins. */
  begin({ name, value }: StreamPlan): readonly SimulatedColumn[] {
    const none = { isExtended: false, number: 1, lost: new Map<string, string>() };
    const shape: Shape = { ...none, first: value, isRefusing: false };
    if (value) shape.value = valueColumn(value, shape.number);
    this.#shapes.set(name, shape);
    return columnsOf(shape);
  }

  /** What the row was sent with, as far as its table could keep it. */
  valueOf(table: string, { note, value }: { readonly [name: string]: Cell }): string {
    return meaningOf(value) || (this.#shape(table).lost.get(String(note)) ?? '');
  }

  /** Whether that row of it has lost what it had. */
  hasLost(table: string, note: string): boolean {
    return this.#shape(table).lost.has(note);
  }

  /** Whether `verify` may find that of a row: it has lost some of its content. */
  mayDiffer(table: string, kind: Difference['kind']): boolean {
    return kind === 'different' && this.#shape(table).lost.size > 0;
  }

  /** Whether it may refuse rows without a value. */
  isRefusing(table: string): boolean {
    return this.#shape(table).isRefusing;
  }

  #shape(table: string): Shape {
    const shape = this.#shapes.get(table);
    if (!shape) throw new Error(`there is no table ${table}`);
    return shape;
  }

  /** Whether it is there to be changed: it may be gone for a while. */
  #isThere(table: string): boolean {
    return this.#target.store.tables.has(table);
  }

  #apply(table: string): void {
    this.#target.alterTable(table, columnsOf(this.#shape(table)));
  }

  /** A column more, or that one no longer. Whether it was done. */
  extend(table: string, isExtended: boolean): boolean {
    if (!this.#isThere(table)) return false;
    this.#shape(table).isExtended = isExtended;
    this.#apply(table);
    return true;
  }

  retype({ table, type, isRequired }: RetypePlan): void {
    const shape = this.#shape(table);
    if (!this.#isThere(table) || !shape.value) return;
    const to = valueColumn(type, shape.number, isRequired);
    if (!this.#convert(table, to)) {
      this.#see('retypes that rows refused');
      return;
    }
    shape.value = to;
    if (isRequired) shape.isRefusing = true;
    this.#apply(table);
    this.#see(isRequired ? 'columns that became required' : 'columns retyped');
  }

  /** All rows of the table, or none. */
  #convert(table: string, { column: { type, nullable } }: SimulatedColumn): boolean {
    const { rows } = this.#target.store.table(table);
    const cells = new Map<string, Cell>();
    for (const [key, { value = null }] of rows) {
      const cell = castCell(value ?? (nullable ? null : filler), type);
      if (cell === undefined) return false;
      cells.set(key, cell);
    }
    for (const [key, row] of rows) rows.set(key, { ...row, value: cells.get(key) ?? null });
    return true;
  }

  /** Whether it was done. */
  drop(table: string): boolean {
    const shape = this.#shape(table);
    if (!this.#isThere(table) || !shape.value) return false;
    const { rows } = this.#target.store.table(table);
    for (const [key, { value = null, ...row }] of rows) {
      if (meaningOf(value) !== '') shape.lost.set(String(row['note']), meaningOf(value));
      rows.set(key, row);
    }
    delete shape.value;
    this.#apply(table);
    this.#see('columns dropped');
    return true;
  }

  /** The column is added anew. */
  add({ table, type, isRequired }: RetypePlan): void {
    const shape = this.#shape(table);
    if (!this.#isThere(table) || shape.value) return;
    shape.value = valueColumn(type, ++shape.number, isRequired);
    this.#convert(table, shape.value);
    this.#apply(table);
    this.#see('columns added anew');
  }

  /** A standby's rows may be as they were before the last changes: these are done once more. */
  afterFailover(): void {
    for (const [table, { value }] of this.#shapes) {
      if (!value || !this.#isThere(table)) continue;
      const { rows } = this.#target.store.table(table);
      for (const [key, row] of rows) {
        const cell = castCell(row['value'] ?? null, value.column.type);
        if (cell !== undefined) rows.set(key, { ...row, value: cell });
      }
    }
  }

  /**
   * In the end every row can be written, whether it has a value or not. The column gets a new
   * number: of one that is merely no longer required, fingerprint and all else is what it was.
   */
  heal(): void {
    for (const [table, shape] of this.#shapes) {
      const { first, value } = shape;
      if (first === undefined) continue;
      const type = (value?.column.sqlType ?? first) as ValueType;
      if (!value) this.add({ kind: 'retype', table, type, isRequired: false });
      else shape.value = valueColumn(type, ++shape.number);
      this.#apply(table);
    }
  }
}
