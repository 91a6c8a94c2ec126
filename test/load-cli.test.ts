// `holdfast load` from outside, ended in every way: what it leaves behind, and how it goes on.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { LoadResult } from '../src/types.ts';
import { failedOf, jsonOf, openShop } from './support/command-line.ts';

test('stdin is loaded too, and is said not to be resumable', async (t) => {
  const shop = openShop(t);
  const stdin = '{"tx_id":1,"user_id":2,"amount":0.10}\n';
  const args = ['load', '-', '--format', 'ndjson', '--stream', 'payments'];
  const ended = await shop.run(args, { stdin });
  assert.equal(ended.exit, 0, ended.stderr);
  assert.match(ended.stderr, /cannot be resumed/);
  assert.match(ended.stdout, /^1 row accepted .* 1 merged/);
});

/** 30 MB, so that a load of them can be ended in the middle. */
const noteCount = 60_000;
const manyNotes = (): string =>
  Array.from({ length: noteCount }, (_, i) => `{"body":"${i} ${'x'.repeat(500)}"}\n`).join('');

test('a load that is killed goes on; rows without a key are not lost nor doubled', async (t) => {
  const shop = openShop(t);
  shop.write('n.ndjson', manyNotes());
  const args = ['load', 'n.ndjson', '--stream', 'notes', '--json'];
  const isUnderWay = () => Number(shop.query('SELECT count(*) AS n FROM notes')[0]?.['n']) > 0;
  const killed = shop.start(args);
  while (!isUnderWay() && killed.child.exitCode === null) await new Promise(setImmediate);
  killed.child.kill('SIGKILL');
  assert.equal((await killed.ended).stdout, '');
  const again = await shop.run(args);
  assert.equal(again.exit, 0, again.stderr);
  const result = jsonOf<LoadResult>(again);
  assert.equal(result.accepted, noteCount);
  assert.equal(result.merged, noteCount);
  const [found] = shop.query('SELECT count(*) AS n, count(DISTINCT body) AS bodies FROM notes');
  assert.deepEqual(found, { n: noteCount, bodies: noteCount });
});

test('an interrupted load ends in good order, says how to go on, and then does', async (t) => {
  const shop = openShop(t);
  shop.write('n.ndjson', manyNotes());
  const args = ['load', 'n.ndjson', '--stream', 'notes', '--json'];
  const isUnderWay = () => Number(shop.query('SELECT count(*) AS n FROM notes')[0]?.['n']) > 0;
  const started = shop.start(args);
  while (!isUnderWay() && started.child.exitCode === null) await new Promise(setImmediate);
  started.child.kill('SIGINT');
  const ended = await started.ended;
  assert.equal(failedOf(ended).code, 'HF_ABORTED');
  assert.equal(ended.exit, 4);
  assert.match(ended.stderr, /Start the same command again/);
  assert.equal(jsonOf<LoadResult>(await shop.run(args)).merged, noteCount);
  assert.equal(shop.query('SELECT count(*) AS n FROM notes')[0]?.['n'], noteCount);
});

test('a load whose result nobody read is reported again, and not repeated', async (t) => {
  const shop = openShop(t);
  shop.write('n.ndjson', '{"body":"one"}\n{"body":"two"}\n');
  const args = ['load', 'n.ndjson', '--stream', 'notes', '--json'];
  const unread = shop.start(args);
  unread.child.stdout?.destroy();
  assert.notEqual((await unread.ended).exit, 0);
  const again = async () => jsonOf<LoadResult>(await shop.run(args)).merged;
  const rows = () => shop.query('SELECT count(*) AS n FROM notes')[0]?.['n'];
  assert.equal(rows(), 2);
  assert.equal(await again(), 2);
  assert.equal(rows(), 2);
  // Reported: the same file is a new load from now on.
  assert.equal(await again(), 2);
  assert.equal(rows(), 4);
});

test('a load of stdin that a signal ends leaves no copy of it behind', async (t) => {
  const shop = openShop(t);
  const server = shop.start(['serve']);
  await server.line(/^Listening on /);
  const copies = join(shop.folder, 'copies');
  mkdirSync(copies);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL'] as const) {
    const stdin = '{"body":"one"}\n'.repeat(300_000);
    const args = ['load', '-', '--format', 'ndjson', '--stream', 'notes'];
    const { child, ended } = shop.start(args, { stdin, isEndless: true, env: { TMPDIR: copies } });
    // Most of it has been read: no more than what a pipe holds is on its way.
    while (child.stdin?.writableLength !== 0) await setTimeout(5);
    child.kill(signal);
    await ended;
    assert.deepEqual(readdirSync(copies), [], signal);
  }
});
