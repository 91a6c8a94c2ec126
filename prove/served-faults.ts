// A part of campaign `faults`: `holdfast serve`, asked over HTTP, as its users and their monitoring
// see it: what it answers where its disk fails, is full, or its memory is small, and how it leaves.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { open } from '../src/index.ts';
import { childOptions, childRows, childTable, shopPath } from '../test/support/crash-folder.ts';
import type { RealAttack } from './call-errors.ts';
import { checkTable, Violation } from './oracle.ts';
import { lifeEnvironment } from './process-folder.ts';
import { SmallDisk } from './small-disk.ts';
import { injecting, journalPaths } from './strace.ts';

const main = join(import.meta.dirname, '../src/cli/main.ts');
const failedExit = 70;
const full = 507;
const retryMs = 50;
const loadRequests = 400;
const sendersAtOnce = 50;

interface Answer {
  /** 0: none came. */
  readonly status: number;
  readonly outcome: string | undefined;
}

const noAnswer: Answer = { status: 0, outcome: undefined };

class Served {
  readonly path: string;
  readonly acknowledged = new Set<number>();
  sent = 0;
  #child: ChildProcess | undefined;
  #url = '';

  constructor(path: string) {
    this.path = path;
    mkdirSync(path, { recursive: true });
    const database = new DatabaseSync(shopPath(path));
    database.exec(childTable);
    database.close();
    const config = { ...childOptions(path, 'worker'), server: { port: 0 } };
    writeFileSync(join(path, 'holdfast.config.json'), JSON.stringify(config));
  }

  /** Resolves when it listens. */
  async start(under: readonly string[], node: readonly string[] = []): Promise<void> {
    const own = [...node, main, 'serve', '--json'];
    const [command = '', ...args] = [...under, process.execPath, ...own];
    const child = spawn(command, args, {
      cwd: this.path,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: lifeEnvironment(),
    });
    this.#child = child;
    const lines = createInterface({ input: child.stdout });
    const [line] = (await Promise.race([once(lines, 'line'), once(child, 'close')])) as [unknown];
    if (typeof line !== 'string') throw new Violation('wrong', 'the server did not come to listen');
    this.#url = (JSON.parse(line) as { listening: string }).listening;
  }

  async ask(path: string, init: RequestInit = {}): Promise<Answer> {
    try {
      const answer = await fetch(this.#url + path, init);
      const text = await answer.text();
      const isJson = answer.headers.get('content-type')?.startsWith('application/json');
      const { outcome } = (isJson ? JSON.parse(text) : {}) as { outcome?: string };
      return { status: answer.status, outcome };
    } catch (error) {
      // The server left, or is leaving.
      if (error instanceof TypeError) return noAnswer;
      throw error;
    }
  }

  async send(number: number): Promise<Answer> {
    this.sent = Math.max(this.sent, number);
    const answer = await this.ask('/v1/streams/events/records', {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson', 'idempotency-key': String(number) },
      body: childRows(number)
        .map((row) => `${JSON.stringify(row)}\n`)
        .join(''),
    });
    if (answer.status >= 200 && answer.status < 300) this.acknowledged.add(number);
    return answer;
  }

  /** Its exit code, or the signal that ended it. */
  async end(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    const child = this.#child;
    if (!child) return null;
    if (signal) child.kill(signal);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
    return child.signalCode ?? child.exitCode;
  }

  /** The next process settles what this one left; each acknowledged row is there once. */
  async audit(): Promise<number> {
    const holdfast = await open(childOptions(this.path, 'own'));
    await holdfast.close({ drainMs: 60_000 });
    const database = new DatabaseSync(shopPath(this.path));
    const found = database.prepare('SELECT id, note FROM events').all();
    database.close();
    const rows = found.map(({ id, note }) => ({ id: Number(id), note }));
    const sent = Array.from({ length: this.sent }, (_, i) => childRows(i + 1)).flat();
    const acknowledged = [...this.acknowledged].flatMap((number) => childRows(number));
    checkTable({ table: 'events', found: rows, sent, acknowledged });
    return rows.length;
  }
}

/** The k-th sync fails: no acknowledgement after it, no good health, and its own exit code. */
async function syncFails({ root, tally, random }: RealAttack): Promise<void> {
  const served = new Served(mkdtempSync(join(root, 'served-')));
  const at = 12 + random.below(12);
  const isLasting = random.chance(0.5);
  const injection = { call: 'fdatasync', at, isLasting, effect: 'error=EIO' } as const;
  await served.start(['strace', ...injecting(journalPaths(served.path), injection)]);
  let failedAt = 0;
  for (let number = 1; number <= 60; number++) {
    const { status, outcome } = await served.send(number);
    const isTaken = status >= 200 && status < 300;
    if (isTaken && failedAt > 0) {
      throw new Violation('wrong', `request ${number} was taken after ${failedAt} had failed`);
    }
    if (isTaken) continue;
    if (status !== 0 && outcome !== 'unknown' && outcome !== 'not written') {
      throw new Violation('wrong', `request ${number} got ${status} and "${outcome}"`);
    }
    failedAt ||= number;
    const health = await served.ask('/healthz');
    if (health.status === 200) throw new Violation('wrong', 'it failed, and says that it is well');
    if (status === 0) break;
  }
  if (failedAt === 0) {
    await served.end('SIGKILL');
    throw new Violation('wrong', 'a sync failed, and all requests were taken');
  }
  const exit = await served.end();
  if (exit !== failedExit) throw new Violation('wrong', `a sync failed, and it left with ${exit}`);
  assert(served.acknowledged.size > 0, 'it had acknowledged before');
  tally.see('real: servers that failed');
  tally.see('rows checked', await served.audit());
}

/** 507 while there is no room, and not ready; then it takes rows again, without a restart. */
async function fullServer({ root, tally }: RealAttack): Promise<void> {
  const disk = new SmallDisk(mkdtempSync(join(root, 'disk-')), 'tmpfs');
  const served = new Served(join(disk.path, 'folder'));
  try {
    await served.start([]);
    for (let number = 1; number <= 5; number++) await served.send(number);
    disk.fill(30 * 1024);
    let number = 6;
    let answer = await served.send(number);
    while (answer.status < 300 && answer.status !== 0) answer = await served.send(++number);
    const refusal = `${answer.status} ${answer.outcome}`;
    if (refusal !== `${full} not written`) throw new Violation('wrong', `full, it says ${refusal}`);
    const ready = await served.ask('/readyz');
    if (ready.status !== 503) throw new Violation('wrong', `full, /readyz says ${ready.status}`);
    disk.relieve();
    while (answer.status === full) {
      await pause(retryMs);
      answer = await served.send(number);
    }
    if (answer.status >= 300) throw new Violation('wrong', `with room it says ${answer.status}`);
    for (let more = 0; more < 20; more++) await served.send(++number);
    assert.equal(await served.end('SIGTERM'), 0, 'it drains and leaves');
    assert.equal(served.acknowledged.size, number, 'all were taken in the end');
    tally.see('real: servers that were full');
    tally.see('rows checked', await served.audit());
  } finally {
    await served.end('SIGKILL');
    disk.remove();
  }
}

/** With little memory under load it refuses or waits; it neither dies nor forgets. */
async function smallHeap({ root, tally }: RealAttack): Promise<void> {
  const served = new Served(mkdtempSync(join(root, 'served-')));
  await served.start([], ['--max-old-space-size=64']);
  let next = 1;
  const sender = async (): Promise<void> => {
    while (next <= loadRequests) await served.send(next++);
  };
  await Promise.all(Array.from({ length: sendersAtOnce }, sender));
  assert.equal(await served.end('SIGTERM'), 0, 'it lives through the load');
  assert(served.acknowledged.size > 100, 'it took rows');
  tally.see('real: small heaps');
  tally.see('rows checked', await served.audit());
}

/** One of each; what wants strace, or root, is left out without it. */
export const servedFaults = (hasStrace: boolean, isRoot: boolean) => ({
  'a server with little memory': smallHeap,
  ...(hasStrace && { 'a sync of a server fails': syncFails }),
  ...(isRoot && { 'the disk of a server is full': fullServer }),
});
