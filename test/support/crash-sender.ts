// What a sender sends in the crash tests, and what must stand in the tables when all of it arrived:
// keyed requests over a stream with a key and one without, with repeated rows and a key conflict.
import assert from 'node:assert/strict';
import type { Clock } from '../../src/clock.ts';
import { addCounts, type EndCounts, noCounts } from '../../src/merge/ledger.ts';
import type { Holdfast, Receipt } from '../../src/types.ts';

export type SentRow = { readonly id: number; readonly note: string };

export interface SentRequest {
  readonly stream: 'orders' | 'events';
  readonly key: string;
  readonly rows: readonly SentRow[];
}

/** So long that a segment of 64 KiB holds about five requests. */
const noteBytes = 1_900;
const rowsEach = 6;
const otherContent = 'other content';
/** Between bursts, so that merging and journaling take turns. */
const pauseMs = 12;

const noteOf = (stream: string, id: number): string =>
  `${stream} ${id} `.padEnd(noteBytes, String.fromCharCode(97 + (id % 26)));

const rowsOf = (stream: string, first: number): SentRow[] =>
  Array.from({ length: rowsEach }, (_, i) => ({ id: first + i, note: noteOf(stream, first + i) }));

/** The bursts that are sent one after another; requests of a burst are sent at once. */
const bursts: readonly (readonly SentRequest[])[] = Array.from({ length: 6 }, (_, i) => {
  const first = i * 100;
  const repeated = [{ id: first, note: noteOf('orders', first) }];
  const other = [{ id: first + 1, note: otherContent }];
  return [
    { stream: 'orders', key: `order ${i}`, rows: rowsOf('orders', first) },
    { stream: 'events', key: `event ${i}`, rows: rowsOf('events', first) },
    // The same row by another request is a duplicate; other content under its key a dead letter.
    { stream: 'orders', key: `again ${i}`, rows: i % 3 === 2 ? other : repeated },
  ];
});

export const allRequests: readonly SentRequest[] = bursts.flat();

const of = (stream: string) => allRequests.filter((request) => request.stream === stream);
/** How the rows of one request end, in every history. */
export function endsOf({ key, rows }: SentRequest): EndCounts {
  const isRepeat = key.startsWith('again');
  const isConflict = rows[0]?.note === otherContent;
  return {
    merged: isRepeat ? 0 : rows.length,
    duplicates: isRepeat && !isConflict ? 1 : 0,
    superseded: 0,
    deadLetters: isConflict ? 1 : 0,
  };
}

/** The books of a stream when everything was sent and settled. */
export function finalBooks(stream: string) {
  const ends = of(stream).map(endsOf).reduce(addCounts, noCounts);
  const accepted = of(stream).reduce((sum, { rows }) => sum + rows.length, 0);
  return { accepted, ...ends, inFlight: 0, unaccounted: 0 };
}

/** The rows that must be in a stream's table once the requests of these keys are settled. */
export function rowsIn(stream: SentRequest['stream'], keys: ReadonlySet<string>): SentRow[] {
  const sent = of(stream).filter(({ key }) => keys.has(key) && !key.startsWith('again'));
  return sent.flatMap(({ rows }) => rows);
}

/** Sends what was not acknowledged; remembers what is. */
export class Sender {
  readonly acknowledged = new Set<string>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async sendOne(holdfast: Holdfast, request: SentRequest): Promise<Receipt> {
    const { stream, key, rows } = request;
    const receipt = await holdfast.write(stream, [...rows], { idempotencyKey: key });
    assert.equal(receipt.accepted, rows.length);
    this.acknowledged.add(key);
    return receipt;
  }

  async sendAll(holdfast: Holdfast): Promise<void> {
    for (const burst of bursts) {
      const wanted = burst.filter(({ key }) => !this.acknowledged.has(key));
      const sent = await Promise.allSettled(wanted.map((one) => this.sendOne(holdfast, one)));
      const refused = sent.find((one) => one.status === 'rejected');
      if (refused) throw refused.reason;
      await this.#clock.sleep(pauseMs);
    }
  }
}
