// Groups of a busy journal: their syncs leave the thread free for others.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import { HoldfastError } from '../src/errors.ts';
import type { Placed } from '../src/journal/group.ts';
import { Journal } from '../src/journal/journal.ts';
import { readJournal } from '../src/journal/recovery.ts';
import { limits } from '../src/limits.ts';
import { diskWith, journalOptions, parcelOf, temporaryFolder } from './support/journals.ts';

interface Held {
  readonly journal: Journal;
  readonly directory: string;
  /** The first parcel, whose sync is under way. */
  readonly first: Promise<Placed>;
  readonly end: (error?: Error) => void;
  /** Writes to the segment, and syncs that leave the thread free, since it was opened. */
  readonly seen: { writes: number; syncs: number };
  /** The journal's clock stands still, but where a test moves it. */
  readonly time: { ms: number };
}

/** A journal whose sync is under way until `end` is called; later ones take no time. */
async function heldJournal(t: TestContext, how?: 'spares fail'): Promise<Held> {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const seen = { writes: 0, syncs: 0 };
  const time = { ms: 1 };
  let zeroed = 0;
  const { promise: ended, resolve: end } = Promise.withResolvers<Error | undefined>();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const disk = diskWith({
    createZeroed: async (path, bytes) => {
      // The first one is the journal's own.
      if (zeroed++ > 0) await begun;
      if (how === 'spares fail' && zeroed > 1)
        throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
      await systemDisk.createZeroed(path, bytes);
    },
    open: (path, mode) => {
      const file = systemDisk.open(path, mode);
      return {
        ...file,
        write: (bytes, position) => {
          seen.writes++;
          return file.write(bytes, position);
        },
        syncAside: async () => {
          seen.syncs++;
          begin();
          const error = await ended;
          if (error && seen.syncs === 1) throw error;
          await file.syncAside();
        },
      };
    },
  });
  const directory = folder.path;
  const journal = await Journal.open(
    journalOptions(directory, { disk, clock: { ...systemClock, monotonicMs: () => time.ms } }),
  );
  // The first write after a pause is synced on its caller's turn; the ones right behind it are not.
  const alone = journal.submit(parcelOf(journal, 1));
  const first = journal.submit(parcelOf(journal, 2));
  await alone;
  await begun;
  seen.writes = 0;
  return { journal, directory, first, end, seen, time };
}

const ended = (submitted: Promise<Placed>): Promise<string> =>
  submitted.then(
    () => 'durable',
    (error: unknown) => (error instanceof HoldfastError ? error.outcome : String(error)),
  );

const lastOf = (journal: Journal): number => {
  const last = journal.last.get(1) ?? new Float64Array(0);
  return last.reduce((sum, sequence) => sum + sequence, 0);
};

test('positions that went back while a sync is under way are closed with (P3)', async (t) => {
  const { journal, directory, first, end } = await heldJournal(t);
  const { id } = journal.openStream('s', 4, 'key:id');
  const confirmed = journal.confirmed.get(id);
  confirmed?.set([1, 1, 0, 0, 0]);
  journal.unconfirm();
  end();
  await Promise.all([first, journal.close()]);
  const found = readJournal(systemDisk, directory);
  assert.deepEqual(found?.confirmed.get(id), Float64Array.of(1, 1, 0, 0, 0));
});

test('while a sync is under way others are taken in, and none counts as journaled', async (t) => {
  const { journal, directory, first, end, seen } = await heldJournal(t);
  const before = journal.end;
  const second = journal.submit(parcelOf(journal, 3));
  // A shape that was not known when the group under way was formed.
  const known = parcelOf(journal, 4);
  const shape = journal.dictionary.shape(1, [0, 1]);
  const third = journal.submit({ ...known, shapes: [shape] });
  journal.mark();
  const early = await Promise.race([first, second, third, sleep(50).then(() => 'nobody')]);
  assert.equal(early, 'nobody', 'nobody is answered before the sync has ended');
  assert.deepEqual([journal.end, lastOf(journal)], [before, 1]);
  assert.deepEqual(seen, { writes: 0, syncs: 1 });
  assert.equal(journal.pendingBytes, (2 + 3 + 4) * 40);
  end();
  assert.deepEqual(
    await Promise.all([first, second, third].map(ended)),
    new Array(3).fill('durable'),
  );
  assert.deepEqual(seen, { writes: 1, syncs: 2 }, 'those that waited went together');
  assert.deepEqual([lastOf(journal), journal.pendingBytes], [10, 0]);
  await journal.close();
  const found = readJournal(systemDisk, directory);
  assert(found?.dictionary.shapes.some(({ id }) => id === shape));
});

test('after a sync that failed beside others nothing more is written', async (t) => {
  const { journal, first, end, seen } = await heldJournal(t);
  const second = journal.submit(parcelOf(journal, 3));
  end(Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' }));
  assert.deepEqual(await Promise.all([first, second].map(ended)), ['unknown', 'not written']);
  assert.equal(await ended(journal.submit(parcelOf(journal, 1))), 'not written');
  assert.deepEqual([seen, lastOf(journal)], [{ writes: 0, syncs: 1 }, 1]);
  assert.equal(journal.state, 'failed');
  await journal.close();
  assert.equal(seen.writes, 0);
});

test('a journal that is closed answers the sync that is under way first', async (t) => {
  const { journal, first, end } = await heldJournal(t);
  const second = journal.submit(parcelOf(journal, 3));
  const closed = journal.close();
  assert.equal(await Promise.race([closed, sleep(50).then(() => 'open')]), 'open');
  end();
  await closed;
  assert.deepEqual(await Promise.all([first, second].map(ended)), ['durable', 'durable']);
});

test('where syncs beside others come late, groups are synced on the caller’s turn', async (t) => {
  const { journal, first, end, seen, time } = await heldJournal(t);
  const writeTwo = () =>
    Promise.all([journal.submit(parcelOf(journal, 1)), journal.submit(parcelOf(journal, 1))]);
  time.ms += limits.asideLateMsMin + 1;
  assert.equal(journal.syncingMs, limits.asideLateMsMin + 1);
  end();
  await first;
  await writeTwo();
  assert.deepEqual([seen.syncs, journal.syncingMs], [1, 0]);
  time.ms += limits.asideWithoutMsMin;
  await writeTwo();
  assert.deepEqual([seen.syncs, lastOf(journal)], [2, 7]);
  await journal.close();
});

test('one slow sync sends nobody who writes alone aside for good', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const time = { ms: 1 };
  let asides = 0;
  let syncMs = 50;
  const disk = diskWith({
    open: (path, mode) => {
      const file = systemDisk.open(path, mode);
      const passed = (): void => {
        time.ms += syncMs;
      };
      return {
        ...file,
        sync: () => {
          file.sync();
          passed();
        },
        syncAside: async () => {
          await file.syncAside();
          passed();
          asides++;
        },
      };
    },
  });
  const journal = await Journal.open(
    journalOptions(folder.path, { disk, clock: { ...systemClock, monotonicMs: () => time.ms } }),
  );
  const writeAlone = async (): Promise<void> => {
    time.ms += 5;
    await journal.submit(parcelOf(journal, 1));
  };
  await writeAlone();
  syncMs = 1;
  await writeAlone();
  assert.equal(asides, 1, 'too soon after one that took 50 ms');
  await writeAlone();
  await writeAlone();
  assert.equal(asides, 1, 'a sync takes 1 ms, as the last ones show');
  // What keeps those aside waiting says nothing of the disk.
  const writeTwo = () =>
    Promise.all([journal.submit(parcelOf(journal, 1)), journal.submit(parcelOf(journal, 1))]);
  for (syncMs = 2; syncMs <= limits.asideLateMsMin; syncMs += 2) await writeTwo();
  syncMs = limits.asideLateMsMin + 2;
  await writeTwo();
  const before = asides;
  await writeTwo();
  assert.equal(asides, before, 'that was late');
  await journal.close();
});

test('a spare that cannot be made during a sync takes nothing from who waits for it', async (t) => {
  const { journal, first, end } = await heldJournal(t, 'spares fail');
  const second = journal.submit(parcelOf(journal, 3));
  await journal.failed;
  end();
  assert.deepEqual(await Promise.all([first, second].map(ended)), ['durable', 'not written']);
  await journal.close();
});
