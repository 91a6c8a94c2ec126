// Durations as people write them in a configuration: '90s', '24h', '7d', or a number of
// milliseconds.

const units: { readonly [unit: string]: number } = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const shape = /^(\d{1,9}(?:\.\d{1,3})?) ?(ms|s|m|h|d)$/;

export const isDuration = (value: unknown): value is string | number =>
  typeof value === 'number'
    ? Number.isSafeInteger(value) && value >= 0
    : typeof value === 'string' && shape.test(value);

/** Milliseconds; 0 for what `isDuration` denies. */
export function durationMs(value: string | number): number {
  if (typeof value === 'number') return value;
  const [, count = '0', unit = ''] = shape.exec(value) ?? [];
  return Math.round(Number(count) * (units[unit] ?? 0));
}
