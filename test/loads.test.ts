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
import type { LoadOptions } from '../src/types.ts';
import { diskWith, temporaryFolder } from './support/journals.ts';

const syncMs = 60;

/** A Holdfast with a table without a key, on a disk whose syncs (aside, alone) do as told. */
async function openShop(
  t: TestContext,
  aside: () => Promise<void>,
  alone: () => void = () => undefined,
) {
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
        await aside();
        await file.syncAside();
      };
      const sync = (): void => {
        alone();
        file.sync();
      };
      return { ...file, sync, syncAside };
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
  return { holdfast, notes, settings };
}

/** The first `count` of these chunks, and then the end of the line. */
async function* broken(chunks: readonly Uint8Array[], count: number) {
  yield* chunks.slice(0, count);
  throw new Error('the line is dead');
}

/** A load that is known by what the input says of itself. */
const known = (input: Uint8Array): LoadOptions => {
  const digest = createHash('sha256').update(input).digest('hex');
  return { format: 'ndjson', source: { size: input.length, digest } };
};

const lines = Array.from({ length: 5 }, (_, i) => Buffer.from(`{"note":"line ${i}"}\n`));

test('a load whose input breaks off knows all that is on its way to the disk', async (t) => {
  const { holdfast, notes } = await openShop(t, () => sleep(syncMs));
  const whole = Buffer.concat(lines);
  const told: number[] = [];
  const onProgress: LoadOptions['onProgress'] = ({ bytes }) => told.push(bytes);
  const options = { ...known(whole), onProgress };
  const begun = await holdfast.beginLoad('rows', options);
  const first = holdfast.continueLoad(begun, broken(lines, 3), options);
  await assert.rejects(first, /the line is dead/);
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

test('a chunk is the caller’s again once the next one is asked for', async (t) => {
  const { holdfast, notes } = await openShop(t, async () => undefined);
  // Of a line that does not end, more is waited for: several chunks are kept.
  const long = 'long '.repeat(100);
  const last = Buffer.from(`{"note":"${long}"}\n{"not one"}\n`);
  const whole = Buffer.concat([...lines, last]);
  async function* input() {
    // A Buffer that is filled anew for each chunk; lines begin in one and end in the next.
    const own = Buffer.alloc(30);
    for (let at = 0; at < whole.length; at += own.length) {
      yield own.subarray(0, whole.copy(own, 0, at));
      own.fill('x');
    }
  }
  const result = await holdfast.load('rows', input(), { format: 'ndjson', invalid: 'dead-letter' });
  assert.deepEqual([result.merged, result.deadLetters], [6, 1]);
  assert.deepEqual(
    notes().map(({ note }) => String(note)),
    [long, ...[0, 1, 2, 3, 4].map((i) => `line ${i}`)].toSorted(),
  );
  const [letter] = await holdfast.deadLetters.list();
  assert.equal(Buffer.from(letter?.raw ?? []).toString(), '{"not one"}');
});

test('a load goes on only with the input that it has taken', async (t) => {
  const { holdfast, notes } = await openShop(t, async () => undefined);
  const whole = Buffer.concat(lines);
  const options = known(whole);
  const dies = (chunks: readonly Uint8Array[], count: number) =>
    assert.rejects(holdfast.load('rows', broken(chunks, count), options), /the line is dead/);
  const changed = { code: 'HF_LOAD_CHANGED', outcome: 'written', retryable: false };
  const isRefused = (...chunks: readonly Uint8Array[]) =>
    assert.rejects(holdfast.load('rows', Readable.from(chunks), options), changed);
  await dies(lines, 2);
  const other = Buffer.from(whole);
  other[9] = 'L'.charCodeAt(0);
  await isRefused(other);
  await isRefused(whole.subarray(0, 30));
  await isRefused();
  // The end of the line is in the middle of a row, behind one more whole row.
  await dies([whole.subarray(0, 1), whole.subarray(1, 70), whole.subarray(70)], 2);
  const { offset } = await holdfast.beginLoad('rows', options);
  assert.equal(offset, 3 * (whole.length / 5));
  await isRefused(other);
  other[9] = whole[9] ?? 0;
  other[offset - 3] = 'X'.charCodeAt(0);
  await isRefused(other.subarray(0, 40), other.subarray(40));
  const bytes = Array.from(whole, (byte) => Uint8Array.of(byte));
  assert.equal((await holdfast.load('rows', Readable.from(bytes), options)).merged, 5);
  assert.equal(new Set(notes().map(({ note }) => note)).size, 5);
});

test('a load goes on from the marks of an earlier version, which have no digest', async (t) => {
  const { holdfast, notes, settings } = await openShop(t, async () => undefined);
  const whole = Buffer.concat(lines);
  const options = known(whole);
  await assert.rejects(holdfast.load('rows', broken(lines, 2), options), /the line is dead/);
  await holdfast.close();
  const requests = new DatabaseSync(join(settings.journal, 'requests.db'));
  requests.exec("UPDATE requests SET body = json_remove(body, '$.load.digest')");
  requests.close();
  for (const count of [3, 5]) {
    const next = await open(settings);
    const { offset, prefix } = await next.beginLoad('rows', options);
    assert.deepEqual([offset, prefix], [((count === 3 ? 2 : 3) * whole.length) / 5, undefined]);
    const load = next.load('rows', count === 3 ? broken(lines, 3) : Readable.from(lines), options);
    if (count === 3) await assert.rejects(load, /the line is dead/);
    else assert.equal((await load).merged, 5);
    await next.close();
  }
  assert.equal(notes().length, 5);
});

test('a load whose part failed says so though its input is silent', async (t) => {
  const broken = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
  let isBroken = false;
  const fail = (): void => {
    if (isBroken) throw broken;
  };
  const { holdfast } = await openShop(t, async () => fail(), fail);
  isBroken = true;
  const { promise: silence, resolve: end } = Promise.withResolvers<void>();
  t.after(() => end());
  async function* input() {
    yield* lines;
    await silence;
  }
  const load = holdfast.load('rows', input(), { format: 'ndjson' });
  await assert.rejects(load, { code: 'HF_JOURNAL_FAILED', outcome: 'unknown' });
  // What the disk has of that part, the next process will see.
  const begun = holdfast.beginLoad('rows', { format: 'ndjson' });
  await assert.rejects(begun, { code: 'HF_JOURNAL_FAILED', outcome: 'unknown' });
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
  const told = assert.rejects(load, { code: 'HF_ABORTED', outcome: 'written' });
  while ((await holdfast.status()).streams['rows']?.accepted !== lines.length) await sleep(5);
  await holdfast.close();
  await told;
});
