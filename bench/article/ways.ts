// The four ways of bench article into a table: two that people write themselves, two of Holdfast.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { open } from '../../src/holdfast.ts';
import type { Payment } from './load.ts';
import type { Pool, RunDatabase } from './servers.ts';

/** An answer of success. */
interface Answer {
  /** Resolves when the row has its end in the table; absent where the answer says just that. */
  readonly settled?: () => Promise<unknown>;
}

export interface OpenWay {
  write(row: Payment): Promise<Answer>;
  /** Resolves when all that was answered is in the table. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

export interface Way {
  readonly name: 'single' | 'upserts' | 'direct' | 'staged';
  /** `folder`: an empty one, for this run. */
  open(database: RunDatabase, folder: string): Promise<OpenWay>;
}

/** The default of `pg` and of `mysql2`. */
const connections = 10;
const batchRowsMax = 500;
const retries = 3;
const retryMs = 10;

/** Deadlocks and lock timeouts are tried again, a little later each time; the rest is a failure. */
async function retrying(pool: Pool, attempt: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (tries === retries || !pool.isRetryable(error)) throw error;
      await sleep(retryMs * (tries + Math.random()));
    }
  }
}

const answered: Answer = {};
const single: Way = {
  name: 'single',
  async open(database) {
    const pool = database.pool(connections);
    return {
      async write(row) {
        await retrying(pool, () => pool.upsertOne(row));
        return answered;
      },
      settle: async () => undefined,
      close: () => pool.close(),
    };
  },
};

interface Waiting {
  readonly row: Payment;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

/** Workers that each take what waits, up to a batch, as soon as they are free. */
class Batches {
  readonly #pool: Pool;
  #waiting: Waiting[] = [];
  #working = 0;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  write(row: Payment): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ row, resolve, reject });
      if (this.#working === connections) return;
      this.#working++;
      // Not at once: rows that come in the same turn go together.
      setImmediate(() => void this.#work());
    });
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, batchRowsMax);
      this.#waiting = this.#waiting.slice(batchRowsMax);
      try {
        await retrying(this.#pool, () => this.#pool.upsertMany(newestPerKey(batch)));
        for (const waiting of batch) waiting.resolve(answered);
      } catch (error) {
        for (const waiting of batch) waiting.reject(error);
      }
    }
    this.#working--;
  }
}

/** PostgreSQL refuses a statement that meets a key twice (21000); the order stays as it came. */
function newestPerKey(batch: readonly Waiting[]): Payment[] {
  const rows = new Map<number, Payment>();
  for (const { row } of batch) {
    if ((rows.get(row.tx_id)?.version ?? 0) < row.version) rows.set(row.tx_id, row);
  }
  return [...rows.values()];
}

const upserts: Way = {
  name: 'upserts',
  async open(database) {
    const pool = database.pool(connections);
    const batches = new Batches(pool);
    return {
      write: (row) => batches.write(row),
      settle: async () => undefined,
      close: () => pool.close(),
    };
  },
};

/** A status asks the target, on a connection of its own: not too often. */
const pollMs = 10;
const rules = { table: 'payments', key: ['tx_id'], onConflict: { newest: 'version' } };

const holdfastWay = (name: Way['name'], more: object): Way => ({
  name,
  async open(database, folder) {
    const journal = join(folder, 'journal');
    const streams = { payments: { ...rules, ...more } };
    const holdfast = await open({ journal, target: database.url, streams });
    return {
      async write(row) {
        const receipt = await holdfast.write('payments', row);
        return { settled: () => receipt.settled };
      },
      async settle() {
        for (;;) {
          const stream = (await holdfast.status()).streams['payments'];
          if (stream?.reason !== undefined) throw new Error(`the stream is held: ${stream.reason}`);
          if (stream?.inFlight === 0) return;
          await sleep(pollMs);
        }
      },
      close: () => holdfast.close(),
    };
  },
});

export const ways: readonly Way[] = [
  single,
  upserts,
  holdfastWay('direct', {}),
  holdfastWay('staged', { route: 'staged' }),
];
