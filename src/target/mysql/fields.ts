// From the row format to text, in the two forms that the server takes rows in: the lines of a LOAD
// DATA, and the values of an INSERT. Compiled once per column set.
//
// LOAD DATA … CHARACTER SET binary FIELDS TERMINATED BY tab ESCAPED BY backslash LINES TERMINATED
// BY newline: bytes stand as they are, but for \\ \t \n behind a backslash; \N is null. Read as
// binary every type gets exactly these bytes: texts (UTF-8 into utf8mb4), blobs, and a bit(n) its
// bits. INSERT: numbers bare, texts quoted, bytes X'hex'.
import assert from 'node:assert/strict';
import { dateText, type Moment, microsPerDay, momentOf } from '../../accept/calendar.ts';
import type { Column } from '../../accept/columns.ts';
import { floatText } from '../../accept/numeric.ts';
import { fieldValue, type TupleBytes } from '../../accept/render.ts';
import type { TextBuffer } from './text-buffer.ts';

export type Form = 'load' | 'insert';

/** Writes one field that is not null: `at` is the place of its length. */
type FieldWriter = (out: TextBuffer, from: TupleBytes, at: number) => void;

/** Writes the fields of the tuple at `start`, separated. */
type TupleWriter = (out: TextBuffer, from: TupleBytes, start: number) => void;

/** More than any field of fixed width takes beyond twice its bytes. */
export const fieldBytesMax = 64;

const escapesOf = (pairs: readonly (readonly [string, string])[]): Uint8Array => {
  const table = new Uint8Array(256);
  for (const [from, to] of pairs) table[from.charCodeAt(0)] = to.charCodeAt(0);
  return table;
};
const inLines = escapesOf([
  ['\\', '\\'],
  ['\t', 't'],
  ['\n', 'n'],
]);
const inQuotes = escapesOf([
  ['\\', '\\'],
  ["'", "'"],
]);

const two32 = 4_294_967_296;
const tab = 0x09;
const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const quote = 0x27;

function putInt(out: TextBuffer, value: number): void {
  if (value < 0) {
    out.byte(minus);
    out.whole(-value);
  } else out.whole(value);
}

function intWriter(column: Column): FieldWriter {
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

/** The last bytes of the number, as many as a bit(n) has. */
function bitsWriter(bits: number): FieldWriter {
  const bytes = Math.ceil(bits / 8);
  return (out, from, at) => {
    const end = at + 4 + from.view.getInt32(at);
    out.escaped(from.bytes, { start: end - bytes, end }, inLines);
  };
}

/** The digits of a numeric with `dscale` of them behind the point; see accept/numeric.ts. */
const putNumeric: FieldWriter = (out, { view }, at) => {
  const groups = view.getInt16(at + 4);
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

function floatWriter(bytes: 4 | 8): FieldWriter {
  return (out, { view }, at) => {
    const value = bytes === 8 ? view.getFloat64(at + 4) : view.getFloat32(at + 4);
    out.ascii(floatText(value, bytes));
  };
}

function momentAt(view: DataView, at: number): Moment {
  const total = view.getInt32(at) * two32 + view.getUint32(at + 4);
  if (!Number.isSafeInteger(total)) return momentOf(view.getBigInt64(at));
  const days = Math.floor(total / microsPerDay);
  return { days, micros: total - days * microsPerDay };
}

const putTimestamp: FieldWriter = (out, { view }, at) => {
  const { days, micros } = momentAt(view, at + 4);
  out.date(days, dateText);
  out.byte(0x20);
  out.time(micros);
};

const putDate: FieldWriter = (out, { view }, at) => out.date(view.getInt32(at + 4), dateText);
const putTime: FieldWriter = (out, { view }, at) => out.time(momentAt(view, at + 4).micros);

const quoted = (write: FieldWriter): FieldWriter => {
  return (out, from, at) => {
    out.byte(quote);
    write(out, from, at);
    out.byte(quote);
  };
};

/** `skipped` bytes in front of the text are not written. */
const escapedWriter = (escapes: Uint8Array, skipped = 0): FieldWriter => {
  return (out, { bytes, view }, at) => {
    const start = at + 4;
    out.escaped(bytes, { start: start + skipped, end: start + view.getInt32(at) }, escapes);
  };
};

const putHex: FieldWriter = (out, { bytes, view }, at) => {
  out.ascii("X'");
  out.hex(bytes, at + 4, at + 4 + view.getInt32(at));
  out.byte(quote);
};

/** Any value by its text; for types that are rarely met. */
const plainWriter = (column: Column): FieldWriter => {
  return (out, from, at) => {
    const range = { start: at + 4, length: from.view.getInt32(at) };
    out.ascii(String(fieldValue(column, from, range)));
  };
};

/** `now` is the column that takes the value: its type may have been altered since. */
function writerOf(column: Column, now: Column, form: Form): FieldWriter {
  const { type } = column;
  const escapes = form === 'load' ? inLines : inQuotes;
  const inForm = form === 'load' ? (write: FieldWriter) => write : quoted;
  switch (type.kind) {
    case 'bool':
      return plainWriter(column);
    case 'int': {
      const bits = form === 'load' ? /^bit\((\d+)\)/.exec(now.sqlType)?.[1] : undefined;
      return bits === undefined ? intWriter(column) : bitsWriter(Number(bits));
    }
    case 'numeric':
      return putNumeric;
    case 'float':
      return floatWriter(type.bytes);
    case 'bytea':
      return form === 'load' ? escapedWriter(escapes) : putHex;
    case 'date':
      return inForm(putDate);
    case 'time':
      return inForm(putTime);
    case 'timestamp':
    case 'timestamptz':
      return inForm(putTimestamp);
    case 'uuid':
      return inForm(plainWriter(column));
    case 'jsonb':
      // The first byte of a jsonb is its version.
      return inForm(escapedWriter(escapes, 1));
    case 'text':
    case 'json':
    case 'enum':
    case 'cast':
      return inForm(escapedWriter(escapes));
  }
}

export function compileTuple(
  columns: readonly { readonly column: Column; readonly now: Column }[],
  form: Form,
): TupleWriter {
  const writers = columns.map(({ column, now }) => writerOf(column, now, form));
  const separator = form === 'load' ? tab : comma;
  const nothing = form === 'load' ? '\\N' : 'NULL';
  return (out, from, tuple) => {
    const { view } = from;
    assert.equal(view.getInt16(tuple), writers.length, 'a tuple has the columns of its set');
    let at = tuple + 2;
    for (let i = 0; i < writers.length; i++) {
      if (i > 0) out.byte(separator);
      const length = view.getInt32(at);
      if (length < 0) out.ascii(nothing);
      else writers[i]?.(out, from, at);
      at += 4 + Math.max(length, 0);
    }
  };
}
