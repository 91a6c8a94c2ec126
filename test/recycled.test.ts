// Dropped segments become segments again: what their files still have of an earlier life is told
// from what is there, by whoever reads them, also while it happens.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Disk, systemDisk } from '../src/disk.ts';
import { heldPath, segmentNumbers, segmentPath, sparePath } from '../src/journal/files.ts';
import { checkJournal, dumpJournal, salvageJournal } from '../src/journal/inspect.ts';
import { Journal } from '../src/journal/journal.ts';
import { readJournal } from '../src/journal/recovery.ts';
import { openSegment, openStreamFile } from '../src/journal/segment-head.ts';
import { Feed } from '../src/merge/feed.ts';
import { findGaps } from '../src/merge/gaps.ts';
import { diskWith, journalOptions, parcelOf, temporaryFolder } from './support/journals.ts';
import { TendedWorld } from './support/tended-world.ts';

const segmentBytes = 64 * 1024;
const rowsEach = 100;

/** Fills so many segments, each of which is confirmed, and dropped, when the next one begins. */
async function fill(journal: Journal, segments: number): Promise<number> {
  const last = journal.end.segment + segments;
  let rows = 0;
  for (; journal.end.segment < last; rows += rowsEach) {
    await journal.submit(parcelOf(journal, rowsEach));
    for (const [stream, marks] of journal.last) journal.confirmed.get(stream)?.set(marks);
    await journal.relieve();
  }
  return rows;
}

async function opened(t: TestContext, changed: Partial<Disk> = {}) {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const directory = join(folder.path, 'journal');
  const options = journalOptions(directory, { segmentBytes, disk: diskWith(changed) });
  return { folder, directory, options, journal: await Journal.open(options) };
}

const lastOf = (directory: string): number =>
  [...(readJournal(systemDisk, directory)?.last.values() ?? [])]
    .flatMap((last) => [...last])
    .reduce((sum, sequence) => sum + sequence, 0);

test('in a steady flow no file is zeroed, and nothing of an earlier life is read', async (t) => {
  let zeroed = 0;
  const createZeroed: Disk['createZeroed'] = (path, bytes) => {
    zeroed++;
    return systemDisk.createZeroed(path, bytes);
  };
  const { folder, directory, options, journal } = await opened(t, { createZeroed });
  let rows = await fill(journal, 14);
  // The first segment, two spares, and some where none was dropped in time.
  assert.ok(zeroed < 8, `${zeroed} of ${journal.end.segment} were zeroed`);
  // A few rows in a segment that was full before: not in one that was zeroed, for want of a spare.
  const isFresh = (): boolean => {
    const { segment, offset } = journal.end;
    return readFileSync(segmentPath(directory, segment))
      .subarray(offset)
      .every((byte) => !byte);
  };
  while (isFresh()) rows += await fill(journal, 1);
  await journal.submit(parcelOf(journal, 4));
  rows += 4;
  const killed = join(folder.path, 'killed');
  cpSync(directory, killed, { recursive: true });
  rmSync(join(killed, 'lock'));
  assert.equal(lastOf(killed), rows);
  assert.equal(readJournal(systemDisk, killed)?.isTorn, true);
  const next = await Journal.open({ ...options, directory: killed });
  await next.submit(parcelOf(next, 4));
  await next.close();
  assert.equal(lastOf(killed), rows + 4);
  await journal.close();
});

test('a segment that was made smaller becomes none of those that are larger now', async (t) => {
  const { directory, options, journal } = await opened(t);
  await fill(journal, 1);
  await journal.close();
  const larger = { ...options, segmentBytes: 2 * segmentBytes };
  const next = await Journal.open(larger);
  for (let i = 0; i < 4; i++) {
    // The smaller one is dropped first.
    await fill(next, 1);
    const size = statSync(segmentPath(directory, next.end.segment)).size;
    assert.equal(size, larger.segmentBytes, `of segment ${next.end.segment}`);
  }
  await next.close();
});

test('behind a clean end an earlier life is not cut, and nothing is copied', async (t) => {
  const { directory, options, journal } = await opened(t);
  const rows = await fill(journal, 10);
  await journal.submit(parcelOf(journal, 4));
  const { segment } = journal.end;
  await journal.close();
  const found = readJournal(systemDisk, directory);
  assert.deepEqual([found?.isTorn, found?.isClean], [false, true]);
  const inode = (): number => statSync(segmentPath(directory, segment)).ino;
  const before = inode();
  const next = await Journal.open(options);
  assert.equal(inode(), before);
  await next.submit(parcelOf(next, 4));
  await next.close();
  assert.equal(lastOf(directory), rows + 8);
});

test('a feed goes on where the segment in which it waited has become another one', async (t) => {
  const { directory, journal } = await opened(t);
  await journal.submit(parcelOf(journal, 4, 'idle'));
  const { id } = journal.openStream('idle', 4, 'key:id');
  const feed = new Feed({ disk: systemDisk, directory, stream: id, serves: () => true }, 5);
  let found = 0;
  const read = (): void => {
    feed.extend(journal.end);
    feed.read(({ header }) => {
      found += header.rowCount;
      return 'more';
    });
  };
  feed.seek([0, 0, 0, 0, 0]);
  read();
  await fill(journal, 1);
  // From now on all of them stay, so that the next one tells where that one ended.
  while (journal.end.segment < 7) await journal.submit(parcelOf(journal, rowsEach));
  assert.equal(segmentNumbers(systemDisk, directory)[0], 2);
  await journal.submit(parcelOf(journal, 4, 'idle'));
  read();
  assert.equal(found, 8);
  feed.close();
  await journal.close();
});

test('salvage brings nothing back of an earlier life', async (t) => {
  const { folder, directory, journal } = await opened(t);
  while (journal.end.segment < 2) await journal.submit(parcelOf(journal, rowsEach));
  await journal.submit(parcelOf(journal, rowsEach));
  const { records } = checkJournal(systemDisk, directory);
  // What was there before may begin where the new blocks end.
  const { file, head } = openSegment(systemDisk, directory, 1);
  const block = new Uint8Array(segmentBytes / 2);
  file.read(block, head.end);
  file.close();
  const last = systemDisk.open(segmentPath(directory, 2), 'write');
  last.write(block, journal.end.offset);
  last.close();
  assert.equal(checkJournal(systemDisk, directory).records, records);
  const { kept } = salvageJournal(systemDisk, directory, join(folder.path, 'saved'));
  assert.equal(
    kept.reduce((sum, one) => sum + one.records, 0),
    records,
  );
  await journal.close();
});

test('who dumps a journal that goes on takes no dropped segment for damage', async (t) => {
  const { directory, journal } = await opened(t);
  while (journal.end.segment < 3) await journal.submit(parcelOf(journal, rowsEach));
  const dump = dumpJournal(systemDisk, directory);
  assert.equal(dump.next().done, false);
  await fill(journal, 10);
  assert.ok((segmentNumbers(systemDisk, directory)[0] ?? 0) > 3);
  let read = 1;
  for (const _ of dump) read++;
  assert.ok(read > rowsEach);
  await journal.close();
});

test('a feed that opens a segment just as it becomes another one goes to the next', async (t) => {
  const { directory, journal } = await opened(t);
  while (journal.end.segment < 3) await journal.submit(parcelOf(journal, rowsEach));
  const { id: stream } = journal.openStream('s', 4, 'key:id');
  let isDropped = false;
  const disk = diskWith({
    open: (path, mode) => {
      const file = systemDisk.open(path, mode);
      if (isDropped || path !== segmentPath(directory, 1)) return file;
      isDropped = true;
      renameSync(path, sparePath(directory, 9));
      const head = new Uint8Array(4096);
      systemDisk.open(segmentPath(directory, 3), 'read').read(head, 0);
      systemDisk.open(sparePath(directory, 9), 'write').write(head, 0);
      return file;
    },
  });
  const found = openStreamFile(disk, directory, { stream, number: 0 });
  assert.deepEqual([isDropped, found?.head.number], [true, 2]);
  found?.file.close();
  await journal.close();
});

/** The first segment is copied aside and becomes another one as soon as somebody reads in it. */
async function recycledInUse(t: TestContext) {
  const { directory, journal } = await opened(t);
  while (journal.end.segment < 2) await journal.submit(parcelOf(journal, rowsEach));
  const { id: stream } = journal.openStream('s', 4, 'key:id');
  const path = segmentPath(directory, 1);
  const { file: second, head } = openSegment(systemDisk, directory, 2);
  second.close();
  let isRecycled = false;
  const recycle = (): void => {
    isRecycled = true;
    // A copy has nothing but blocks.
    const blocks = readFileSync(path).subarray(0, head.header.durable.offset);
    writeFileSync(heldPath(directory, 1, stream), blocks);
    renameSync(path, sparePath(directory, 9));
    writeFileSync(sparePath(directory, 9), readFileSync(segmentPath(directory, 2)));
  };
  const disk = diskWith({
    open: (name, mode) => {
      const file = systemDisk.open(name, mode);
      if (name !== path) return file;
      let reads = 0;
      return {
        ...file,
        read: (into, position) => {
          const read = file.read(into, position);
          // The first one is of its head. What comes last was overwritten meanwhile.
          if (++reads > 1 && !isRecycled) {
            recycle();
            into.fill(0, into.length >> 1);
          }
          return read;
        },
      };
    },
  });
  const rows = [...(journal.last.get(stream) ?? [])].reduce((sum, last) => sum + last, 0);
  return { directory, journal, stream, disk, rows, isRecycled: () => isRecycled };
}

test('a feed whose file becomes another segment while it reads goes on in the copy', async (t) => {
  const { directory, journal, stream, disk, rows, isRecycled } = await recycledInUse(t);
  const feed = new Feed({ disk, directory, stream, serves: () => true }, 5);
  feed.extend(journal.end);
  feed.seek([0, 0, 0, 0, 0]);
  let found = 0;
  feed.read(({ header }) => {
    found += header.rowCount;
    return 'more';
  });
  assert.deepEqual([isRecycled(), found], [true, rows]);
  feed.close();
  await journal.close();
});

test('who dumps a file while it becomes another segment takes that for no damage', async (t) => {
  const { directory, journal, disk, rows, isRecycled } = await recycledInUse(t);
  const records = [...dumpJournal(disk, directory)].length;
  assert.equal(isRecycled(), true);
  assert(records > 0 && records < rows, `${records} of ${rows}, the others are gone`);
  await journal.close();
});

test('who looks for gaps while a file becomes another finds none in its copy', async (t) => {
  const { directory, journal, stream, disk, isRecycled } = await recycledInUse(t);
  const gaps = findGaps([], { disk, directory, id: stream, lanes: 5 });
  assert.deepEqual([isRecycled(), gaps], [true, []]);
  await journal.close();
});

test('who checks a journal that goes on looks again where a segment was dropped', async (t) => {
  const { directory, journal } = await opened(t);
  // Two segments: the second confirms nothing, so that the first stays.
  while (journal.end.segment < 2) await journal.submit(parcelOf(journal, rowsEach));
  await journal.close();
  let isDropped = false;
  const disk = diskWith({
    open: (path, mode) => {
      if (!isDropped && path === segmentPath(directory, 2)) {
        isDropped = true;
        renameSync(segmentPath(directory, 1), sparePath(directory, 9));
      }
      return systemDisk.open(path, mode);
    },
  });
  assert.equal(checkJournal(disk, directory).ok, true);
  assert.equal(isDropped, true);
});

test('the ledger keeps what a segment needs whose drop was not durable', async () => {
  // A minute passes in which the last drop comes right before the ledger is pruned.
  const seed = 34_575_000;
  const quiet = new TendedWorld(seed);
  await quiet.live((holdfast) => quiet.tend(holdfast));
  const { trace } = quiet.disk;
  // A segment became a spare.
  const drop = trace.findLastIndex(({ operation, path }) => {
    return operation === 'rename' && /spare-\d+$/.test(path);
  });
  assert.equal(trace[drop + 1]?.operation, 'syncDirectory');
  quiet.disk.dispose();
  const world = new TendedWorld(seed);
  world.disk.inject({ fault: 'EIO', at: drop + 2 });
  await world.liveUntilFailure((holdfast) => world.tend(holdfast));
  world.leave((disk) => disk.crash({ keep: () => false }));
  await world.audit('EIO');
});
