// Dates and times: ISO 8601 with `T` or a space, from bytes to the row format. Years 0001 to 9999,
// no leap second, no 24:00, no time zone names. CSV may also spell a date YYYYMMDD or YYYY/MM/DD.
import {
  dayMax,
  dayMin,
  daysOf,
  isDate,
  type Moment,
  microsHalves,
  microsPerDay,
} from './calendar.ts';
import { type Cell, cellKind, type Encode, type Output, type Problem } from './cell.ts';
import type { Inexact } from './numeric.ts';

/** Reads the parts of one text, left to right. Each method says whether it could. */
class TimeScanner {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  end = 0;
  days = 0;
  micros = 0;
  /** More digits than microseconds: none, zeros, below or from half of one. */
  rest: 'none' | 'below half' | 'half or more' = 'none';
  zoneSeconds = 0;

  begin(cell: Cell): void {
    this.bytes = cell.bytes;
    this.at = cell.start;
    this.end = cell.end;
    this.days = 0;
    this.micros = 0;
    this.rest = 'none';
    this.zoneSeconds = 0;
  }

  get isDone(): boolean {
    return this.at === this.end;
  }

  /** The next byte is `one` or `other`, and is passed. */
  take(one: number, other = one): boolean {
    const byte = this.at < this.end ? this.bytes[this.at] : -1;
    if (byte !== one && byte !== other) return false;
    this.at++;
    return true;
  }

  /** Exactly `count` digits; -1 where they are not there. */
  number(count: number): number {
    if (this.at + count > this.end) return -1;
    let value = 0;
    for (let i = 0; i < count; i++) {
      const digit = (this.bytes[this.at + i] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) return -1;
      value = value * 10 + digit;
    }
    this.at += count;
    return value;
  }

  date(isField: boolean): boolean {
    const year = this.number(4);
    const separator = this.bytes[this.at];
    const isPlain = this.take(0x2d) || (isField && this.take(0x2f));
    if (!isPlain && !isField) return false;
    const month = this.number(2);
    if (isPlain && !this.take(separator ?? 0)) return false;
    const day = this.number(2);
    if (!isDate(year, month, day)) return false;
    this.days = daysOf(year, month, day);
    return true;
  }

  /** HH:MM:SS with any number of digits behind a point. */
  time(): boolean {
    const hour = this.number(2);
    if (hour < 0 || hour > 23 || !this.take(0x3a)) return false;
    const minute = this.number(2);
    if (minute < 0 || minute > 59 || !this.take(0x3a)) return false;
    const second = this.number(2);
    if (second < 0 || second > 59) return false;
    this.micros = (hour * 3600 + minute * 60 + second) * 1_000_000;
    return this.take(0x2e) ? this.#fraction() : true;
  }

  #fraction(): boolean {
    const first = this.at;
    let unit = 100_000;
    for (; this.at < this.end; this.at++) {
      const digit = (this.bytes[this.at] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) break;
      const place = this.at - first;
      if (place < 6) this.micros += digit * unit;
      else if (place === 6 && digit >= 5) this.rest = 'half or more';
      else if (digit > 0 && this.rest === 'none') this.rest = 'below half';
      unit /= 10;
    }
    return this.at > first;
  }

  /** Z, +HH, +HHMM or +HH:MM; up to ±15:59, as PostgreSQL allows. */
  zone(): boolean {
    if (this.take(0x5a, 0x7a)) return true;
    const isWest = this.bytes[this.at] === 0x2d;
    if (!this.take(0x2b, 0x2d)) return false;
    const hours = this.number(2);
    if (hours < 0 || hours > 15) return false;
    let minutes = 0;
    if (!this.isDone) {
      this.take(0x3a);
      minutes = this.number(2);
      if (minutes < 0 || minutes > 59) return false;
    }
    this.zoneSeconds = (hours * 3600 + minutes * 60) * (isWest ? -1 : 1);
    return true;
  }

  /** What was read, without its zone. */
  utc(): Moment {
    const micros = this.micros - this.zoneSeconds * 1_000_000;
    const carry = Math.floor(micros / microsPerDay);
    return { days: this.days + carry, micros: micros - carry * microsPerDay };
  }
}

// Encoding is synchronous and never re-entered, so one scanner serves every column.
const scanner = new TimeScanner();

const isText = (cell: Cell): boolean => cell.kind === cellKind.text || cell.kind === cellKind.field;

const refuse = (message: string): Problem => ({ code: 'wrong-type', message });

/** The zero time of day that exports like to append to a date. */
function isMidnightOrNone(): boolean {
  if (scanner.isDone) return true;
  if (!scanner.take(0x54, 0x20) || !scanner.time()) return false;
  return scanner.micros === 0 && scanner.rest === 'none';
}

export function dateEncoder(): Encode {
  const wrong = refuse('expected a date, YYYY-MM-DD, of the years 0001 to 9999');
  return (cell, out) => {
    if (!isText(cell)) return wrong;
    scanner.begin(cell);
    const isField = cell.kind === cellKind.field;
    if (!scanner.date(isField)) return wrong;
    if (isField && !isMidnightOrNone()) return wrong;
    if (!scanner.isDone) return wrong;
    const at = out.field(4);
    out.buffer.view.setInt32(at, scanner.days);
    return null;
  };
}

interface Precision {
  readonly fraction: number;
  readonly inexact: Inexact;
}

/** Brings a moment to the column's precision; null where that is refused. */
function atPrecision(moment: Moment, { fraction, inexact }: Precision): Moment | null {
  const unit = 10 ** (6 - fraction);
  if (moment.micros % unit === 0 && scanner.rest === 'none') return moment;
  if (inexact === 'refuse') return null;
  const whole = moment.micros + (scanner.rest === 'half or more' ? 1 : 0);
  const over = whole % unit;
  // Half away from 2000-01-01, as AdjustTimestampForTypmod does.
  const isUp = over * 2 > unit || (over * 2 === unit && moment.days >= 0);
  const micros = whole - over + (isUp ? unit : 0);
  if (micros < microsPerDay) return { days: moment.days, micros };
  return { days: moment.days + 1, micros: micros - microsPerDay };
}

function writeMicros(moment: Moment, out: Output): void {
  const { high, low } = microsHalves(moment);
  out.field64(high, low);
}

const inexactProblem = (fraction: number): Problem => ({
  code: 'inexact',
  message: `expected at most ${fraction} digits behind the seconds`,
});

export function timeEncoder(precision: Precision): Encode {
  const wrong = refuse('expected a time of day, HH:MM:SS, without a zone');
  const inexact = inexactProblem(precision.fraction);
  const range: Problem = { code: 'out-of-range', message: 'the time rounds to 24:00:00' };
  return (cell, out) => {
    if (!isText(cell)) return wrong;
    scanner.begin(cell);
    if (!scanner.time() || !scanner.isDone) return wrong;
    const moment = atPrecision({ days: 0, micros: scanner.micros }, precision);
    if (moment === null) return inexact;
    if (moment.days > 0) return range;
    writeMicros(moment, out);
    return null;
  };
}

/** Days from 1970-01-01 to 2000-01-01. */
const daysSince1970 = 10_957;

/** Whether MySQL's TIMESTAMP holds it: it has no second 0 either. */
function isWithin({ days, micros }: Moment, secondsMax: number): boolean {
  const seconds = (days + daysSince1970) * 86_400 + Math.floor(micros / 1_000_000);
  return seconds >= 1 && seconds <= secondsMax;
}

export function timestampEncoder(
  precision: Precision & { readonly zoned: boolean; readonly secondsMax: number | undefined },
): Encode {
  const { zoned, secondsMax } = precision;
  const wrong = refuse(
    zoned
      ? 'expected a time with its zone, YYYY-MM-DDTHH:MM:SSZ or +HH:MM, of the years 0001 to 9999'
      : 'expected a time without a zone, YYYY-MM-DDTHH:MM:SS, of the years 0001 to 9999',
  );
  const inexact = inexactProblem(precision.fraction);
  const range: Problem = {
    code: 'out-of-range',
    message:
      secondsMax === undefined
        ? 'expected a time of the years 0001 to 9999'
        : `expected a time from 1970 to ${new Date(secondsMax * 1000).toISOString()}`,
  };
  return (cell, out) => {
    if (!isText(cell)) return wrong;
    scanner.begin(cell);
    const isField = cell.kind === cellKind.field;
    if (!scanner.date(isField)) return wrong;
    const isDateAlone = isField && !zoned && scanner.isDone;
    if (!isDateAlone && !(scanner.take(0x54, 0x20) && scanner.time())) return wrong;
    if (zoned && !scanner.zone()) return wrong;
    if (!scanner.isDone) return wrong;
    const moment = atPrecision(scanner.utc(), precision);
    if (moment === null) return inexact;
    if (moment.days < dayMin || moment.days > dayMax) return range;
    if (secondsMax !== undefined && !isWithin(moment, secondsMax)) return range;
    writeMicros(moment, out);
    return null;
  };
}
