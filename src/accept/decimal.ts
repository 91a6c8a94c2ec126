// Decimal numbers, digit by digit: what was given, exactly, whatever its length or exponent. Never
// goes through a JavaScript number.

const zero = 0x30;
/** More than any numeric holds (131,072 digits before the point and 16,383 behind). */
const digitsMax = 150_000;
const exponentMax = 1e9;

/** The exponent from `at` to `end`; 0 where there is none, null where it is not one. */
function exponentOf(bytes: Uint8Array, start: number, end: number): number | null {
  if (start === end) return 0;
  if (((bytes[start] ?? 0) | 0x20) !== 0x65) return null;
  let at = start + 1;
  const sign = bytes[at];
  if (sign === 0x2d || sign === 0x2b) at++;
  if (at >= end) return null;
  let value = 0;
  for (; at < end; at++) {
    const digit = (bytes[at] ?? 0) - zero;
    if (digit < 0 || digit > 9) return null;
    value = Math.min(value * 10 + digit, exponentMax);
  }
  return sign === 0x2d ? -value : value;
}

/**
 * A parsed decimal: ± 0.DIGITS × 10^point, DIGITS without zeros at either end. Used again and
 * again.
 */
export class Decimal {
  negative = false;
  digits = new Uint8Array(40);
  /** How many digits; 0 for zero. */
  count = 0;
  /** How many digits stand before the decimal point; negative for 0.00… */
  point = 0;
  /** How many digits behind the point were written, the exponent applied: PostgreSQL's dscale. */
  decimals = 0;
  /** A digit other than 0 stands beyond `digitsMax`; `digits` is not the whole. */
  isCutOff = false;

  /**
   * Optional sign, digits, optional fraction and exponent. False where the bytes are something
   * else.
   */
  parse(bytes: Uint8Array, start: number, end: number): boolean {
    this.count = 0;
    this.#kept = 0;
    this.isCutOff = false;
    let at = start;
    const sign = bytes[at];
    this.negative = sign === 0x2d;
    if (sign === 0x2d || sign === 0x2b) at++;
    const integerStart = at;
    at = this.#digits(bytes, at, end);
    const integers = at - integerStart;
    const integersKept = this.#kept;
    let fraction = 0;
    if (at < end && bytes[at] === 0x2e) {
      const from = at + 1;
      at = this.#digits(bytes, from, end);
      fraction = at - from;
    }
    if (integers + fraction === 0) return false;
    const exponent = exponentOf(bytes, at, end);
    if (exponent === null) return false;
    this.decimals = Math.max(0, fraction - exponent);
    // Leading zeros are not kept: where no integer digit was, those of the fraction move the point.
    const leadingZeros = integersKept > 0 ? 0 : fraction - this.#kept;
    this.point = integersKept - leadingZeros + exponent;
    if (this.count === 0) {
      this.point = 0;
      this.negative = false;
    }
    return true;
  }

  /** Digits seen since the first that is not 0; `count` stays behind at the last that is not 0. */
  #kept = 0;

  #digits(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    for (; at < end; at++) {
      const digit = (bytes[at] ?? 0) - zero;
      if (digit < 0 || digit > 9) break;
      if (digit === 0 && this.#kept === 0) continue;
      if (this.#kept < digitsMax) {
        if (this.#kept === this.digits.length) this.#grow();
        this.digits[this.#kept] = digit;
      } else if (digit !== 0) this.isCutOff = true;
      this.#kept++;
      if (digit !== 0) this.count = Math.min(this.#kept, digitsMax);
    }
    return at;
  }

  #grow(): void {
    const digits = new Uint8Array(this.digits.length * 4);
    digits.set(this.digits);
    this.digits = digits;
  }

  get isZero(): boolean {
    return this.count === 0;
  }

  /** How many digits behind the point the value really needs; negative where it ends in zeros. */
  get decimalsNeeded(): number {
    return this.count === 0 ? 0 : this.count - this.point;
  }

  /** Rounds half away from zero, as numeric does, to `scale` digits behind the point. */
  round(scale: number): void {
    const keep = this.point + scale;
    if (keep >= this.count) return;
    const up = keep >= 0 && (this.digits[keep] ?? 0) >= 5;
    this.count = Math.max(keep, 0);
    if (up) this.#increment();
    while (this.count > 0 && this.digits[this.count - 1] === 0) this.count--;
    if (this.count === 0) {
      this.point = 0;
      this.negative = false;
    }
  }

  /** Adds one to the last digit kept. */
  #increment(): void {
    let at = this.count - 1;
    while (at >= 0 && this.digits[at] === 9) at--;
    if (at >= 0) {
      this.digits[at] = (this.digits[at] ?? 0) + 1;
      this.count = at + 1;
      return;
    }
    this.digits[0] = 1;
    this.count = 1;
    this.point++;
  }

  /** Whether both have the same digits at the same place; signs are not looked at. */
  sameDigits(other: Decimal): boolean {
    if (this.count !== other.count || this.point !== other.point) return false;
    if (this.isCutOff || other.isCutOff) return false;
    for (let i = 0; i < this.count; i++) if (this.digits[i] !== other.digits[i]) return false;
    return true;
  }

  /** The value of an integer of at most 40 digits; call only where `decimalsNeeded` ≤ 0. */
  toBigInt(): bigint {
    let value = 0n;
    for (let i = 0; i < this.point; i++) {
      value = value * 10n + BigInt(i < this.count ? (this.digits[i] ?? 0) : 0);
    }
    return this.negative ? -value : value;
  }
}
