// Integers, numerics and floats: exact from the digits given to the bytes of the row format, and
// back. A value that the column cannot give back digit by digit is refused, or rounded where the
// rules say so.
//
// numeric: int16 ndigits, int16 weight (of the first base-10000 digit, 0 = units), int16 sign (0 or
// 0x4000), int16 dscale, then ndigits int16. Neither the first nor the last digit is 0.
import { type Cell, cellKind, type Encode, type Output, type Problem } from './cell.ts';
import { type ColumnType, isViaFloat } from './columns.ts';
import { Decimal } from './decimal.ts';

type Int = Extract<ColumnType, { kind: 'int' }>;
type Numeric = Extract<ColumnType, { kind: 'numeric' }>;
type Float = Extract<ColumnType, { kind: 'float' }>;
export type Inexact = 'refuse' | 'round';

const integerDigitsMax = 131_072;
const decimalsMax = 16_383;

// Encoding is synchronous and never re-entered, so these serve every column.
const given = new Decimal();
const back = new Decimal();

function isNumberLike(cell: Cell): boolean {
  return (
    cell.kind === cellKind.number || cell.kind === cellKind.text || cell.kind === cellKind.field
  );
}

const latin1 = (cell: Cell): string =>
  Buffer.from(
    cell.bytes.buffer,
    cell.bytes.byteOffset + cell.start,
    cell.end - cell.start,
  ).toString('latin1');

/** An optional minus and up to 15 digits: exact in a double. NaN for anything else. */
function shortInteger(bytes: Uint8Array, start: number, end: number): number {
  const isNegative = bytes[start] === 0x2d;
  const first = isNegative ? start + 1 : start;
  if (end === first || end - first > 15) return Number.NaN;
  let value = 0;
  for (let at = first; at < end; at++) {
    const digit = (bytes[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return isNegative ? -value : value;
}

const two32 = 4_294_967_296;

/** Writes an integer; every place of the row format that takes one takes two's complement. */
function writeInt(value: number, bytes: 2 | 4 | 8, out: Output): void {
  if (bytes === 8) {
    const high = Math.floor(value / two32);
    out.field64(high, value - high * two32);
    return;
  }
  const at = out.field(bytes);
  if (bytes === 4) out.buffer.view.setInt32(at, value);
  else out.buffer.view.setInt16(at, value);
}

export function intRange(type: Int): { min: bigint; max: bigint } {
  const bits = BigInt(type.bytes * 8);
  const min = type.unsigned ? 0n : -(1n << (bits - 1n));
  const max = (1n << (type.unsigned ? bits : bits - 1n)) - 1n;
  return {
    min: type.min === undefined ? min : BigInt(type.min),
    max: type.max === undefined ? max : BigInt(type.max),
  };
}

/** What true and false are in a column that takes them; NaN for anything else. */
function booleanOf(cell: Cell): number {
  const { kind, bytes, start, end } = cell;
  if (kind !== cellKind.bool && kind !== cellKind.field) return Number.NaN;
  if (end - start < 4 || end - start > 5) return Number.NaN;
  const text = latin1(cell);
  if (text === 'true' || text === 'false') return bytes[start] === 0x74 ? 1 : 0;
  return Number.NaN;
}

export function intEncoder(type: Int, inexact: Inexact): Encode {
  const { min, max } = intRange(type);
  const [low, high] = [Number(min), Number(max)];
  const wrong: Problem = { code: 'wrong-type', message: 'expected an integer' };
  const range: Problem = {
    code: 'out-of-range',
    message: `expected an integer from ${min} to ${max}`,
  };
  const fraction: Problem = {
    code: 'inexact',
    message: 'the number has a fraction; expected an integer',
  };
  return (cell, out) => {
    const truth = type.booleans ? booleanOf(cell) : Number.NaN;
    if (!isNumberLike(cell) && Number.isNaN(truth)) return wrong;
    const short = Number.isNaN(truth) ? shortInteger(cell.bytes, cell.start, cell.end) : truth;
    if (short >= low && short <= high) {
      writeInt(short, type.bytes, out);
      return null;
    }
    if (!given.parse(cell.bytes, cell.start, cell.end)) return wrong;
    if (given.point > 20) return range;
    if (given.decimalsNeeded > 0) {
      if (inexact === 'refuse') return fraction;
      given.round(0);
    }
    const exact = given.toBigInt();
    if (exact < min || exact > max) return range;
    if (type.bytes === 8) {
      out.field64(Number(BigInt.asIntN(32, exact >> 32n)), Number(BigInt.asIntN(32, exact)));
    } else writeInt(Number(exact), type.bytes, out);
    return null;
  };
}

/** Writes `given` with at most its own decimals. */
function writeNumeric(dscale: number, out: Output): void {
  const { count, point, digits } = given;
  const weight = count === 0 ? 0 : Math.ceil(point / 4) - 1;
  const pad = count === 0 ? 0 : 4 * (weight + 1) - point;
  const groups = Math.ceil((pad + count) / 4);
  const at = out.field(8 + 2 * groups);
  const view = out.buffer.view;
  view.setInt16(at, groups);
  view.setInt16(at + 2, weight);
  view.setInt16(at + 4, given.negative ? 0x4000 : 0);
  view.setInt16(at + 6, dscale);
  for (let group = 0; group < groups; group++) {
    let value = 0;
    for (let i = group * 4 - pad; i < group * 4 - pad + 4; i++) {
      value = value * 10 + (i >= 0 && i < count ? (digits[i] ?? 0) : 0);
    }
    view.setInt16(at + 8 + 2 * group, value);
  }
}

export function numericEncoder(type: Numeric, inexact: Inexact): Encode {
  const { precision } = type;
  const scale = type.scale ?? (precision === undefined ? undefined : 0);
  const wrong: Problem = { code: 'wrong-type', message: 'expected a number' };
  const integers = precision === undefined ? integerDigitsMax : precision - (scale ?? 0);
  const range: Problem = {
    code: 'out-of-range',
    message: `expected at most ${integers} digits before the decimal point`,
  };
  const fraction: Problem = {
    code: 'inexact',
    message: `expected at most ${scale ?? decimalsMax} digits behind the decimal point`,
  };
  return (cell, out) => {
    if (!isNumberLike(cell)) return wrong;
    if (!given.parse(cell.bytes, cell.start, cell.end)) return wrong;
    if (isViaFloat(type)) {
      const bytes = type.viaSingle ? 4 : 8;
      const problem = throughFloat(latin1(cell), { bytes, scale, inexact });
      if (problem) return problem;
    }
    if (given.isCutOff || given.point > integerDigitsMax) return range;
    if (given.decimalsNeeded > (scale ?? decimalsMax)) {
      if (inexact === 'refuse') return fraction;
      given.round(scale ?? decimalsMax);
    }
    if (given.count > 0 && given.point > integers) return range;
    if (type.unsigned && given.negative) return negative;
    writeNumeric(Math.max(0, scale ?? Math.min(given.decimals, decimalsMax)), out);
    return null;
  };
}

const negative: Problem = {
  code: 'out-of-range',
  message: 'the column is UNSIGNED',
};
const tooBig: Problem = {
  code: 'out-of-range',
  message: 'the number is outside the range of the floating-point column',
};
const changed: Problem = {
  code: 'inexact',
  message: 'the floating-point column would not give the same digits back',
};

/**
 * Checks that a float keeps the digits of `given`; rounds `given` to what the float gives back. Of
 * four bytes it is shown with the column's `scale`, as the server shows it.
 */
function throughFloat(
  text: string,
  of: { readonly bytes: 4 | 8; readonly scale: number | undefined; readonly inexact: Inexact },
): Problem | null {
  const { bytes, scale, inexact } = of;
  const double = Number(text);
  const value = bytes === 8 ? double : Math.fround(double);
  if (!Number.isFinite(value) || (value === 0 && !given.isZero)) return tooBig;
  const isShown = bytes === 4 && scale !== undefined;
  const shortest = Buffer.from(isShown ? value.toFixed(scale) : String(value));
  back.parse(shortest, 0, shortest.length);
  if (given.sameDigits(back)) return null;
  if (inexact === 'refuse') return changed;
  given.parse(shortest, 0, shortest.length);
  return null;
}

/** The shortest decimal that gives the same float4 back. */
function shortestFloat4(value: number): string {
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return text;
  }
  return value.toPrecision(9);
}

/** The shortest decimal that gives the same float back, as JSON writes numbers. */
export function floatText(value: number, bytes: 4 | 8): string {
  if (Object.is(value, -0)) return '-0';
  return String(bytes === 8 ? value : Number(shortestFloat4(value)));
}

export function floatEncoder(type: Float, inexact: Inexact): Encode {
  const wrong: Problem = { code: 'wrong-type', message: 'expected a finite number' };
  return (cell, out) => {
    if (!isNumberLike(cell)) return wrong;
    if (!given.parse(cell.bytes, cell.start, cell.end)) return wrong;
    if (type.unsigned && given.negative) return negative;
    const double = Number(latin1(cell));
    const value = type.bytes === 4 ? Math.fround(double) : double;
    if (!Number.isFinite(value) || (value === 0 && !given.isZero)) return tooBig;
    if (inexact === 'refuse') {
      const text = Buffer.from(floatText(value, type.bytes));
      back.parse(text, 0, text.length);
      if (!given.sameDigits(back)) return changed;
    }
    const at = out.field(type.bytes);
    if (type.bytes === 8) out.buffer.view.setFloat64(at, value);
    else out.buffer.view.setFloat32(at, value);
    return null;
  };
}

/**
 * The digits of a numeric field whose bytes begin at `at`, with `dscale` of them behind the point.
 */
export function numericText(view: DataView, at: number): string {
  const groups = view.getUint16(at);
  const weight = view.getInt16(at + 2);
  const sign = view.getInt16(at + 4) === 0x4000 ? '-' : '';
  const dscale = view.getInt16(at + 6);
  const group = (place: number): string => {
    const i = weight - place;
    return String(i >= 0 && i < groups ? view.getInt16(at + 8 + 2 * i) : 0).padStart(4, '0');
  };
  let integer = '';
  for (let place = weight; place >= 0; place--) integer += group(place);
  let fraction = '';
  for (let place = -1; fraction.length < dscale; place--) fraction += group(place);
  integer = integer.replace(/^0+/, '') || '0';
  return sign + integer + (dscale > 0 ? `.${fraction.slice(0, dscale)}` : '');
}

const shortMax = 1e15;
const powersOf10 = Array.from({ length: 16 }, (_, power) => 10 ** power);

/**
 * The double nearest to a numeric field whose bytes begin at `at`, where it has 15 digits at most:
 * they and the power of ten are doubles themselves, so one division rounds once. Undefined where
 * there may be more.
 */
export function shortNumeric(view: DataView, at: number): number | undefined {
  const groups = view.getUint16(at);
  const weight = view.getInt16(at + 2);
  let digits = 0;
  for (let i = 0; i < groups; i++) {
    digits = digits * 10_000 + view.getInt16(at + 8 + 2 * i);
    if (digits >= shortMax) return undefined;
  }
  const decimals = (groups - weight - 1) * 4;
  const power = powersOf10[Math.abs(decimals)];
  if (power === undefined) return undefined;
  const value = decimals > 0 ? digits / power : digits * power;
  if (value >= shortMax) return undefined;
  return view.getInt16(at + 4) === 0x4000 ? -value : value;
}
