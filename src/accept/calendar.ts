// Dates as numbers and back, by arithmetic alone (proleptic Gregorian calendar, as PostgreSQL has
// it): http://howardhinnant.github.io/date_algorithms.html. Days count from 2000-01-01.

export const microsPerDay = 86_400_000_000;
/** A day, and microseconds since its midnight: from 0 to below `microsPerDay`. */
export interface Moment {
  readonly days: number;
  readonly micros: number;
}

/** Days from 0000-03-01 to 2000-01-01. */
const epoch = 730_425;
export const dayMin = daysOf(1, 1, 1);
export const dayMax = daysOf(9999, 12, 31);

const monthDays = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

export function isDate(year: number, month: number, day: number): boolean {
  if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1) return false;
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  return day <= (month === 2 && isLeap ? 29 : (monthDays[month - 1] ?? 0));
}

export function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - epoch;
}

const two = (n: number): string => String(n).padStart(2, '0');

/** YYYY-MM-DD */
export function dateText(days: number): string {
  const z = days + epoch;
  const era = Math.floor(z / 146_097);
  const doe = z - era * 146_097;
  const yoe = Math.floor(
    (doe - Math.floor(doe / 1460) + Math.floor(doe / 36_524) - Math.floor(doe / 146_096)) / 365,
  );
  const doy = doe - (365 * yoe + Math.floor(yoe / 4) - Math.floor(yoe / 100));
  const mp = Math.floor((5 * doy + 2) / 153);
  const day = doy - Math.floor((153 * mp + 2) / 5) + 1;
  const month = mp + (mp < 10 ? 3 : -9);
  const year = yoe + era * 400 + (month <= 2 ? 1 : 0);
  return `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}`;
}

/** HH:MM:SS, and .ffffff where it is not zero. */
export function timeText(micros: number): string {
  const fraction = micros % 1_000_000;
  const seconds = (micros - fraction) / 1_000_000;
  const minutes = Math.floor(seconds / 60);
  const clock = `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}:${two(seconds % 60)}`;
  return fraction === 0 ? clock : `${clock}.${String(fraction).padStart(6, '0')}`;
}

/** A timestamp, date and time parted by `separator`. */
export function timestampText({ days, micros }: Moment, separator: string): string {
  return dateText(days) + separator + timeText(micros);
}

const two32 = 2 ** 32;
// 86,400,000,000 = 20 × 2^32 + 500,654,080
const dayHigh = 20;
const dayLow = 500_654_080;

/**
 * Microseconds since 2000 as the halves of an int64. A double holds them exactly only for the years
 * 1715 to 2285; by halves every step stays below 2^53.
 */
export function microsHalves({ days, micros }: Moment): { high: number; low: number } {
  const low = days * dayLow + micros;
  const carry = Math.floor(low / two32);
  return { high: days * dayHigh + carry, low: low - carry * two32 };
}

export function momentOf(total: bigint): Moment {
  const perDay = BigInt(microsPerDay);
  const rest = total % perDay;
  const micros = rest < 0n ? rest + perDay : rest;
  return { days: Number((total - micros) / perDay), micros: Number(micros) };
}
