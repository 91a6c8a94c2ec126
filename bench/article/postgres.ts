// PostgreSQL 18 under bench article. It counts deadlocks, but not waits for locks: those are
// sampled.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { createDatabase, query } from '../../test/support/postgres.ts';
import { startBenchPostgres } from '../postgres.ts';
import type { Payment } from './load.ts';
import type { Locks, Pool, RunDatabase, Server } from './servers.ts';

const createTable = `CREATE TABLE payments (
  tx_id bigint PRIMARY KEY,
  user_id bigint NOT NULL,
  amount numeric(18,2) NOT NULL,
  status text NOT NULL,
  version int NOT NULL,
  note text,
  created_at timestamptz NOT NULL DEFAULT now()
)`;

const columns = ['tx_id', 'user_id', 'amount', 'status', 'version', 'note'] as const;
const insert = `INSERT INTO payments (${columns.join(', ')})`;
const update = columns.map((column) => `${column} = EXCLUDED.${column}`).join(', ');
const onConflict = `ON CONFLICT (tx_id) DO UPDATE SET ${update} WHERE EXCLUDED.version > payments.version`;
const one = `${insert} VALUES ($1, $2, $3, $4, $5, $6) ${onConflict}`;
// One statement for batches of any size, and faster than a list of values (PEERS: 230 k to 179 k).
const many =
  `${insert} SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::numeric[], $4::text[], ` +
  `$5::int[], $6::text[]) ${onConflict}`;

/** deadlock_detected, lock_not_available. */
const retryable = new Set(['40P01', '55P03']);

function openPool(url: string, connections: number): Pool {
  const pool = new pg.Pool({ connectionString: url, max: connections });
  return {
    async upsertOne(row) {
      await pool.query({ name: 'one', text: one, values: columns.map((column) => row[column]) });
    },
    async upsertMany(rows: readonly Payment[]) {
      const values = columns.map((column) => rows.map((row) => row[column]));
      await pool.query({ name: 'many', text: many, values });
    },
    isRetryable: (error) => error instanceof pg.DatabaseError && retryable.has(error.code ?? ''),
    close: () => pool.end(),
  };
}

/** Who waits for another transaction's row; `since` is null while the wait is just beginning. */
const waiting = `SELECT pid || ' ' || extract(epoch FROM waitstart) AS since
  FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')`;
const sampleMs = 5;

/** Looks at pg_locks over and over. Waits shorter than the time between two looks may be missed. */
class LockSampler {
  #isOver = false;
  readonly #client: pg.Client;
  readonly #waits = new Set<string>();
  #waitMs = 0;
  readonly #done: Promise<void>;

  private constructor(client: pg.Client) {
    this.#client = client;
    this.#done = this.#run();
  }

  static async begin(url: string): Promise<LockSampler> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    return new LockSampler(client);
  }

  async #run(): Promise<void> {
    for (let last = performance.now(); !this.#isOver; ) {
      const { rows } = await this.#client.query<{ since: string | null }>(waiting);
      const now = performance.now();
      for (const { since } of rows) if (since !== null) this.#waits.add(since);
      this.#waitMs += rows.length * (now - last);
      last = now;
      await sleep(sampleMs);
    }
    await this.#client.end();
  }

  async end(): Promise<Omit<Locks, 'deadlocks'>> {
    this.#isOver = true;
    await this.#done;
    return { waits: this.#waits.size, waitMs: this.#waitMs };
  }
}

/** A backend tells its counts at the latest when it ends. */
async function deadlocksIn(adminUrl: string, database: string): Promise<number> {
  const sessions = `SELECT pid FROM pg_stat_activity WHERE datname = '${database}'`;
  while ((await query(adminUrl, sessions)).length > 0) await sleep(sampleMs);
  const counted = `SELECT deadlocks FROM pg_stat_database WHERE datname = '${database}'`;
  return Number((await query(adminUrl, counted))[0]?.['deadlocks']);
}

async function contents(url: string): Promise<[number, number][]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const text = 'SELECT tx_id, version FROM payments';
  const { rows } = await client.query<[string, number]>({ text, rowMode: 'array' });
  await client.end();
  return rows.map(([key, version]) => [Number(key), version]);
}

export async function startPostgresServer(): Promise<Server> {
  const server = await startBenchPostgres();
  let made = 0;
  return {
    name: 'postgres',
    async createDatabase(): Promise<RunDatabase> {
      const name = `run${++made}`;
      const url = await createDatabase(server, name);
      await query(url, createTable);
      return {
        url,
        pool: (connections) => openPool(url, connections),
        async watchLocks() {
          const sampler = await LockSampler.begin(server.url);
          return async () => ({
            ...(await sampler.end()),
            deadlocks: await deadlocksIn(server.url, name),
          });
        },
        contents: () => contents(url),
        async drop() {
          await query(server.url, `DROP DATABASE ${name} WITH (FORCE)`);
        },
      };
    },
    stop: () => server.stop(),
  };
}
