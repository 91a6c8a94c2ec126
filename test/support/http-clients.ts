// Clients as they should be written: each request has its Idempotency-Key and is sent again until
// it is answered with success. What they were told on the way is kept.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';

interface ClientsOptions {
  /** Asked before each attempt: a server that was started again may be elsewhere. */
  readonly url: () => string;
  readonly streams: readonly string[];
  readonly clients: number;
  readonly requests: number;
  readonly rows: number;
  /** Called after each request that succeeded, with how many have. */
  readonly onDone?: (done: number) => void;
}

interface ClientsEnd {
  /** Refusals and broken connections that were met and got over. */
  readonly retries: number;
}

interface Answer {
  readonly accepted?: number;
  readonly retryable?: boolean;
  readonly code?: string;
}

const attemptsMax = 600;

/** Every client sends its requests one after the other; row ids are dense, from 0 on. */
export async function runClients(options: ClientsOptions): Promise<ClientsEnd> {
  const { clients, requests, rows, streams } = options;
  let [retries, done] = [0, 0];
  const attempt = async (number: number): Promise<boolean> => {
    const stream = streams[number % streams.length] ?? '';
    const ids = Array.from({ length: rows }, (_, i) => number * rows + i);
    // Every other one waits for the target, so that its failures are met too.
    const path = `/v1/streams/${stream}/records${number % 4 < 2 ? '?ack=settled' : ''}`;
    const answer = await tryPost(options.url() + path, number, ids);
    if (answer.accepted === rows) return true;
    assert.equal(answer.retryable, true, `only what may be tried again: ${JSON.stringify(answer)}`);
    retries++;
    return false;
  };
  const client = async (first: number): Promise<void> => {
    for (let number = first; number < clients * requests; number += clients) {
      for (let tries = 0; !(await attempt(number)); tries++) {
        assert(tries < attemptsMax, 'it succeeds in the end');
        await pause(50);
      }
      done++;
      options.onDone?.(done);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, i) => client(i)));
  return { retries };
}

/** A connection that broke is an answer that may be tried again: nobody knows what became of it. */
async function tryPost(url: string, number: number, ids: readonly number[]): Promise<Answer> {
  const body = ids.map((id) => `{"id":${id},"request":${number}}\n`).join('');
  const headers = {
    'content-type': 'application/x-ndjson',
    'idempotency-key': `request-${number}`,
  };
  try {
    const answer = await fetch(url, { method: 'POST', headers, body });
    return (await answer.json()) as Answer;
  } catch (error) {
    assert(error instanceof TypeError || error instanceof SyntaxError, String(error));
    return { retryable: true, code: error.message };
  }
}
