// Requests whose bytes mean what their options say: CSV without a header. The same bytes read in
// another way are another request. Drawn apart from all else of a plan.
import type { Row } from '../../src/accept/rows.ts';
import type { WriteBytesOptions } from '../../src/types.ts';
import type { Random } from '../../test/simulation/random.ts';
import type { RequestPlan } from './plan.ts';

export type Reading = Pick<WriteBytesOptions, 'format' | 'csv' | 'invalid'>;

export interface CsvPlan {
  /** What of it is another where the same bytes are sent under a key that is known. */
  readonly other: 'columns' | 'invalid';
}

/** The requests, some of them as CSV: their rows have the same columns. */
export function withReadings(random: Random, requests: readonly RequestPlan[]): RequestPlan[] {
  return requests.map((request) => {
    const provided = new Set(request.rows.map(({ value }) => value !== undefined));
    const csv: CsvPlan = { other: random.pick(['columns', 'columns', 'invalid']) };
    const isFit = provided.size === 1 && !request.isLoad;
    return random.chance(request.isAbused ? 0.5 : 0.1) && isFit ? { ...request, csv } : request;
  });
}

const columnsOf = ([first]: readonly Row[]): string[] => Object.keys(first ?? {});

const ndjson: Reading = { format: 'ndjson' };

/** Bytes, and how they are to be read. */
export interface Body {
  readonly bytes: Buffer;
  readonly reading: Reading;
}

export const ndjsonOf = (rows: readonly Row[]): Buffer =>
  Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));

export function bodyOf(rows: readonly Row[], csv: CsvPlan | undefined): Body {
  if (!csv) return { bytes: ndjsonOf(rows), reading: ndjson };
  const columns = columnsOf(rows);
  const lines = rows.map((row) => `${columns.map((name) => JSON.stringify(row[name])).join()}\n`);
  return { bytes: Buffer.from(lines.join('')), reading: { format: 'csv', csv: { columns } } };
}

/** The same bytes, read in another way: id and version change places, or rows may be refused. */
export function otherReading(rows: readonly Row[], { other }: CsvPlan): Reading {
  const [id = '', version = '', ...rest] = columnsOf(rows);
  const columns = other === 'columns' ? [version, id, ...rest] : columnsOf(rows);
  return {
    format: 'csv',
    csv: { columns },
    ...(other === 'invalid' ? { invalid: 'dead-letter' as const } : {}),
  };
}
