// Loads through the library: parts go to the disk while the next ones are read.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import { open } from '../src/holdfast.ts';
import { diskWith, temporaryFolder } from './support/journals.ts';

const syncMs = 60;

/** A Holdfast with a table without a key, on a disk whose syncs beside other work do as told. */
async function openShop(t: TestContext, sync: () => Promise<void>) {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const path = join(folder.path, 'target.db');
  const database = new DatabaseSync(path);
  t.after(() => database.close());
  database.exec('PRAGMA journal_mode=WAL; CREATE TABLE rows (note TEXT NOT NULL) STRICT');
  const disk = diskWith({
    open: (name, mode) => {
      const file = systemDisk.open(name, mode);
      const syncAside = async (): Promise<void> => {
        await sync();
        await file.syncAside();
      };
      return { ...file, syncAside };
    },
  });
  const streams = { rows: { table: 'rows' } };
  const settings = { journal: join(folder.path, 'journal'), target: `sqlite:${path}`, streams };
  const holdfast = await open(
    { ...settings, loaderThread: 'own' },
    { disk, clock: systemClock, pid: process.pid },
  );
  t.after(() => holdfast.close());
  const notes = () => database.prepare('SELECT note FROM rows ORDER BY note').all();
  return { holdfast, notes };
}

const lines = Array.from({ length: 5 }, (_, i) => Buffer.from(`{"note":"line ${i}"}\n`));

test('a load whose input breaks off knows all that is on its way to the disk', async (t) => {
  const { holdfast, notes } = await openShop(t, () => sleep(syncMs));
  const whole = Buffer.concat(lines);
  const digest = createHash('sha256').update(whole).digest('hex');
  const told: number[] = [];
  const options = {
    format: 'ndjson',
    source: { size: whole.length, digest },
    onProgress: ({ bytes }: { readonly bytes: number }) => told.push(bytes),
  } as const;
  async function* broken() {
    yield* lines.slice(0, 3);
    throw new Error('the line is dead');
  }
  const begun = await holdfast.beginLoad('rows', options);
  await assert.rejects(holdfast.continueLoad(begun, broken(), options), /the line is dead/);
  const taken = lines.slice(0, 3).reduce((sum, line) => sum + line.length, 0);
  const again = await holdfast.beginLoad('rows', options);
  assert.deepEqual([again.offset, again.accepted], [taken, 3]);
  assert.deepEqual(
    told,
    [1, 2, 3].map((n) => (n * taken) / 3),
    'progress tells of what is on disk',
  );
  const rest = Readable.from([whole.subarray(again.offset)]);
  assert.equal((await holdfast.continueLoad(again, rest, options)).merged, 5);
  assert.deepEqual(
    notes().map(({ note }) => note),
    [0, 1, 2, 3, 4].map((i) => `line ${i}`),
  );
});

test('a load whose part failed says so though its input is silent', async (t) => {
  const broken = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
  const { holdfast } = await openShop(t, () => Promise.reject(broken));
  const { promise: silence, resolve: end } = Promise.withResolvers<void>();
  t.after(() => end());
  async function* input() {
    yield* lines;
    await silence;
  }
  const load = holdfast.load('rows', input(), { format: 'ndjson' });
  await assert.rejects(load, { code: 'HF_JOURNAL_FAILED', outcome: 'unknown' });
});

/** What these wait for may never come. */
const bounded = { timeout: 20_000 };

test('a load whose input does not end keeps nobody from closing', bounded, async (t) => {
  const { holdfast } = await openShop(t, () => Promise.resolve());
  const { promise: silence, resolve: end } = Promise.withResolvers<void>();
  t.after(() => end());
  async function* input() {
    yield* lines;
    await silence;
  }
  const load = holdfast.load('rows', input(), { format: 'ndjson' });
  const told = assert.rejects(load, { code: 'HF_DRAINING', outcome: 'unknown' });
  while ((await holdfast.status()).streams['rows']?.accepted !== lines.length) await sleep(5);
  await holdfast.close();
  await told;
});
