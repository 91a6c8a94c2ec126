// A real process that is killed at moments that chance chooses, again and again in one folder.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { open } from '../src/index.ts';
import { Random } from './simulation/random.ts';
import {
  childOptions,
  childRows,
  childTable,
  shopPath,
  writersMax,
} from './support/crash-folder.ts';
import { temporaryFolder } from './support/journals.ts';

const kills = 15;
const perLifeMax = 100_000;
const child = join(import.meta.dirname, 'support/crash-child.ts');

/** Lets a process write from a number on and kills it; says what it had acknowledged. */
async function liveAndDie(folder: string, first: number, random: Random): Promise<number[]> {
  const args = [child, folder, String(first), String(first + perLifeMax)];
  const started = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(started, 'exit');
  let text = '';
  started.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const closed = once(started.stdout, 'close');
  // Some die while they open, the others among their writes.
  if (random.chance(0.7)) {
    await Promise.race([once(started.stdout, 'data'), exited]);
    await pause(random.below(150));
  } else await pause(100 + random.below(200));
  started.kill('SIGKILL');
  await Promise.all([exited, closed]);
  assert.equal(started.signalCode, 'SIGKILL', 'it lives until it is killed');
  return text.split('\n').slice(0, -1).map(Number);
}

/** Sends all up to `last` once more, settles it, and returns how many were already known. */
async function finish(folder: string, last: number): Promise<number> {
  const holdfast = await open(childOptions(folder));
  let known = 0;
  for (let number = 1; number <= last; number++) {
    const options = { idempotencyKey: String(number) };
    const { repeated } = await holdfast.write('events', childRows(number), options);
    if (repeated) known++;
  }
  await holdfast.close({ drainMs: 30_000 });
  return known;
}

function checkTable(folder: string, last: number): void {
  const database = new DatabaseSync(shopPath(folder));
  const found = database.prepare('SELECT id, note FROM events ORDER BY id').all();
  database.close();
  const sent = Array.from({ length: last }, (_, i) => childRows(i + 1)).flat();
  assert.equal(found.length, sent.length);
  for (const [i, { id, note }] of sent.entries()) {
    assert.deepEqual({ ...found[i] }, { id, note });
  }
}

test(`killed ${kills} times, a process loses and doubles nothing it acknowledged`, async (t) => {
  const temporary = temporaryFolder();
  const { path } = temporary;
  t.after(() => temporary.remove());
  const database = new DatabaseSync(shopPath(path));
  database.exec(childTable);
  database.close();
  const random = new Random(1);
  const acknowledged = new Set<number>();
  let productive = 0;
  for (let i = 0; i < kills; i++) {
    let first = 1;
    while (acknowledged.has(first)) first++;
    const told = await liveAndDie(path, first, random);
    for (const number of told) acknowledged.add(number);
    if (told.length > 0) productive++;
  }
  // Those that were in flight at a kill may be written or not.
  const last = Math.max(...acknowledged) + writersMax;
  const known = await finish(path, last);
  assert(known >= acknowledged.size, `${known} of ${acknowledged.size} are remembered`);
  checkTable(path, last);
  assert(productive >= kills / 3, `${productive} processes wrote before they were killed`);
  assert(acknowledged.size >= 100, `${acknowledged.size} requests were acknowledged`);
});
