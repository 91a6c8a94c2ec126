// Which altered columns take a value and change it without an error (P5): digits are rounded off, a
// day's time is cut off, any number but 0 is true.
// https://www.postgresql.org/docs/18/sql-createcast.html
// https://www.postgresql.org/docs/18/datatype-numeric.html
import type { ColumnType } from '../../accept/columns.ts';

/** Digits behind the point that a value may have. */
function decimalsOf(type: ColumnType): number {
  if (type.kind === 'int') return 0;
  if (type.kind !== 'numeric') return Number.POSITIVE_INFINITY;
  return type.scale ?? (type.precision === undefined ? Number.POSITIVE_INFINITY : 0);
}

/** The whole numbers up to 2 to the power of this are kept one by one. */
const wholeBits = (bytes: 4 | 8): number => (bytes === 4 ? 24 : 53);

const numbers = new Set<ColumnType['kind']>(['int', 'numeric', 'float']);

/** Whether the cast from `was` to `now` changes values that it does not refuse. */
export function isRounded(was: ColumnType, now: ColumnType): boolean {
  if ('fraction' in now) {
    const isCut = now.kind === 'time' && was.kind !== 'time' && was.kind !== 'text';
    return isCut || ('fraction' in was ? was.fraction : was.kind === 'text' ? 6 : 0) > now.fraction;
  }
  switch (now.kind) {
    case 'bool':
      return numbers.has(was.kind);
    case 'date':
      return was.kind === 'timestamp' || was.kind === 'timestamptz';
    case 'int':
    case 'numeric':
      return (numbers.has(was.kind) || was.kind === 'text') && decimalsOf(was) > decimalsOf(now);
    case 'float':
      if (was.kind === 'float') return was.bytes > now.bytes;
      if (was.kind === 'int') return was.bytes * 8 > wholeBits(now.bytes);
      return was.kind === 'numeric' || was.kind === 'text';
    case 'cast':
      return numbers.has(was.kind);
    default:
      return false;
  }
}
