import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import { HoldfastError } from '../src/errors.ts';
import { open } from '../src/holdfast.ts';
import type { OpenOptions } from '../src/options.ts';
import { Watermarks } from '../src/watermarks.ts';
import { diskWith, syncedBy, temporaryFolder } from './support/journals.ts';

/** Waits for who has the lock at that moment, as the loader may just after an open. */
const shopAt = (path: string) => new DatabaseSync(path, { timeout: 60_000 });

/** A folder with a SQLite file and options to open it. */
function shopIn(t: TestContext) {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const path = join(folder.path, 'shop.db');
  const database = new DatabaseSync(path);
  database.exec('CREATE TABLE orders (id INTEGER PRIMARY KEY, body TEXT NOT NULL)');
  database.close();
  const options: OpenOptions = {
    journal: join(folder.path, 'journal'),
    target: `sqlite:${path}`,
    streams: { orders: { table: 'orders', key: ['id'] } },
    limits: { segmentBytes: 1024 * 1024 },
  };
  return { path, options };
}

const isRefusal =
  (code: string, outcome: string) =>
  (error: unknown): boolean =>
    error instanceof HoldfastError && error.code === code && error.outcome === outcome;

test('an open that fails lets go of the journal', async (t) => {
  const { options } = shopIn(t);
  await assert.rejects(open({ ...options, target: 'oracle://x' }), HoldfastError);
  const noTable = { orders: { table: 'nothing', key: ['id'] } };
  await assert.rejects(open({ ...options, streams: noTable }), HoldfastError);
  const holdfast = await open(options);
  await holdfast.close();
});

test('no file of the journal is mapped into memory: a dead disk would be a SIGBUS', async (t) => {
  const { options } = shopIn(t);
  const holdfast = await open(options);
  await holdfast.write('orders', { id: 1, body: 'a' });
  const mapped = readFileSync('/proc/self/maps', 'utf8').split('\n');
  await holdfast.close();
  const own = mapped.filter((line) => line.includes(options.journal));
  assert.deepEqual(own, []);
});

test('an open that finds no room for its requests can be tried again at once', async (t) => {
  const { options } = shopIn(t);
  const disk = diskWith({
    database: (path) => {
      const full = { code: 'ERR_SQLITE_ERROR', errcode: 13 };
      return Object.assign(systemDisk.database(path), {
        exec: () => {
          throw Object.assign(new Error('database or disk is full'), full);
        },
      });
    },
  });
  const opened = open(options, { disk, clock: systemClock });
  await assert.rejects(opened, { code: 'HF_JOURNAL_FULL', outcome: 'not written' });
  await (await open(options)).close();
});

/** Another program that holds `requests.db` for so long, and does so when this resolves. */
async function holdRequests(t: TestContext, journal: string, ms: number): Promise<void> {
  const program = `
    const database = new (require('node:sqlite').DatabaseSync)(process.argv[1]);
    database.exec('PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE');
    console.log('held');
    setTimeout(() => process.exit(), ${ms});`;
  const holder = spawn(process.execPath, ['-e', program, join(journal, 'requests.db')]);
  t.after(() => holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
}

test('an open waits for a program that is letting go of the requests, or says so', async (t) => {
  const { options } = shopIn(t);
  await (await open(options)).close();
  await holdRequests(t, options.journal, 300);
  await (await open(options)).close();
  await holdRequests(t, options.journal, 60_000);
  await assert.rejects(open(options), {
    code: 'HF_JOURNAL_LOCKED',
    message: /requests\.db" is open in another program/,
  });
});

test('an error of the disk at open says what it means', async (t) => {
  const { options } = shopIn(t);
  for (const [code, meant] of [
    ['EIO', 'HF_JOURNAL_FAILED'],
    ['EROFS', 'HF_JOURNAL_FAILED'],
    ['ENOSPC', 'HF_JOURNAL_FULL'],
    ['EMFILE', 'HF_JOURNAL_FULL'],
  ]) {
    const disk = diskWith({
      open: () => {
        throw Object.assign(new Error(code), { code, syscall: 'open' });
      },
    });
    const opened = open(options, { disk, clock: systemClock });
    await assert.rejects(opened, { name: 'HoldfastError', code: meant, outcome: 'not written' });
  }
  await (await open(options)).close();
});

test('verify misses a ledger row that was taken away', async (t) => {
  const { options, path } = shopIn(t);
  const holdfast = await open(options);
  await holdfast.write('orders', { id: 1, body: 'a' }, { level: 'settled' });
  assert.equal((await holdfast.verify()).ok, true);
  const database = new DatabaseSync(path);
  database.exec('DELETE FROM holdfast_ledger');
  database.close();
  const { ok, differences } = await holdfast.verify();
  assert.equal(ok, false);
  assert.deepEqual(
    differences.map(({ kind }) => kind),
    ['count'],
  );
  await holdfast.close();
});

test('a key whose group met a failing sync is never said to be not written', async (t) => {
  const { options } = shopIn(t);
  let fails = false;
  const disk = diskWith({
    open: (path, mode) => {
      const file = systemDisk.open(path, mode);
      const sync = (): void => {
        if (fails) throw Object.assign(new Error('broken'), { code: 'EIO' });
        file.sync();
      };
      return syncedBy(file, sync);
    },
  });
  const own = { ...options, loaderThread: 'own' } as const;
  const holdfast = await open(own, { disk, clock: systemClock });
  await holdfast.write('orders', { id: 1, body: 'a' }, { level: 'settled' });
  fails = true;
  const keyed = () =>
    holdfast.write('orders', { id: 2, body: 'b' }, { idempotencyKey: 'k', atBound: 'refuse' });
  const [first, twin] = await Promise.allSettled([keyed(), keyed()]);
  for (const ended of [first, twin]) {
    assert.ok(ended.status === 'rejected');
    assert.ok(isRefusal('HF_JOURNAL_FAILED', 'unknown')(ended.reason), String(ended.reason));
  }
  await assert.rejects(keyed(), isRefusal('HF_JOURNAL_FAILED', 'unknown'));
  const other = () => holdfast.write('orders', { id: 3, body: 'c' }, { idempotencyKey: 'm' });
  await assert.rejects(other(), isRefusal('HF_JOURNAL_FAILED', 'not written'));
  fails = false;
  await holdfast.close({ drainMs: 0 });
});

test('a request that cannot be read back when its rows settle ends no process', async (t) => {
  const { options, path } = shopIn(t);
  const shop = shopAt(path);
  const before = await open(options);
  await before.write('orders', { id: 1, body: 'a' }, { level: 'settled' });
  shop.exec('BEGIN IMMEDIATE');
  await before.write('orders', { id: 2, body: 'b' });
  await before.close({ drainMs: 0 });
  let isBroken = false;
  const database = (file: string): DatabaseSync =>
    new Proxy(systemDisk.database(file), {
      get: (requests, name) => {
        if (isBroken) throw Object.assign(new Error('disk I/O error'), { errcode: 778 });
        const own: unknown = Reflect.get(requests, name, requests);
        return typeof own === 'function' ? own.bind(requests) : own;
      },
    });
  const holdfast = await open(options, { disk: diskWith({ database }), clock: systemClock });
  isBroken = true;
  shop.exec('ROLLBACK');
  shop.close();
  assert.match((await holdfast.failed).message, /disk I\/O error/);
  const write = holdfast.write('orders', { id: 3, body: 'c' });
  await assert.rejects(write, isRefusal('HF_JOURNAL_FAILED', 'not written'));
  isBroken = false;
  await holdfast.close();
});

test('a close without a drain is soon over, and calls no row unknown', async (t) => {
  const { options, path } = shopIn(t);
  const shop = shopAt(path);
  const holdfast = await open(options);
  shop.exec('BEGIN IMMEDIATE');
  const asked = await holdfast.write('orders', { id: 1, body: 'a' });
  const early = asked.settled;
  early.catch(() => undefined);
  const kept = await holdfast.write('orders', { id: 2, body: 'b' });
  // A drain that would never end: who closes again may be in a greater hurry.
  const patient = holdfast.close({ drainMs: Number.POSITIVE_INFINITY });
  await holdfast.close({ drainMs: 0 });
  await patient;
  const late = [early, kept.settled, kept.confirmed, kept.settled];
  for (const level of late) await assert.rejects(level, isRefusal('HF_NOT_SETTLED', 'written'));
  shop.exec('ROLLBACK');
  const next = await open(options);
  await next.close();
  assert.deepEqual(shop.prepare('SELECT id FROM orders ORDER BY id').all().length, 2);
  shop.close();
});

test('ends that a target forgot in a failover are not counted twice', () => {
  const marks = new Watermarks(Float64Array.of(10, 10), Float64Array.of(0, 0));
  const counts = { merged: 4, duplicates: 0, superseded: 0, deadLetters: 0 };
  marks.settle([{ lane: 0, first: 1, last: 10, rowCount: 10, ends: null }]);
  marks.settle([{ lane: 1, first: 1, last: 10, rowCount: 10, ends: null }]);
  marks.confirm([{ lane: 0, last: 10 }]);
  marks.adopt([{ lane: 0, epoch: 1, staged: 4, settled: 4, ...counts }]);
  assert.deepEqual([marks.totals.merged, marks.confirmed[0]], [14, 4]);
  marks.settle([{ lane: 0, first: 5, last: 10, rowCount: 6, ends: null }]);
  assert.equal(marks.totals.merged, 20);
});

/**
 * Eight requests, confirmed and closed; so large that the last segment's checkpoint knows of
 * confirmed records. Answers with the receipt of the first.
 */
async function confirmEight(options: OpenOptions): Promise<string> {
  const holdfast = await open(options);
  const receipts: string[] = [];
  for (let id = 1; id <= 8; id++) {
    const row = { id, body: 'x'.repeat(20_000) };
    const receipt = await holdfast.write('orders', row, { idempotencyKey: `order ${id}` });
    await receipt.confirmed;
    receipts.push(receipt.id);
  }
  await holdfast.close();
  return receipts[0] ?? '';
}

const small = { segmentBytes: 64 * 1024, retentionMsMin: 0, retentionBytesMin: 0 };

test('before the target was asked, nothing is called missing', async (t) => {
  const { options: given, path } = shopIn(t);
  const options = { ...given, limits: small };
  await confirmEight(options);
  const busy = new DatabaseSync(path);
  busy.exec('BEGIN EXCLUSIVE');
  const again = await open(options);
  const { orders } = (await again.status()).streams;
  assert((orders?.watermarks.settled ?? 0) > 0, 'the journal knows that some are settled');
  assert.deepEqual([orders?.accepted, orders?.inFlight, orders?.unaccounted], [8, 8, 0]);
  busy.close();
  await again.close();
});

test('a receipt answers while the target does not', { timeout: 60_000 }, async (t) => {
  const { options: given, path } = shopIn(t);
  const options = { ...given, limits: small };
  const receipt = await confirmEight(options);
  // As after a crash that came before its ends were kept.
  const requests = new DatabaseSync(join(options.journal, 'requests.db'));
  requests.exec('UPDATE requests SET counts = NULL');
  requests.close();
  const busy = new DatabaseSync(path);
  busy.exec('BEGIN EXCLUSIVE');
  const holdfast = await open(options);
  const told = await holdfast.receipt(receipt);
  assert.deepEqual(told, { receipt, stream: 'orders', accepted: 1, level: 'confirmed' });
  busy.close();
  await holdfast.close();
});
