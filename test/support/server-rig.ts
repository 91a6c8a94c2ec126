// A real Holdfast over a real SQLite file, served over real HTTP, for one test; all of it goes away
// with the test. `restart` is what a new process does with the same folder.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { type Disk, systemDisk } from '../../src/disk.ts';
import type { Opened } from '../../src/holdfast.ts';
import { open } from '../../src/holdfast.ts';
import type { JournalOptions, ServerOptions, StreamOptions } from '../../src/options.ts';
import type { RunningServer, StartOptions } from '../../src/server/server.ts';
import { startServing } from '../../src/serving.ts';

export interface Rig {
  readonly folder: string;
  holdfast: Opened;
  server: RunningServer;
  /** Closes both and opens them again on the same folder; `between` the two. */
  restart(between?: () => void): Promise<void>;
  /** Rows of a query on the target. */
  query(sql: string): Record<string, SQLOutputValue>[];
  /** Keeps the target from committing anything until the returned function is called. */
  lockTarget(): () => void;
}

/** The tests of the server hold for one on this thread and for one on threads of its own. */
const workersOf = (): number => Number(process.env['HOLDFAST_TEST_WORKERS'] ?? 0);

const tables = `
  CREATE TABLE payments (tx_id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, status TEXT);
  CREATE TABLE notes (body TEXT)`;

const streams: { readonly [name: string]: StreamOptions } = {
  payments: { table: 'payments', key: ['tx_id'], lanes: 4 },
  notes: { table: 'notes', lanes: 4 },
};

export interface Below {
  readonly limits?: JournalOptions;
  readonly disk?: Disk;
}

/** `options` are the server's; `below` is what it stands on. */
export async function startRig(
  t: TestContext,
  options: StartOptions = {},
  below: Below = {},
): Promise<Rig> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-server-'));
  const path = join(folder, 'shop.db');
  // `lockTarget` waits for who has the lock at that moment.
  const database = new DatabaseSync(path, { timeout: 60_000 });
  database.exec(`PRAGMA journal_mode=WAL; ${tables}`);
  const start = async () => {
    const opened = {
      journal: join(folder, 'journal'),
      target: `sqlite:${path}`,
      streams,
      limits: { segmentBytes: 4 * 1024 * 1024, ...below.limits },
      loaderThread: 'own',
    } as const;
    const holdfast = await open(opened, { disk: below.disk ?? systemDisk, clock: systemClock });
    const server = await startServing(holdfast, { port: 0, ...options, workers: workersOf() });
    return { holdfast, server };
  };
  const stop = async () => {
    await rig.server.close({ drainMs: 100 });
    await rig.holdfast.close({ drainMs: 0 });
  };
  const rig: Rig = {
    folder,
    ...(await start()),
    restart: async (between) => {
      await stop();
      between?.();
      Object.assign(rig, await start());
    },
    query: (sql) => database.prepare(sql).all(),
    lockTarget: () => {
      database.exec('BEGIN IMMEDIATE');
      return () => database.exec('ROLLBACK');
    },
  };
  t.after(async () => {
    await stop();
    database.close();
    rmSync(folder, { recursive: true });
  });
  return rig;
}

export interface Sent {
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: string;
  readonly stream?: string;
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The text as JSON, or {} where it is none. */
  readonly body: AnswerBody;
}

/** What answers are looked into for; each route's own shape is compared whole where it matters. */
interface AnswerBody {
  readonly accepted?: number;
  readonly receipt?: string;
  readonly repeated?: boolean;
  readonly counts?: Readonly<Record<string, number>>;
  readonly code?: string;
  readonly outcome?: string;
  readonly message?: string;
  readonly retryable?: boolean;
  readonly rejected?: readonly { line: number; column: string | null; code: string }[];
  readonly level?: string;
  readonly reasons?: readonly string[];
  readonly load?: string;
  readonly offset?: number;
}

export async function ask(rig: Pick<Rig, 'server'>, path: string, init: RequestInit = {}) {
  const answer = await fetch(rig.server.url + path, init);
  const text = await answer.text();
  const isJson = answer.headers.get('content-type')?.startsWith('application/json');
  const body = isJson ? (JSON.parse(text) as AnswerBody) : {};
  return { status: answer.status, headers: answer.headers, text, body } satisfies Answer;
}

/** POSTs rows; NDJSON to the stream `payments` unless said otherwise. */
export const send = (rig: Pick<Rig, 'server'>, body: RequestInit['body'], sent: Sent = {}) => {
  const { type = 'application/x-ndjson', stream = 'payments', query = '' } = sent;
  return ask(rig, `/v1/streams/${stream}/records${query}`, {
    method: 'POST',
    headers: { 'content-type': type, ...sent.headers },
    ...(body !== undefined && { body }),
    ...(body instanceof ReadableStream && { duplex: 'half' }),
  });
};

/** A row of payments as a line of NDJSON. */
export const line = (id: number | bigint, status = 'paid'): string =>
  `{"tx_id":${id},"user_id":7,"status":"${status}"}\n`;

export const lines = (from: number, count: number): string =>
  Array.from({ length: count }, (_, i) => line(from + i)).join('');

export interface RawConnection {
  readonly socket: Socket;
  /** All that the server sent, once it has closed the connection. */
  readonly closed: Promise<string>;
}

/** A plain TCP connection, for requests that no client library would send. */
export function rawConnection(t: TestContext, rig: Pick<Rig, 'server'>): RawConnection {
  const { hostname, port } = new URL(rig.server.url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  // A reset after the answer is as good an end as a close.
  socket.on('error', (error) => socket.destroy(error));
  socket.on('end', () => socket.end());
  t.after(() => socket.destroy());
  const closed = new Promise<string>((resolve) => socket.on('close', () => resolve(text)));
  return { socket, closed };
}

/** Head of a POST of rows, without its blank line. */
export const postHead = (...headers: readonly string[]): string =>
  [
    'POST /v1/streams/payments/records HTTP/1.1',
    'host: x',
    'content-type: application/x-ndjson',
    ...headers,
    '',
  ].join('\r\n');

export const tokenOptions = {
  tokens: [
    { token: 'all-of-it' },
    { token: 'writes-payments', rights: ['write'], streams: ['payments'] },
    { token: 'reads-payments', rights: ['read'], streams: ['payments'] },
    { token: 'operates-payments', rights: ['operate'], streams: ['payments'] },
  ],
} as const satisfies ServerOptions;

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
