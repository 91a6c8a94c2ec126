// What may be dropped, and how much of it at once, where the journal gets short of room.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import { Journal } from '../src/journal/journal.ts';
import type { JournalOptions } from '../src/journal/options.ts';
import { readJournal } from '../src/journal/recovery.ts';
import { limits } from '../src/limits.ts';
import type { Holdfast } from '../src/types.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { diskWith, journalOptions, parcelOf, temporaryFolder } from './support/journals.ts';
import { isHeld, range, Shop } from './support/simulated-shop.ts';

const segmentBytes = 256 * 1024;
/** Nothing goes before there is no room. */
const keepAll = { retentionMsMin: 3_600_000, retentionBytesMin: 2 ** 30 };

async function opened(t: TestContext, changed: Partial<JournalOptions> = {}) {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const options = journalOptions(folder.path, { ...keepAll, ...changed });
  const journal = await Journal.open(options);
  t.after(() => (journal.state === 'running' ? journal.close() : undefined));
  const { id } = journal.openStream('s', 4, 'key:id');
  const confirm = (upTo: ArrayLike<number> = journal.last.get(id) ?? []): void =>
    journal.confirmed.get(id)?.set(upTo);
  /** One group, confirmed at once. */
  const write = async (): Promise<void> => {
    await journal.submit(parcelOf(journal, 1_500));
    confirm();
  };
  return { journal, id, options, directory: folder.path, confirm, write };
}

/** What a process that opens it now is told of a stream. */
const confirmedIn = (directory: string, id: number): readonly number[] => [
  ...(readJournal(systemDisk, directory)?.confirmed.get(id) ?? []),
];

test('positions that went back are durable when it is told (P3)', async (t) => {
  for (const how of ['idle', 'beside others', 'at the end of a segment'] as const) {
    const { journal, id, directory, confirm, write } = await opened(t);
    while (journal.end.segment < 3) await write();
    confirm([10, 10, 10, 10, 0]);
    const { segment } = journal.end;
    if (how === 'at the end of a segment') {
      while (segmentBytes - journal.end.offset > 5_000) await journal.submit(parcelOf(journal, 1));
      // What is said of all of them does not fit any more.
      for (let i = 0; i < 300; i++) journal.openStream(`idle ${i}`, 4, 'turn');
      await journal.segments.prepare();
    }
    // One comes alone, the other waits for it.
    const submitted =
      how === 'beside others' ? [1, 2].map((n) => journal.submit(parcelOf(journal, n))) : [];
    assert(journal.end.segment === segment && segment === 3, 'none was begun meanwhile');
    journal.unconfirm();
    await Promise.all(submitted);
    assert.deepEqual(confirmedIn(directory, id), [10, 10, 10, 10, 0], how);
    await journal.close();
    assert.deepEqual(confirmedIn(directory, id), [10, 10, 10, 10, 0], `${how}, closed`);
  }
});

test('notes that are larger than all groups before them are whole', async (t) => {
  const { journal, id, directory } = await opened(t, { segmentBytes: 4 * segmentBytes });
  for (let i = 0; i < 200; i++) {
    journal.openStream(`stream ${i}`, 64, 'key:id');
    await journal.submit(parcelOf(journal, 1));
  }
  journal.confirmed.get(id)?.fill(7);
  journal.unconfirm();
  assert.equal(journal.end.segment, 1, 'a mark');
  assert.equal(confirmedIn(directory, id)[0], 7);
  while (journal.end.segment < 2) await journal.submit(parcelOf(journal, 100));
  const found = readJournal(systemDisk, directory);
  assert.deepEqual(found?.last.get(id), journal.last.get(id));
});

test('a stream that was not opened for a life is confirmed again after it', async (t) => {
  const { journal, id, options } = await opened(t);
  await journal.submit(parcelOf(journal, 4));
  await journal.close();
  const without = await Journal.open(options);
  while (without.end.segment < 2) await without.submit(parcelOf(without, 1_500, 'another'));
  await without.close();
  const again = await Journal.open(options);
  t.after(() => again.close());
  assert.equal(again.openStream('s', 4, 'key:id').id, id);
  again.confirmed.get(id)?.set(again.last.get(id) ?? []);
  assert.deepEqual(again.confirmed.get(id), again.last.get(id));
});

test('a restart drops nothing of what a failover took back (P3)', async () => {
  const shop = new Shop({ batchRowsMax: 8 });
  shop.limits = { ...keepAll, bytesMax: 16.5 * 64 * 1024 };
  const { target } = shop;
  const left = await shop.live(new SimulatedDisk(), async (holdfast: Holdfast) => {
    await shop.write(holdfast, 'a', range(4));
    await shop.settled(holdfast, 'a');
    const { commits } = target.store;
    await shop.write(holdfast, 'a', range(96, 4));
    await shop.settled(holdfast, 'a');
    // The next segment's checkpoint says that all of them are confirmed.
    await shop.write(holdfast, 'b', range(40, 500));
    await shop.clock.sleep(2_000);
    target.failover(target.store.commits - commits);
    // The next primary says where it stands, and takes no more than one small batch.
    const isRefused = (name: string): boolean =>
      shop.ids('a').length > 4 && !['prepare', 'claim'].includes(name);
    target.strikeWhere(({ name, writes }) => (writes && isRefused(name) ? 'lost' : undefined));
    await shop.write(holdfast, 'a', [100]);
    // Who has nothing to write looks now and then.
    await shop.clock.sleep(4 * limits.idleCheckMs);
  });
  target.down();
  await shop.live(left(), async (holdfast) => {
    await shop.until(holdfast, 'b', isHeld);
    const fill = async (): Promise<void> => {
      const note = 'x'.repeat(2_000);
      for (const id of range(500)) await holdfast.write('b', { id, note }, { atBound: 'refuse' });
    };
    await assert.rejects(fill(), { code: 'HF_JOURNAL_FULL' });
    target.heal();
    target.strikeWhere(() => undefined);
    await shop.settled(holdfast, 'a');
  });
  assert.deepEqual(shop.ids('a'), range(101));
});

test('retention gives way by what is wanted, not whole', async (t) => {
  const refused = (code: string): never => {
    throw Object.assign(new Error(code), { code });
  };
  for (const what of ['begun', 'prepared'] as const) {
    let isStruck = false;
    const disk = diskWith({
      open: (path, mode) => {
        const isSpare = mode === 'write' && path.includes('spare-');
        if (isStruck && what === 'begun' && isSpare) refused('EMFILE');
        return systemDisk.open(path, mode);
      },
      createZeroed: (path, bytes) => {
        if (isStruck && what === 'prepared') refused('ENOSPC');
        return systemDisk.createZeroed(path, bytes);
      },
    });
    const { journal, write } = await opened(t, { disk });
    while (journal.end.segment < 20) await write();
    await journal.segments.prepare();
    isStruck = true;
    const { segment } = journal.end;
    const roll = async (): Promise<void> => {
      while (journal.end.segment === segment) await write();
      await journal.segments.prepare();
    };
    if (what === 'begun') await assert.rejects(roll(), { code: 'HF_JOURNAL_FULL' });
    else await roll();
    for (let i = 0; i < 5; i++) await journal.relieve();
    const kept = journal.segments.list.length;
    assert.equal(kept, 20, `a segment that cannot be ${what}`);
    isStruck = false;
    while (journal.end.segment < 25) await write();
  }
});

test('a name that finds no room is given what a segment less leaves', async (t) => {
  let isFull = false;
  const disk = diskWith({
    // As where a directory, or a quota, has no place for one more name.
    rename: (from, to) => {
      if (isFull) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
      systemDisk.rename(from, to);
    },
    remove: (path) => {
      systemDisk.remove(path);
      isFull = false;
    },
  });
  const { journal, write } = await opened(t, { disk });
  while (journal.end.segment < 20) await write();
  await journal.segments.prepare();
  isFull = true;
  while (journal.end.segment < 21) await write();
  assert.equal(journal.segments.list.length, 20);
});

test('where a dropped segment becomes no spare, room is looked for before the next', async (t) => {
  let isFull = false;
  const disk = diskWith({
    createZeroed: (path, bytes) => {
      if (isFull) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
      return systemDisk.createZeroed(path, bytes);
    },
  });
  const { journal, options, write } = await opened(t, { disk });
  while (journal.end.segment < 20) await write();
  await journal.close();
  isFull = true;
  const larger = await Journal.open({ ...options, segmentBytes: 2 * segmentBytes });
  t.after(() => larger.close());
  for (const [stream, last] of larger.last) larger.confirmed.get(stream)?.set(last);
  await larger.segments.prepare();
  for (const kept of [19, 18]) {
    await larger.relieve();
    assert.equal(larger.segments.list.length, kept);
  }
  isFull = false;
  await larger.relieve();
  await larger.relieve();
  assert.deepEqual([larger.segments.list.length, larger.segments.isReady], [17, true]);
});

/** A journal at its bound whose streams wait for their targets. */
async function allHeld(t: TestContext, changed: Partial<JournalOptions> = {}) {
  const own = await opened(t, { bytesMax: 20 * segmentBytes, ...changed });
  const { journal } = own;
  const fill = async (): Promise<void> => {
    for (;;) {
      for (const name of ['one', 'two']) await journal.submit(parcelOf(journal, 700, name));
    }
  };
  await assert.rejects(fill(), { code: 'HF_JOURNAL_FULL' });
  journal.retention.isHeld = () => true;
  return own;
}

test('no more than one segment is copied aside at a time (P18)', async (t) => {
  const { journal, directory } = await allHeld(t);
  const { length } = journal.segments.list;
  const copied = (): number =>
    new Set(
      readdirSync(directory).flatMap((name) =>
        name.includes('.held-') ? [name.slice(0, 10)] : [],
      ),
    ).size;
  for (let i = 0; i < 4; i++) {
    assert.deepEqual([copied(), journal.segments.list.length], [i, length - i]);
    journal.retention.trim();
  }
});

test('a copy that cannot be made is tried again after a while', async (t) => {
  let copies = 0;
  let isFull = true;
  let nowMs = 0;
  const disk = diskWith({
    open: (path, mode) => {
      if (!/\.held-\d+\.tmp$/.test(path)) return systemDisk.open(path, mode);
      copies++;
      if (isFull) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
      return systemDisk.open(path, mode);
    },
  });
  const clock = { ...systemClock, monotonicMs: () => nowMs };
  const { journal } = await allHeld(t, { disk, clock });
  for (let i = 0; i < 50; i++) {
    nowMs += 10;
    await journal.relieve();
    assert.match(journal.segments.stuck ?? '', /no room/);
  }
  assert.equal(copies, 1, 'in half a second');
  isFull = false;
  nowMs += 1_000;
  await journal.relieve();
  assert.equal(journal.segments.stuck, undefined);
  const { length } = journal.segments.list;
  await journal.relieve();
  assert.equal(journal.segments.list.length, length - 1, 'and goes on at once');
});
