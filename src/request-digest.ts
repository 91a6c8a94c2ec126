// What a keyed request is told by from others with the same key: SHA-256, base64, of what was sent
// and of what says how it is read. Made of the input, not of what it decodes to: the table may be
// another one when the same is sent again (P20).
import { createHash } from 'node:crypto';
import type { Row } from './accept/rows.ts';
import type { WriteBytesOptions } from './types.ts';

export function digestOfBytes(
  bytes: Uint8Array,
  { format, csv, invalid }: Pick<WriteBytesOptions, 'format' | 'csv' | 'invalid'>,
): string {
  const { delimiter, columns, nulls } = format === 'csv' ? (csv ?? {}) : {};
  const how = JSON.stringify([format, invalid === 'dead-letter', delimiter, columns, nulls]);
  return createHash('sha256').update(`${how}\n`).update(bytes).digest('base64');
}

/** The kind of a value and its text; the same for the same value, however it was made. */
function textOf(value: unknown): string {
  if (value instanceof Date) return `date ${value.getTime()}`;
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('base64')}`;
  if (typeof value === 'object' && value !== null) return `json ${jsonOf(value)}`;
  return `${typeof value} ${Object.is(value, -0) ? '-0' : String(value)}`;
}

/** What has no JSON text is refused as a row; here it only must not throw. */
function jsonOf(value: object): string {
  try {
    return JSON.stringify(value) ?? '';
  } catch {
    return '';
  }
}

export function digestOfRows(rows: readonly Row[]): string {
  const hash = createHash('sha256');
  for (const row of rows) {
    const given = Object.entries(row ?? {}).filter(([, value]) => value !== undefined);
    given.sort(([a], [b]) => (a < b ? -1 : 1));
    hash.update(JSON.stringify(given.map(([name, value]) => [name, textOf(value)])));
  }
  return hash.digest('base64');
}
