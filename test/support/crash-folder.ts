// What the process to be killed and its auditor agree on: where things lie and what is written.
import { join } from 'node:path';
import process from 'node:process';
import type { OpenOptions } from '../../src/options.ts';

const rowsEach = 5;
/** Requests in flight at once. */
export const writersMax = 4;

export const shopPath = (folder: string): string => join(folder, 'shop.db');

/** No key: SQLite would not refuse a row that comes twice. */
export const childTable = 'CREATE TABLE events (id INTEGER NOT NULL, note TEXT NOT NULL)';

/**
 * Where the loaders of the process to be killed run. 'served': on a thread, and what it writes
 * comes over HTTP, through an accept worker and its ring.
 */
export type LoaderPlace = 'worker' | 'own' | 'served';

export const loaderPlaces: readonly LoaderPlace[] = ['worker', 'own', 'served'];

export const childOptions = (folder: string, place: LoaderPlace): OpenOptions => ({
  loaderThread: place === 'own' ? 'own' : 'worker',
  journal: join(folder, 'journal'),
  target: `sqlite:${shopPath(folder)}`,
  streams: { events: { table: 'events', lanes: 4, batchRowsMax: 100 } },
  limits: { segmentBytes: 64 * 1024, bytesMax: 16 * 64 * 1024, retentionMsMin: 0 },
});

/** The rows of a request. */
export const childRows = (number: number) =>
  Array.from({ length: rowsEach }, (_, i) => {
    const id = number * rowsEach + i;
    return { id, note: `row ${id} `.padEnd(100 + (id % 400), '.') };
  });

/** The same as they are sent over HTTP. */
export const childBytes = (number: number): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(
    childRows(number)
      .map((row) => `${JSON.stringify(row)}\n`)
      .join(''),
  );

/**
 * Tells the parent a line; resolves when it is on its way. Who waits for that before it goes on has
 * told all that it got past when it is killed: what a busy parent leaves unread is kept in memory.
 */
export const tellParent = (line: string): Promise<void> =>
  new Promise((resolve) => process.stdout.write(`${line}\n`, () => resolve()));
