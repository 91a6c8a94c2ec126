// The server under attack as users run it: a process of `holdfast serve` with a configuration file
// and an SQLite target, in a folder of its own. What it costs the machine is read from /proc.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import type { ServerOptions, TokenOptions } from '../../src/options.ts';
import type { Books } from '../oracle.ts';

const main = join(import.meta.dirname, '../../src/cli/main.ts');
const tables = `
  CREATE TABLE events (id INTEGER PRIMARY KEY, note TEXT);
  CREATE TABLE hostile (id BIGINT NOT NULL, note TEXT)`;
/** `events` belongs to the client that behaves; `hostile` takes what attackers get accepted. */
export type Stream = 'events' | 'hostile';

/** What every stage of an attack is done with. */
export const tokens = {
  admin: 'admin-4f1c8a6e0b7d4c53',
  client: 'client-9b2e7d5f3a1c4068',
  reader: 'reader-1d6f3b9a8c2e4750',
  operator: 'operator-7a0c5e2d9f4b4186',
  strangerWrites: 'stranger-writes-3e8b1f6a',
  strangerReads: 'stranger-reads-5c9d2a7e',
  strangerOperates: 'stranger-operates-8f4a0b3d',
} as const;

export const tokenList: readonly TokenOptions[] = [
  { token: tokens.admin },
  { token: tokens.client, rights: ['write'], streams: ['events'] },
  { token: tokens.reader, rights: ['read'], streams: ['events'] },
  { token: tokens.operator, rights: ['operate'], streams: ['events'] },
  { token: tokens.strangerWrites, rights: ['write'], streams: ['hostile'] },
  { token: tokens.strangerReads, rights: ['read'], streams: ['hostile'] },
  { token: tokens.strangerOperates, rights: ['operate'], streams: ['hostile'] },
];

export interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** The address on this machine to come from: guesses at tokens are counted by address. */
  readonly from?: string;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

export interface StreamRow {
  readonly id: bigint;
  readonly note: unknown;
}

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** The folder of one server, and the process that runs there, if one does. */
export class Site {
  readonly folder: string;
  #child: ChildProcess | undefined;
  #said = '';
  #port = 0;

  /** Where this process is interrupted, nothing is left behind. */
  readonly #onExit = (): void => {
    this.#child?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  };

  constructor(folder: string) {
    this.folder = folder;
    process.once('exit', this.#onExit);
    mkdirSync(folder, { recursive: true });
    const database = new DatabaseSync(join(folder, 'shop.db'));
    database.exec(`PRAGMA journal_mode=WAL; ${tables}`);
    database.close();
  }

  get port(): number {
    return this.#port;
  }

  /** All that the processes here have written to stdout and stderr. */
  get said(): string {
    return this.#said;
  }

  get #pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('no server runs here');
    return pid;
  }

  async start(server: ServerOptions, level = 'warn'): Promise<void> {
    const options = {
      journal: './journal',
      target: 'sqlite:./shop.db',
      streams: {
        events: { table: 'events', key: ['id'], lanes: 4 },
        hostile: { table: 'hostile', lanes: 4 },
      },
      limits: { segmentBytes: 64 * 1024 * 1024 },
      server: { port: 0, ...server },
    };
    const config = join(this.folder, 'holdfast.config.json');
    writeFileSync(config, JSON.stringify(options));
    const child = spawn(process.execPath, [main, 'serve', '--config', config], {
      env: { ...process.env, HOLDFAST_LOG: level, NODE_TEST_CONTEXT: undefined },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    for (const output of [child.stdout, child.stderr]) {
      output.setEncoding('utf8').on('data', (text: string) => {
        this.#said += text;
      });
    }
    const from = this.#said.length;
    const line = /^Listening on http:\/\/127\.0\.0\.1:(\d+)$/m;
    const ended = once(child, 'exit');
    for (;;) {
      const found = line.exec(this.#said.slice(from));
      if (found) {
        this.#port = Number(found[1]);
        return;
      }
      if (child.exitCode !== null) throw new Error(`it did not start: ${this.#said.slice(from)}`);
      await Promise.race([once(child.stdout, 'data'), ended]);
    }
  }

  /** Asks for an orderly end, which must be one. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const ended = once(child, 'exit');
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    else throw new Error(`the server was gone: ${child.exitCode ?? child.signalCode}`);
    await ended;
    this.#child = undefined;
    if (child.exitCode !== 0) {
      throw new Error(`it ended with ${child.exitCode}: ${this.#said.slice(-400)}`);
    }
  }

  /** Ends whatever runs, and takes the folder away. */
  async remove(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
    process.off('exit', this.#onExit);
  }

  /** One request on a connection of its own. */
  ask(path: string, { method = 'GET', headers = {}, body, from }: Asked = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const asked = request({
        host: '127.0.0.1',
        port: this.#port,
        path,
        method,
        agent: false,
        headers: { ...headers, ...(body !== undefined && { 'content-length': body.length }) },
        ...(from !== undefined && { localAddress: from }),
      });
      asked.on('error', reject);
      asked.on('response', (answer) => {
        let text = JSON.stringify(answer.headers);
        answer.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        answer.on('error', reject);
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
      });
      asked.end(body);
    });
  }

  async books(stream: Stream): Promise<Books> {
    const { text } = await this.ask('/v1/status', { headers: bearer(tokens.admin) });
    const body = text.slice(text.indexOf('}') + 1);
    const { streams } = JSON.parse(body) as { readonly streams: Readonly<Record<Stream, Books>> };
    return streams[stream];
  }

  /** Memory of the process that is not shared or swapped, in MiB. */
  residentMiB(): number {
    const status = readFileSync(`/proc/${this.#pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
  }

  /** Open files and connections of the process. */
  descriptors(): number {
    return readdirSync(`/proc/${this.#pid}/fd`).length;
  }

  rows(stream: Stream): StreamRow[] {
    const database = new DatabaseSync(join(this.folder, 'shop.db'), { timeout: 10_000 });
    try {
      const statement = database.prepare(`SELECT id, note FROM ${stream}`);
      statement.setReadBigInts(true);
      return statement.all().map(({ id, note }) => ({ id: BigInt(String(id)), note }));
    } finally {
      database.close();
    }
  }
}
