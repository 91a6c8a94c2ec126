// When rows are visible: a connection of its own asks the table, over and over, which bodies are
// there with all of their rows. A body's time is that of the answer which had it first, so it is
// never too early, and too late by one question and the pause before it at most.
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { monotonicMs } from './metronome.ts';
import { firstKey } from './payments.ts';

const pauseMs = 1;
/** Those that are missing for longer are a failure, not a slow answer. */
const patienceMs = 60_000;

const text = `SELECT body::int AS body FROM unnest($1::bigint[]) AS body
  WHERE (SELECT count(*) FROM payments WHERE tx_id >= $2::bigint + body * $3::bigint
    AND tx_id < $2::bigint + (body + 1) * $3::bigint) = $3::bigint`;

export class Watcher {
  readonly #client: pg.Client;
  readonly #rowsEach: number;
  /** When the bodies that are not seen yet were due. */
  readonly #dueMs = new Map<number, number>();
  readonly #seenMs: number[] = [];
  #isEnding = false;

  private constructor(client: pg.Client, rowsEach: number) {
    this.#client = client;
    this.#rowsEach = rowsEach;
  }

  static async on(url: string, rowsEach: number): Promise<Watcher> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    // Nothing is known of the table yet: by its statistics a scan of all would do.
    await client.query('SET enable_seqscan = off; SET enable_bitmapscan = off');
    return new Watcher(client, rowsEach);
  }

  expect(body: number, dueMs: number): void {
    this.#dueMs.set(body, dueMs);
  }

  /** No more bodies are coming. */
  end(): void {
    this.#isEnding = true;
  }

  /** Milliseconds from when each body was due until it was seen; resolves when all are. */
  async watch(): Promise<number[]> {
    while (!this.#isEnding || this.#dueMs.size > 0) {
      const bodies = [...this.#dueMs.keys()];
      const values = [bodies, firstKey, this.#rowsEach];
      const { rows } = await this.#client.query<{ body: number }>({ name: 'seen', text, values });
      const now = monotonicMs();
      for (const { body } of rows) {
        this.#seenMs.push(now - (this.#dueMs.get(body) ?? now));
        this.#dueMs.delete(body);
      }
      const oldest = this.#dueMs.values().next().value ?? now;
      if (now - oldest > patienceMs) throw new Error(`body ${bodies[0]} was not seen in the table`);
      await pause(pauseMs);
    }
    await this.#client.end();
    return this.#seenMs;
  }
}
