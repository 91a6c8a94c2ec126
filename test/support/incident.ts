// The incident that `holdfast dedupe` is for, replayed: an upstream has sent every row of a storm
// twice, all of it waits in the staging table, and other writes must go on meanwhile. In the end
// the mergers run, and the books say where each row went.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { open } from '../../src/holdfast.ts';
import type { OpenOptions } from '../../src/options.ts';
import type { Holdfast, StreamStatus } from '../../src/types.ts';
import { streamWhere } from './waits.ts';

export const incidentTables = `
  CREATE TABLE payments (tx_id bigint PRIMARY KEY, user_id bigint NOT NULL,
    amount numeric(18,2) NOT NULL, status text NOT NULL, created_at timestamptz NOT NULL,
    note text);
  CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(18,2) NOT NULL)`;

/** `payments` is the staged stream of the storm, `orders` a direct one beside it. */
export const incidentOptions = (journal: string, target: string, mergers: number): OpenOptions => ({
  journal,
  target,
  streams: {
    payments: { table: 'payments', key: ['tx_id'], route: 'staged', mergers },
    orders: { table: 'orders', key: ['id'] },
  },
});

const bodyRows = 500;

function body(first: number): Uint8Array {
  let text = '';
  for (let id = first; id < first + bodyRows; id++) {
    text +=
      `{"tx_id":${id},"user_id":${id % 9_973},"amount":${id % 1_000}.25,"status":"paid",` +
      `"created_at":"2026-01-01T00:00:00Z","note":"payment ${id} of the storm"}\n`;
  }
  return Buffer.from(text);
}

/** Half of the rows, each twice, a moment apart; resolves when all of them are staged. */
export async function storm(holdfast: Holdfast, rows: number): Promise<void> {
  const bodies = rows / bodyRows / 2;
  let next = 0;
  const send = (at: number) =>
    holdfast.writeBytes('payments', body(at * bodyRows), { format: 'ndjson' });
  const caller = async (): Promise<void> => {
    while (next < bodies) {
      const at = next++;
      await send(at);
      await send(at);
    }
  };
  await Promise.all(Array.from({ length: 8 }, caller));
  await streamWhere(holdfast, 'payments', ({ watermarks: { staged } }) => staged === rows);
}

/** Keys of the writes that go on stand far from those of the storm. */
const laterKey = 1_000_000_000;

/** One row at a time into each stream, until stopped. */
export class MainWrites {
  readonly #holdfast: Holdfast;
  readonly #pauseMs: number;
  readonly #running: Promise<void>[];
  #isStopped = false;
  #orders = 0;
  #payments = 0;
  /** Milliseconds until each row of `orders` was in its table, since `take`. */
  #ordersMs: number[] = [];
  /** Until each row of `payments` was on disk. */
  #paymentsMs: number[] = [];

  constructor(holdfast: Holdfast, pauseMs: number) {
    this.#holdfast = holdfast;
    this.#pauseMs = pauseMs;
    this.#running = [this.#order(), this.#pay()];
  }

  /** What was measured since the last call. */
  take(): { readonly orders: readonly number[]; readonly payments: readonly number[] } {
    const taken = { orders: this.#ordersMs, payments: this.#paymentsMs };
    this.#ordersMs = [];
    this.#paymentsMs = [];
    return taken;
  }

  /** How many rows were written. */
  async stop(): Promise<{ readonly orders: number; readonly payments: number }> {
    this.#isStopped = true;
    await Promise.all(this.#running);
    return { orders: this.#orders, payments: this.#payments };
  }

  async #order(): Promise<void> {
    while (!this.#isStopped) {
      const begun = performance.now();
      const row = { id: this.#orders++, amount: '1.50' };
      const receipt = await this.#holdfast.write('orders', row);
      await receipt.settled;
      this.#ordersMs.push(performance.now() - begun);
      await pause(this.#pauseMs);
    }
  }

  async #pay(): Promise<void> {
    while (!this.#isStopped) {
      const begun = performance.now();
      const row = {
        tx_id: laterKey + this.#payments++,
        user_id: 1,
        amount: '2.50',
        status: 'paid',
        created_at: '2026-01-02T00:00:00Z',
        note: null,
      };
      await this.#holdfast.write('payments', row);
      this.#paymentsMs.push(performance.now() - begun);
      await pause(this.#pauseMs);
    }
  }
}

export interface Settled {
  readonly payments: StreamStatus;
  readonly orders: StreamStatus;
}

/** Mergers bring all that waits to its end; the books balance, and verify finds no difference. */
export async function mergeAll(options: OpenOptions): Promise<Settled> {
  const holdfast = await open(options);
  try {
    const isSettled = ({ inFlight }: StreamStatus) => inFlight === 0;
    const payments = await streamWhere(holdfast, 'payments', isSettled);
    const orders = await streamWhere(holdfast, 'orders', isSettled);
    assert.deepEqual([payments.unaccounted, orders.unaccounted], [0, 0]);
    const { ok, differences } = await holdfast.verify();
    assert(ok, JSON.stringify(differences.slice(0, 3)));
    return { payments, orders };
  } finally {
    await holdfast.close();
  }
}
