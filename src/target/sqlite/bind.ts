// From the row format to what SQLite is given: `fieldValue`, and what SQLite asks for beyond it. A
// numeric goes in as INTEGER where it is whole and fits, else as REAL (accept has refused what a
// double would change). A value that SQLite would change without an error is refused here.
import assert from 'node:assert/strict';
import type { Column } from '../../accept/columns.ts';
import { numericText, shortNumeric } from '../../accept/numeric.ts';
import { type FieldRange, fieldValue, type TupleBytes } from '../../accept/render.ts';
import type { RowCode } from '../../errors.ts';
import type { Affinity } from './types.ts';

export type Bound = ReturnType<typeof fieldValue>;

/** Why one row cannot be written. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly code: RowCode;
  readonly sqlState: string | null;

  constructor(code: RowCode, sqlState: string | null, message: string) {
    super(message);
    this.code = code;
    this.sqlState = sqlState;
  }
}

/** Reads a field that is not null. */
type Read = (column: Column, from: TupleBytes, range: FieldRange) => Bound;

function number(...field: Parameters<Read>): Bound {
  const value = fieldValue(...field);
  // Bound, it would be stored as NULL.
  if (Number.isNaN(value)) throw new Refused('refused', null, 'SQLite cannot store NaN.');
  return value;
}

function numeric(_: Column, { view }: TupleBytes, { start }: FieldRange): Bound {
  const short = shortNumeric(view, start);
  if (short !== undefined) return Number.isInteger(short) ? BigInt(short) : short;
  const digits = numericText(view, start);
  const whole = /^(-?\d+)(?:\.0*)?$/.exec(digits)?.[1];
  if (whole === undefined) return Number(digits);
  const exact = BigInt(whole);
  return BigInt.asIntN(64, exact) === exact ? exact : Number(digits);
}

const numberLike = /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*$/;

/** SQLite would make a number of `0012` or `1.50`, and no error. */
function text(...field: Parameters<Read>): Bound {
  const value = fieldValue(...field);
  if (typeof value !== 'string' || !numberLike.test(value) || String(Number(value)) === value) {
    return value;
  }
  throw new Refused('inexact', null, 'The column’s type would turn this text into another number.');
}

/** `affinity` is that of the column which takes the value. */
function readOf({ type }: Column, affinity: Affinity): Read {
  if (type.kind === 'float') return number;
  if (type.kind === 'numeric') return affinity === 'text' ? fieldValue : numeric;
  const isText = type.kind === 'text' || type.kind === 'json' || type.kind === 'cast';
  return isText && affinity !== 'text' && affinity !== 'blob' ? text : fieldValue;
}

/**
 * Reads one tuple, which has just the compiled columns, into `values` from place `at` on. Throws
 * Refused, with some of the values written.
 */
export type TupleReader = (
  from: TupleBytes,
  start: number,
  into: { readonly values: Bound[]; readonly at: number },
) => void;

export function compileTuple(
  columns: readonly { readonly column: Column; readonly affinity: Affinity }[],
): TupleReader {
  const fields = columns.map(({ column, affinity }) => ({
    column,
    read: readOf(column, affinity),
  }));
  return (from, tuple, into) => {
    assert.equal(from.view.getInt16(tuple), fields.length, 'a tuple has the columns of its set');
    let start = tuple + 6;
    let place = into.at;
    for (const { column, read } of fields) {
      const length = from.view.getInt32(start - 4);
      into.values[place++] = length < 0 ? null : read(column, from, { start, length });
      start += 4 + Math.max(length, 0);
    }
  };
}
