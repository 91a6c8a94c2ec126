// The check and the encoder of each column type. What a column refuses, and in which words, is
// here, in numeric.ts and in times.ts.
import { limits } from '../limits.ts';
import { type Cell, cellKind, type Encode, type Output, type Problem } from './cell.ts';
import type { Column, ColumnType } from './columns.ts';
import { JsonScanner } from './json-scan.ts';
import { floatEncoder, type Inexact, intEncoder, numericEncoder } from './numeric.ts';
import { dateEncoder, timeEncoder, timestampEncoder } from './times.ts';

const wrongType = (message: string): Problem => ({ code: 'wrong-type', message });
const nulByte: Problem = { code: 'nul-byte', message: 'the text holds the character NUL' };

const isText = (cell: Cell): boolean => cell.kind === cellKind.text || cell.kind === cellKind.field;

/** A copy as a string; for short values only. */
function textOf(cell: Cell): string {
  return Buffer.from(
    cell.bytes.buffer,
    cell.bytes.byteOffset + cell.start,
    cell.end - cell.start,
  ).toString();
}

function boolEncoder(): Encode {
  const wrong = wrongType('expected true or false');
  const spellings = new Map([
    ['true', 1],
    ['t', 1],
    ['1', 1],
    ['false', 0],
    ['f', 0],
    ['0', 0],
  ]);
  return (cell, out) => {
    let value: number | undefined;
    if (cell.kind === cellKind.bool) value = cell.bytes[cell.start] === 0x74 ? 1 : 0;
    else if (cell.kind === cellKind.field) value = spellings.get(textOf(cell).toLowerCase());
    if (value === undefined) return wrong;
    const at = out.field(1);
    out.buffer.bytes[at] = value;
    return null;
  };
}

/** Code points of valid UTF-8. */
function characters(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let at = start; at < end; at++) if (((bytes[at] ?? 0) & 0xc0) !== 0x80) count++;
  return count;
}

function hasNul({ bytes, start, end }: Cell): boolean {
  if (end - start > 64) return bytes.subarray(start, end).includes(0);
  for (let at = start; at < end; at++) if (bytes[at] === 0) return true;
  return false;
}

const tooManyBytes = (max: number): Problem => ({
  code: 'too-long',
  message: `expected at most ${max} bytes`,
});

function textEncoder(type: Extract<ColumnType, { kind: 'text' }>): Encode {
  const wrong = wrongType('expected a string');
  const max = type.charactersMax ?? Number.POSITIVE_INFINITY;
  const bytesMax = type.bytesMax ?? Number.POSITIVE_INFINITY;
  const tooLong: Problem = { code: 'too-long', message: `expected at most ${max} characters` };
  return (cell, out) => {
    if (!isText(cell)) return wrong;
    const { bytes, start } = cell;
    let { end } = cell;
    // char(n) pads by itself: stripped, equal values have equal bytes.
    if (type.padded) while (end > start && bytes[end - 1] === 0x20) end--;
    if (end - start > max && characters(bytes, start, end) > max) return tooLong;
    if (end - start > bytesMax) return tooManyBytes(bytesMax);
    if (hasNul(cell)) return nulByte;
    out.copy(bytes, start, end);
    return null;
  };
}

function castEncoder(): Encode {
  const wrong = wrongType('expected a value with a text form');
  return (cell, out) => {
    if (cell.kind === cellKind.binary) return wrong;
    if (hasNul(cell)) return nulByte;
    out.copy(cell.bytes, cell.start, cell.end);
    return null;
  };
}

function enumEncoder(labels: readonly string[]): Encode {
  const known = new Set(labels);
  const wrong = wrongType('expected one of the labels of the type');
  const bytesMax = Math.max(0, ...labels.map((label) => Buffer.byteLength(label)));
  return (cell, out) => {
    if (!isText(cell) || cell.end - cell.start > bytesMax || !known.has(textOf(cell))) return wrong;
    out.copy(cell.bytes, cell.start, cell.end);
    return null;
  };
}

const base64Values = (() => {
  const values = new Int8Array(256).fill(-1);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  for (let i = 0; i < 64; i++) values[alphabet.charCodeAt(i)] = i;
  return values;
})();

/**
 * Strict base64 (RFC 4648, padded, no spare bits set), so that the text says exactly these bytes.
 */
function writeBase64(cell: Cell, out: Output): boolean {
  const { bytes, start, end } = cell;
  if ((end - start) % 4 !== 0) return false;
  let padding = 0;
  while (padding < 2 && end > start && bytes[end - 1 - padding] === 0x3d) padding++;
  const lead = out.at;
  let at = out.field(((end - start) / 4) * 3 - padding);
  const to = out.buffer.bytes;
  let bits = 0;
  let held = 0;
  for (let i = start; i < end - padding; i++) {
    const value = base64Values[bytes[i] ?? 0] ?? -1;
    if (value < 0) {
      out.at = lead;
      return false;
    }
    held = ((held << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      to[at++] = held >> bits;
    }
  }
  const isClean = (held & ((1 << bits) - 1)) === 0;
  if (!isClean) out.at = lead;
  return isClean;
}

function byteaEncoder(type: Extract<ColumnType, { kind: 'bytea' }>, inexact: Inexact): Encode {
  const wrong = wrongType('expected base64');
  const max = type.bytesMax ?? Number.POSITIVE_INFINITY;
  const tooShort: Problem = {
    code: 'inexact',
    message: `expected exactly ${max} bytes: the column fills up with zeros`,
  };
  return (cell, out) => {
    const lead = out.at;
    if (cell.kind === cellKind.binary) out.copy(cell.bytes, cell.start, cell.end);
    else if (!isText(cell) || !writeBase64(cell, out)) return wrong;
    const length = out.at - lead - 4;
    if (length === max || (length < max && !type.fixed)) return null;
    if (length > max || inexact === 'refuse') {
      out.at = lead;
      return length > max ? tooManyBytes(max) : tooShort;
    }
    out.at = lead;
    const filled = out.field(max) + length;
    out.buffer.bytes.fill(0, filled, filled + max - length);
    return null;
  };
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = (byte | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}

/** As PostgreSQL takes it: braces around, and a dash behind any group of four digits. */
function uuidEncoder(): Encode {
  const wrong = wrongType('expected a UUID of 32 hexadecimal digits');
  const parsed = new Uint8Array(16);
  return (cell, out) => {
    if (!isText(cell)) return wrong;
    const { bytes } = cell;
    let { start, end } = cell;
    if (bytes[start] === 0x7b && bytes[end - 1] === 0x7d && end - start > 2) {
      start++;
      end--;
    }
    let count = 0;
    for (let at = start; at < end; at += 2) {
      if (bytes[at] === 0x2d && count > 0 && count < 16 && count % 2 === 0) at++;
      const high = hexDigit(bytes[at] ?? 0);
      const low = hexDigit(bytes[at + 1] ?? 0);
      if (high < 0 || low < 0 || count === 16 || at + 2 > end) return wrong;
      parsed[count++] = high * 16 + low;
    }
    if (count !== 16) return wrong;
    out.copy(parsed, 0, 16);
    return null;
  };
}

/** An escape \u0000, which a jsonb cannot hold; \\u0000 is none. */
function escapesNul({ bytes, start, end }: Cell): boolean {
  for (let at = bytes.indexOf(0x5c, start); at >= 0 && at < end; at = bytes.indexOf(0x5c, at + 2)) {
    const isNul = [0x75, 0x30, 0x30, 0x30, 0x30].every((byte, i) => bytes[at + 1 + i] === byte);
    if (isNul) return true;
  }
  return false;
}

function jsonEncoder(isBinary: boolean): Encode {
  const wrong = wrongType('expected a JSON value');
  const scanner = new JsonScanner();
  return (cell, out) => {
    if (cell.kind === cellKind.binary) return wrong;
    if (cell.kind === cellKind.text || cell.kind === cellKind.field) {
      scanner.begin(cell.bytes, cell.start, cell.end);
      if (!scanner.document()) return scanner.problem?.code === 'too-deep' ? tooDeep : wrong;
    }
    if (!isBinary) {
      out.copy(cell.bytes, cell.start, cell.end);
      return null;
    }
    if (escapesNul(cell)) return nulByte;
    const length = cell.end - cell.start;
    const at = out.field(1 + length);
    out.buffer.bytes[at] = 1;
    out.buffer.bytes.set(cell.bytes.subarray(cell.start, cell.end), at + 1);
    return null;
  };
}

const tooDeep: Problem = {
  code: 'too-deep',
  message: `JSON is nested deeper than ${limits.jsonDepthMax}`,
};

function encoderOfType(type: ColumnType, inexact: Inexact): Encode {
  switch (type.kind) {
    case 'bool':
      return boolEncoder();
    case 'int':
      return intEncoder(type, inexact);
    case 'float':
      return floatEncoder(type, inexact);
    case 'numeric':
      return numericEncoder(type, inexact);
    case 'text':
      return textEncoder(type);
    case 'bytea':
      return byteaEncoder(type, inexact);
    case 'date':
      return dateEncoder();
    case 'time':
      return timeEncoder({ fraction: type.fraction, inexact });
    case 'timestamp':
    case 'timestamptz':
      return timestampEncoder({
        fraction: type.fraction,
        inexact,
        zoned: type.kind === 'timestamptz',
        secondsMax: type.kind === 'timestamptz' ? type.secondsMax : undefined,
      });
    case 'uuid':
      return uuidEncoder();
    case 'json':
    case 'jsonb':
      return jsonEncoder(type.kind === 'jsonb');
    case 'enum':
      return enumEncoder(type.labels);
    case 'cast':
      return castEncoder();
  }
}

const zeroProblem: Problem = {
  code: 'zero-not-allowed',
  message: 'the stream demands a value other than zero',
};

/** Whether the field at `at` holds 0, '' or false; `at` is the place of its length. */
function isZeroField(type: ColumnType, view: DataView, at: number): boolean {
  const length = view.getInt32(at);
  switch (type.kind) {
    case 'bool':
      return view.getUint8(at + 4) === 0;
    case 'int':
      for (let i = 0; i < length; i++) if (view.getUint8(at + 4 + i) !== 0) return false;
      return true;
    case 'float':
      return (length === 8 ? view.getFloat64(at + 4) : view.getFloat32(at + 4)) === 0;
    case 'numeric':
      return view.getInt16(at + 4) === 0;
    case 'text':
    case 'bytea':
    case 'cast':
      return length === 0;
    default:
      return false;
  }
}

/** The encoder of a column under the stream's rules. */
export function encoderOf(
  { type }: Column,
  rules: { readonly inexact: Inexact; readonly nonZero: boolean },
): Encode {
  const encode = encoderOfType(type, rules.inexact);
  if (!rules.nonZero) return encode;
  return (cell, out) => {
    const at = out.at;
    const problem = encode(cell, out);
    return problem ?? (isZeroField(type, out.buffer.view, at) ? zeroProblem : null);
  };
}
