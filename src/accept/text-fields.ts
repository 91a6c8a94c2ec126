// Fields of the row format to text, as SQL and JSON both read them. What differs between the two
// stands in json-text.ts and target/mysql/fields.ts.
import { dateText } from './calendar.ts';
import type { Column } from './columns.ts';
import { floatText } from './numeric.ts';
import { fieldValue, momentAt, type TupleBytes } from './render.ts';
import type { TextBuffer } from './text-buffer.ts';

/**
 * Writes one field that is not null: `at` is the place of its length. There is room for twice its
 * bytes and `fieldBytesMax`.
 */
export type FieldWriter = (out: TextBuffer, from: TupleBytes, at: number) => void;

/** More than any field of fixed width takes beyond twice its bytes. */
export const fieldBytesMax = 64;

const two32 = 4_294_967_296;
const minus = 0x2d;
const point = 0x2e;

function putInt(out: TextBuffer, value: number): void {
  if (value < 0) {
    out.byte(minus);
    out.whole(-value);
  } else out.whole(value);
}

export function intWriter(column: Column): FieldWriter {
  const { type } = column;
  const unsigned = type.kind === 'int' && type.unsigned === true;
  return (out, from, at) => {
    const { view } = from;
    const length = view.getInt32(at);
    const start = at + 4;
    if (length === 2) putInt(out, unsigned ? view.getUint16(start) : view.getInt16(start));
    else if (length === 4) putInt(out, unsigned ? view.getUint32(start) : view.getInt32(start));
    else {
      const high = unsigned ? view.getUint32(start) : view.getInt32(start);
      const value = high * two32 + view.getUint32(start + 4);
      if (Number.isSafeInteger(value)) putInt(out, value);
      else out.ascii(String(fieldValue(column, from, { start, length })));
    }
  };
}

/**
 * The digits of a numeric with `dscale` of them behind the point; see numeric.ts. Takes four bytes
 * for each group up to the point, and `dscale`: who writes numerics of any size makes room.
 */
export const putNumeric: FieldWriter = (out, { view }, at) => {
  const groups = view.getUint16(at + 4);
  const weight = view.getInt16(at + 6);
  const dscale = view.getInt16(at + 10);
  if (view.getInt16(at + 8) === 0x4000) out.byte(minus);
  const group = (i: number): number => (i >= 0 && i < groups ? view.getInt16(at + 12 + 2 * i) : 0);
  if (weight < 0) out.byte(0x30);
  else {
    out.short(group(0));
    for (let i = 1; i <= weight; i++) out.four(group(i));
  }
  if (dscale <= 0) return;
  out.byte(point);
  const end = out.at + dscale;
  for (let i = weight + 1; out.at < end; i++) out.four(group(i));
  out.at = end;
};

export function floatWriter(bytes: 4 | 8): FieldWriter {
  return (out, { view }, at) => {
    const value = bytes === 8 ? view.getFloat64(at + 4) : view.getFloat32(at + 4);
    out.ascii(floatText(value, bytes));
  };
}

/** Date and time, parted by `separator`. */
export const timestampWriter = (separator: number): FieldWriter => {
  return (out, { view }, at) => {
    const { days, micros } = momentAt(view, at + 4);
    out.date(days, dateText);
    out.byte(separator);
    out.time(micros);
  };
};

export const putDate: FieldWriter = (out, { view }, at) =>
  out.date(view.getInt32(at + 4), dateText);
export const putTime: FieldWriter = (out, { view }, at) => out.time(momentAt(view, at + 4).micros);

/** Between two quotes. */
export const between = (quote: number, write: FieldWriter): FieldWriter => {
  return (out, from, at) => {
    out.byte(quote);
    write(out, from, at);
    out.byte(quote);
  };
};

/** Any value by its text; for types that are rarely met. */
export const plainWriter = (column: Column): FieldWriter => {
  return (out, from, at) => {
    const range = { start: at + 4, length: from.view.getInt32(at) };
    out.ascii(String(fieldValue(column, from, range)));
  };
};
