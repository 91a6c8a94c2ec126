// The client that behaves: writes of 500 rows under keys of their own, on a connection that it
// keeps and, every fourth time, on a new one. It sends again until it is answered with success; how
// long that took counts from the first attempt.
import { Agent, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { bearer, type Site, tokens } from './site.ts';

export interface Row {
  readonly id: number;
  readonly note: string;
}

const rowsEach = 500;
const attemptsMax = 200;
const pauseMs = 5;
const newConnectionEvery = 4;

const noteOf = (id: number): string => `a note of the row ${id}`;

export interface Pace {
  /** The 99th of 100 writes, in milliseconds; of fewer, the slowest. */
  readonly p99Ms: number;
  readonly medianMs: number;
  /** Attempts that were not answered with success. */
  readonly retries: number;
}

export class Client {
  readonly #site: Site;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #writes = 0;
  #rows = 0;
  /** Why attempts failed, by what they were told. */
  readonly refusals = new Map<string, number>();

  constructor(site: Site) {
    this.#site = site;
  }

  /** Every row that was acknowledged: no other was ever sent. */
  *acknowledged(): Generator<Row> {
    for (let id = 1; id <= this.#rows; id++) yield { id, note: noteOf(id) };
  }

  async pace(writes: number): Promise<Pace> {
    const times: number[] = [];
    let retries = 0;
    for (let i = 0; i < writes; i++) {
      const begunMs = performance.now();
      retries += await this.#write();
      times.push(performance.now() - begunMs);
      await pause(pauseMs);
    }
    times.sort((a, b) => a - b);
    return {
      p99Ms: times[Math.ceil(times.length * 0.99) - 1] ?? 0,
      medianMs: times[times.length >> 1] ?? 0,
      retries,
    };
  }

  close(): void {
    this.#agent.destroy();
  }

  async #write(): Promise<number> {
    const first = this.#rows + 1;
    const ids = Array.from({ length: rowsEach }, (_, i) => first + i);
    const body = ids.map((id) => `{"id":${id},"note":"${noteOf(id)}"}\n`).join('');
    const isNew = ++this.#writes % newConnectionEvery === 0;
    for (let retries = 0; retries < attemptsMax; retries++) {
      const answer = await this.#attempt(body, isNew);
      if (answer === '202') {
        this.#rows += rowsEach;
        return retries;
      }
      this.refusals.set(answer, (this.refusals.get(answer) ?? 0) + 1);
      await pause(pauseMs);
    }
    const told = [...this.refusals].map(([what, count]) => `${what} x ${count}`).join(', ');
    throw new Error(`the client that behaves got nowhere: ${told}`);
  }

  /** The status, or what became of the connection. */
  #attempt(body: string, isNew: boolean): Promise<string> {
    return new Promise((resolve) => {
      const asked = request({
        host: '127.0.0.1',
        port: this.#site.port,
        path: '/v1/streams/events/records',
        method: 'POST',
        agent: isNew ? false : this.#agent,
        headers: {
          ...bearer(tokens.client),
          'content-type': 'application/x-ndjson',
          'content-length': body.length,
          'idempotency-key': `write-${this.#writes}`,
        },
      });
      asked.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      asked.on('response', (answer) => {
        answer.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
        answer.on('end', () => resolve(String(answer.statusCode)));
        answer.resume();
      });
      asked.end(body);
    });
  }
}
