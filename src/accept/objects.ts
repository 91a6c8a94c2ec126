// Rows that a library caller gives as objects. Values become text cells, so that the checks are
// those of every other input; a Date is written as ISO text of UTC.
import { type Cell, cellKind, type Problem } from './cell.ts';
import type { ColumnType, Table } from './columns.ts';
import { Progress } from './lines.ts';
import type { RowBuffer } from './row-buffer.ts';
import type { RowEncoder } from './row-encoder.ts';
import type { ReadResult, Row, Value } from './rows.ts';

const isJson = ({ kind }: ColumnType): boolean => kind === 'json' || kind === 'jsonb';
const wrongType = (message: string): Problem => ({ code: 'wrong-type', message });

function setNumber(cell: Cell, value: number, type: ColumnType): Problem | null {
  if (!Number.isFinite(value)) return wrongType('expected a finite number');
  if (type.kind === 'int' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    return { code: 'inexact', message: 'a number above 2^53 is not exact; give a bigint' };
  }
  cell.setText(cellKind.number, String(Object.is(value, -0) ? '-0' : value));
  return null;
}

function setDate(cell: Cell, value: Date, type: ColumnType): Problem | null {
  if (Number.isNaN(value.getTime())) return wrongType('the Date is invalid');
  const text = value.toISOString();
  const isOutside = text.length !== 24 || text.startsWith('0000');
  if (isOutside) return { code: 'out-of-range', message: 'expected the years 0001 to 9999' };
  if (type.kind === 'timestamptz') cell.setText(cellKind.text, text);
  else if (type.kind === 'timestamp') cell.setText(cellKind.text, text.slice(0, 23));
  else if (type.kind !== 'date') return wrongType('a Date fits only columns of dates and times');
  else if (!text.endsWith('T00:00:00.000Z')) {
    return { code: 'inexact', message: 'the Date has a time of day; the column holds none' };
  } else cell.setText(cellKind.text, text.slice(0, 10));
  return null;
}

function setString(cell: Cell, value: string): Problem | null {
  if (!value.isWellFormed()) {
    return { code: 'bad-utf8', message: 'the string holds half a surrogate pair' };
  }
  cell.setText(cellKind.text, value);
  return null;
}

/** JSON.stringify throws for a cycle or a bigint, and gives undefined for a function. */
function setJson(cell: Cell, value: object): Problem | null {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    return wrongType(
      `the object has no JSON text: ${error instanceof Error ? error.name : 'error'}`,
    );
  }
  if (text === undefined) return wrongType('the object has no JSON text');
  cell.setText(cellKind.text, text);
  return null;
}

function setValue(
  cell: Cell,
  value: NonNullable<Value> | object,
  type: ColumnType,
): Problem | null {
  switch (typeof value) {
    case 'string':
      return setString(cell, value);
    case 'number':
      return setNumber(cell, value, type);
    case 'bigint':
      cell.setText(cellKind.number, String(value));
      return null;
    case 'boolean':
      cell.setText(cellKind.bool, String(value));
      return null;
    case 'object':
      if (value instanceof Uint8Array) {
        cell.set(cellKind.binary, value, { start: 0, end: value.length });
        return null;
      }
      if (value instanceof Date && !isJson(type)) return setDate(cell, value, type);
      return isJson(type) ? setJson(cell, value) : wrongType('an object fits only a JSON column');
    default:
      return wrongType(`a ${typeof value} is not a value of a row`);
  }
}

/** Reads rows given as objects; see RowReader.objects. */
export class ObjectReader {
  readonly #table: Table;
  readonly #row: RowEncoder;

  constructor(row: RowEncoder) {
    this.#table = row.table;
    this.#row = row;
  }

  read(rows: readonly Row[], into: RowBuffer): ReadResult {
    const progress = new Progress({});
    this.#row.nextTurn();
    for (const row of rows) {
      const problem = this.#object(row, into);
      if (problem) progress.reject(problem, 0);
      progress.line++;
    }
    return progress.result();
  }

  #object(row: unknown, into: RowBuffer): Problem | null {
    if (typeof row !== 'object' || row === null || Array.isArray(row)) {
      return { code: 'wrong-type', message: 'a row is an object of columns and their values' };
    }
    this.#row.begin();
    for (const [name, value] of Object.entries(row)) {
      if (value === undefined) continue;
      const place = this.#row.placeOf(name);
      const cell = place < 0 ? null : this.#row.provide(place);
      const column = this.#table.columns[place];
      if (cell === null || column === undefined) continue;
      if (value === null) cell.kind = cellKind.null;
      else {
        const problem = setValue(cell, value, column.type);
        if (problem) this.#row.refuse({ ...problem, column: column.name });
      }
    }
    return this.#row.finish(into);
  }
}
