// The command line as users have it: a child process in a folder of its own, with a real SQLite
// file. Folder and children go away with the test.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import type { TestContext } from 'node:test';

const main = join(import.meta.dirname, '../../src/cli/main.ts');

export interface Ended {
  readonly exit: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly stdin?: string | Uint8Array;
  /** More of stdin may come: the test writes and ends it. */
  readonly isEndless?: boolean;
  readonly env?: { readonly [name: string]: string };
  readonly cwd?: string;
}

interface Started {
  readonly child: ChildProcess;
  /** Resolves when the process has ended. */
  readonly ended: Promise<Ended>;
  /** Resolves with the first line of stdout that matches; rejects where it ends before. */
  line(pattern: RegExp): Promise<string>;
}

export interface Shop {
  readonly folder: string;
  run(args: readonly string[], options?: RunOptions): Promise<Ended>;
  start(args: readonly string[], options?: RunOptions): Started;
  write(name: string, text: string | Uint8Array): string;
  query(sql: string): Record<string, SQLOutputValue>[];
}

const tables = `
  CREATE TABLE payments (tx_id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL,
    amount DECIMAL(18,2) NOT NULL, status TEXT NOT NULL DEFAULT 'new');
  CREATE TABLE notes (body TEXT)`;

const config = {
  journal: './journal',
  target: 'sqlite:./shop.db',
  streams: { payments: { table: 'payments', key: ['tx_id'], lanes: 4 }, notes: { table: 'notes' } },
  limits: { segmentBytes: 4 * 1024 * 1024 },
  server: { port: 0 },
};

/** A folder with a database and, unless `options` is null, a configuration. */
export function openShop(t: TestContext, options: object | null = {}): Shop {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
  const children = new Set<Started>();
  const database = new DatabaseSync(join(folder, 'shop.db'), { timeout: 10_000 });
  database.exec(`PRAGMA journal_mode=WAL; ${tables}`);
  const write = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(folder, name), content);
    return name;
  };
  if (options) write('holdfast.config.json', JSON.stringify({ ...config, ...options }));
  const start = (args: readonly string[], given: RunOptions = {}): Started => {
    const started = startChild(folder, args, given);
    children.add(started);
    return started;
  };
  t.after(async () => {
    for (const { child, ended } of children) {
      child.kill('SIGKILL');
      await ended;
    }
    database.close();
    rmSync(folder, { recursive: true });
  });
  return {
    folder,
    start,
    run: (args, given) => start(args, given).ended,
    write,
    query: (sql) =>
      database
        .prepare(sql)
        .all()
        .map((row) => ({ ...row })),
  };
}

function startChild(folder: string, args: readonly string[], options: RunOptions): Started {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, [main, ...args], {
    cwd: options.cwd ?? folder,
    env: { PATH, ...options.env },
    stdio: 'pipe',
  });
  // A child that does not read all of its input is no failure of the test.
  child.stdin.on('error', () => child.stdin.destroy());
  child.stdin.write(options.stdin ?? '');
  if (!options.isEndless) child.stdin.end();
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    said.stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said.stderr += chunk;
  });
  const ended = once(child, 'close').then(() => ({ exit: child.exitCode, ...said }));
  const line = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const found = said.stdout
        .split('\n')
        .slice(0, -1)
        .find((own) => pattern.test(own));
      if (found !== undefined) return found;
      assert.equal(child.exitCode, null, `it ended before it said ${pattern}`);
      await Promise.race([once(child.stdout, 'data'), ended]);
    }
  };
  return { child, ended, line };
}

/** The one JSON object that `--json` promises. */
export function jsonOf<T = { readonly [name: string]: unknown }>({ stdout }: Ended): T {
  assert.equal(stdout.trim().split('\n').length, 1, `one line, not: ${stdout}`);
  return JSON.parse(stdout);
}

export interface Failed {
  readonly code: string;
  readonly outcome: string;
  readonly message: string;
}

export const failedOf = (ended: Ended): Failed => jsonOf<Failed>(ended);

/** CSV lines of payments `from` to `to`, without a header. */
export function payments(from: number, to: number): string {
  let lines = '';
  for (let i = from; i <= to; i++) lines += `${i},${i % 97},${i % 50}.25,paid\n`;
  return lines;
}
