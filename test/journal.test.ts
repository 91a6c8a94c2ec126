import assert from 'node:assert/strict';
import { copyFileSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type DiskFile, systemDisk } from '../src/disk.ts';
import { HoldfastError } from '../src/errors.ts';
import { checkJournal } from '../src/journal/inspect.ts';
import { Journal } from '../src/journal/journal.ts';
import { decide, readJournal, type Stop } from '../src/journal/recovery.ts';
import {
  diskWith,
  journalOptions,
  parcelOf,
  syncedBy,
  temporaryFolder,
} from './support/journals.ts';

const lastSegment = (directory: string): string => {
  const names = readdirSync(directory).filter((name) => name.endsWith('.segment'));
  return join(directory, names.sort().at(-1) ?? '');
};

/** The sum of the journal's last sequences: how many records it holds. */
const records = (directory: string): number => {
  const found = readJournal(systemDisk, directory);
  return [...(found?.last.values() ?? [])].flatMap((last) => [...last]).reduce((a, b) => a + b, 0);
};

const hasCode = (code: string) => (error: unknown) =>
  error instanceof HoldfastError && error.code === code;

/** What a kill leaves: the files as they are, without the owner's clean end. */
async function killedJournal(
  folder: string,
  groups: readonly number[],
  segmentBytes = 256 * 1024,
): Promise<string> {
  const live = join(folder, 'live');
  const killed = join(folder, 'killed');
  const journal = await Journal.open(journalOptions(live, { segmentBytes }));
  for (const rows of groups) await journal.submit(parcelOf(journal, rows));
  cpSync(live, killed, { recursive: true });
  rmSync(join(killed, 'lock'));
  await journal.close();
  return killed;
}

test('the decision table has an answer for every combination, and only these', () => {
  const both = [false, true];
  const answers: string[] = [];
  for (const place of ['earlier', 'last'] as const) {
    for (const isExpected of both) {
      for (const hasWitness of both) {
        for (const isRestZero of both) {
          for (const isClean of both) {
            for (const hasBlocks of both) {
              const stop: Stop = {
                place,
                isExpected,
                hasWitness,
                isRestZero,
                hasBlocks,
                isClean,
              };
              const wanted =
                place === 'earlier'
                  ? isExpected
                    ? 'end'
                    : 'corrupt'
                  : hasWitness
                    ? 'corrupt'
                    : isRestZero || (isClean && !hasBlocks)
                      ? 'end'
                      : 'torn';
              assert.equal(decide(stop), wanted, JSON.stringify(stop));
              answers.push(wanted);
            }
          }
        }
      }
    }
  }
  assert.equal(answers.length, 64);
});

test('what was acknowledged is there after a kill, and the journal goes on behind it', async () => {
  const folder = temporaryFolder();
  const killed = await killedJournal(folder.path, [10, 500, 3]);
  assert.equal(records(killed), 513);
  const journal = await Journal.open(journalOptions(killed));
  const placed = await journal.submit(parcelOf(journal, 4));
  assert.deepEqual(
    placed.ranges.map(([lane, , count]) => [lane, count]),
    [0, 1, 2, 3].map((lane) => [lane, 1]),
  );
  await journal.close();
  assert.equal(records(killed), 517);
  assert.equal(readJournal(systemDisk, killed)?.isClean, true);
  folder.remove();
});

test('zeros behind blocks larger than the reader’s window are no torn tail', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const killed = await killedJournal(folder.path, [160_000], 16 * 1024 * 1024);
  assert.equal(records(killed), 160_000);
  assert.equal(readJournal(systemDisk, killed)?.isTorn, false);
});

test('a last group cut at any byte is cut whole, and never half of it (P15)', async () => {
  const folder = temporaryFolder();
  const killed = await killedJournal(folder.path, [7, 9]);
  const path = lastSegment(killed);
  const whole = readFileSync(path);
  const ends = readJournal(systemDisk, killed)?.end.offset ?? 0;
  const first = groupStart(whole, ends);
  for (let at = first + 1; at < ends; at += 13) {
    const cut = Buffer.from(whole);
    cut.fill(0, at, ends);
    writeFileSync(path, cut);
    const left = records(killed);
    assert.ok(left === 7 || left === 16, `cut at ${at}: ${left} records`);
    if (left === 16) assert.ok(whole.subarray(at, ends).every((byte) => byte === 0));
  }
  writeFileSync(path, whole);
  folder.remove();
});

/** Where the last group of the file begins: the block with index 0 nearest the end. */
function groupStart(bytes: Buffer, end: number): number {
  for (let at = end - 96; at > 0; at -= 8) {
    const isBlock = bytes.subarray(at, at + 3).toString() === 'HFB';
    if (isBlock && bytes.readUInt32LE(at + 56) === 0) return at;
  }
  throw new Error('no group');
}

test('a flipped bit before the last group is corruption, with file and offset', async () => {
  const folder = temporaryFolder();
  const killed = await killedJournal(folder.path, [7, 9, 5]);
  const path = lastSegment(killed);
  const whole = readFileSync(path);
  const end = readJournal(systemDisk, killed)?.end.offset ?? 0;
  const last = groupStart(whole, end);
  for (let at = 0; at < last; at += 101) {
    const flipped = Buffer.from(whole);
    flipped[at] = (flipped[at] ?? 0) ^ 4;
    writeFileSync(path, flipped);
    // Only padding may be changed without notice.
    const isPadding = whole[at] === 0 && isSame(killed, 21);
    if (!isPadding) assert.throws(() => records(killed), hasCode('HF_CORRUPT'), `byte ${at}`);
  }
  const before = Buffer.from(whole);
  before[100] = (before[100] ?? 0) ^ 1;
  writeFileSync(path, before);
  await assert.rejects(Journal.open(journalOptions(killed)), hasCode('HF_CORRUPT'));
  assert.deepEqual(readFileSync(path), before, 'a corrupt file is kept as it is');
  assert.equal(checkJournal(systemDisk, killed).problems[0]?.file, path);
  folder.remove();
});

function isSame(directory: string, count: number): boolean {
  try {
    return records(directory) === count;
  } catch (error) {
    assert.ok(error instanceof HoldfastError);
    return false;
  }
}

test('a missing segment and a repeated one are corruption', async () => {
  const folder = temporaryFolder();
  const killed = await killedJournal(folder.path, new Array(18).fill(1500));
  const names = readdirSync(killed).filter((name) => name.endsWith('.segment'));
  assert.ok(names.length >= 4, `${names.length} segments`);
  const middle = join(killed, names[1] ?? '');
  const kept = readFileSync(middle);
  rmSync(middle);
  assert.throws(() => records(killed), hasCode('HF_CORRUPT'));
  copyFileSync(join(killed, names[2] ?? ''), middle);
  assert.throws(() => records(killed), hasCode('HF_CORRUPT'));
  writeFileSync(middle, kept);
  assert.equal(records(killed), 27_000);
  folder.remove();
});

test('a second process gets a clear error with the pid of the owner (P21)', async () => {
  const folder = temporaryFolder();
  const journal = await Journal.open(journalOptions(folder.path, { pid: 4_711 }));
  await assert.rejects(Journal.open(journalOptions(folder.path)), (error: unknown) => {
    assert.ok(hasCode('HF_JOURNAL_LOCKED')(error));
    assert.match(String(error), /process 4711/);
    return true;
  });
  await journal.close();
  folder.remove();
});

/** A disk whose files' calls can be made to fail. */
function failingDisk(fails: { sync?: string; write?: string; short?: boolean }) {
  const wrap = (file: DiskFile): DiskFile => {
    const write: DiskFile['write'] = (bytes, position) => {
      if (fails.write) throw Object.assign(new Error(fails.write), { code: fails.write });
      return file.write(fails.short ? bytes.subarray(0, 100) : bytes, position);
    };
    return syncedBy({ ...file, write }, () => {
      if (fails.sync) throw Object.assign(new Error(fails.sync), { code: fails.sync });
      file.sync();
    });
  };
  return diskWith({ open: (path, mode) => wrap(systemDisk.open(path, mode)) });
}

test('after a failed sync nothing is acknowledged any more, and waiters hear unknown', async () => {
  const folder = temporaryFolder();
  const fails: { sync?: string } = {};
  const disk = failingDisk(fails);
  const journal = await Journal.open(journalOptions(folder.path, { disk }));
  await journal.submit(parcelOf(journal, 2));
  fails.sync = 'EIO';
  await assert.rejects(journal.submit(parcelOf(journal, 2)), (error: unknown) => {
    assert.ok(error instanceof HoldfastError);
    assert.deepEqual([error.code, error.outcome], ['HF_JOURNAL_FAILED', 'unknown']);
    return true;
  });
  delete fails.sync;
  await assert.rejects(journal.submit(parcelOf(journal, 2)), (error: unknown) => {
    assert.ok(error instanceof HoldfastError);
    assert.deepEqual([error.code, error.outcome], ['HF_JOURNAL_FAILED', 'not written']);
    return true;
  });
  assert.equal(journal.state, 'failed');
  assert.equal((await journal.failed).code, 'HF_JOURNAL_FAILED');
  await journal.close();
  folder.remove();
});

test('short writes are continued', async () => {
  const folder = temporaryFolder();
  const disk = failingDisk({ short: true });
  const journal = await Journal.open(journalOptions(folder.path, { disk }));
  await journal.submit(parcelOf(journal, 300));
  await journal.close();
  assert.equal(records(folder.path), 300);
  folder.remove();
});

test('a full disk at the roll refuses as not written, and goes on after it (P16)', async () => {
  const folder = temporaryFolder();
  const state = { isFull: false };
  const disk = diskWith({
    createZeroed: (path, bytes) =>
      state.isFull
        ? Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }))
        : systemDisk.createZeroed(path, bytes),
  });
  const journal = await Journal.open(journalOptions(folder.path, { disk }));
  state.isFull = true;
  let written = 0;
  const refused = await (async () => {
    for (;;) {
      try {
        await journal.submit(parcelOf(journal, 1000));
        written += 1000;
      } catch (error) {
        return error;
      }
    }
  })();
  assert.ok(refused instanceof HoldfastError);
  assert.deepEqual([refused.code, refused.outcome], ['HF_JOURNAL_FULL', 'not written']);
  state.isFull = false;
  await journal.relieve();
  await journal.submit(parcelOf(journal, 1000));
  await journal.close();
  assert.equal(records(folder.path), written + 1000);
  folder.remove();
});

test('a spare whose name finds no room is made again', async () => {
  const folder = temporaryFolder();
  let isFull = false;
  const disk = diskWith({
    rename: (from, to) => {
      if (isFull && from.endsWith('.tmp')) throw Object.assign(new Error(), { code: 'ENOSPC' });
      systemDisk.rename(from, to);
    },
  });
  const journal = await Journal.open(journalOptions(folder.path, { disk }));
  isFull = true;
  await journal.segments.prepare();
  assert.notEqual(journal.segments.shortage, undefined);
  isFull = false;
  await journal.relieve();
  assert.deepEqual([journal.segments.shortage, journal.state], [undefined, 'running']);
  await journal.close();
  folder.remove();
});

test('segments are dropped only when all their records are confirmed', async () => {
  const folder = temporaryFolder();
  const journal = await Journal.open(journalOptions(folder.path, { bytesMax: 256 * 1024 * 8 }));
  for (let i = 0; i < 12; i++) await journal.submit(parcelOf(journal, 1500));
  const before = journal.segments.list.length;
  journal.retention.trim();
  assert.equal(journal.segments.list.length, before);
  const [last] = journal.last.values();
  for (const confirmed of journal.confirmed.values()) confirmed.set(last ?? []);
  journal.retention.pins = 1;
  journal.retention.trim();
  assert.equal(journal.segments.list.length, before, 'a pinned journal drops nothing');
  journal.retention.pins = 0;
  await journal.relieve();
  assert.ok(journal.segments.list.length < before);
  await journal.close();
  assert.equal(records(folder.path), 18_000);
  folder.remove();
});

test('a journal that is closed within the last bytes of a segment is closed well', async () => {
  const folder = temporaryFolder();
  const segmentBytes = 16 * 1024;
  const options = journalOptions(folder.path, { segmentBytes });
  const journal = await Journal.open(options);
  // Nearer to the end than any group fits.
  while (journal.end.offset < segmentBytes - 2_400) await journal.submit(parcelOf(journal, 1));
  await journal.close();
  assert.equal(readJournal(systemDisk, folder.path)?.isClean, true);
  folder.remove();
});

test('a copy of the suspect tail that was cut short brings no group back (P17)', async () => {
  const folder = temporaryFolder();
  const killed = await killedJournal(folder.path, [10, 500, 3]);
  const path = lastSegment(killed);
  const whole = readFileSync(path);
  const end = readJournal(systemDisk, killed)?.end.offset ?? 0;
  // The copy had the last group from the page cache; then the power failed, and the platter of the
  // suspect never had it.
  writeFileSync(join(killed, 'spare-0000000001'), whole);
  writeFileSync(path, Buffer.from(whole).fill(0, groupStart(whole, end), end));
  assert.equal(records(killed), 510);
  const journal = await Journal.open(journalOptions(killed));
  assert.equal(records(killed), 510, 'opening it changes nothing');
  await journal.close();
  assert.equal(records(killed), 510);
  folder.remove();
});

test('damage to the last group is corruption once the journal has been idle', async () => {
  const folder = temporaryFolder();
  const live = join(folder.path, 'live');
  const killed = join(folder.path, 'killed');
  const journal = await Journal.open(journalOptions(live));
  await journal.submit(parcelOf(journal, 9));
  const { offset } = journal.end;
  journal.mark();
  journal.mark();
  assert.equal(journal.end.offset - offset, 96, 'one mark is enough');
  cpSync(live, killed, { recursive: true });
  rmSync(join(killed, 'lock'));
  await journal.close();
  assert.equal(records(killed), 9);
  assert.equal(readJournal(systemDisk, killed)?.isClean, false, 'it was killed all the same');
  const path = lastSegment(killed);
  const bytes = readFileSync(path);
  bytes[offset - 20] = (bytes[offset - 20] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  assert.throws(() => records(killed), hasCode('HF_CORRUPT'));
  folder.remove();
});

test('a segment shorter than it was made is corruption, one made larger is not', async () => {
  const folder = temporaryFolder();
  const killed = await killedJournal(folder.path, [7, 9]);
  const path = lastSegment(killed);
  const whole = readFileSync(path);
  writeFileSync(path, whole.subarray(0, whole.length - 1));
  assert.throws(() => records(killed), hasCode('HF_CORRUPT'));
  writeFileSync(path, whole);
  // Segments are made smaller from now on: the old one keeps its size where it is copied.
  const smaller = journalOptions(killed, { segmentBytes: whole.length / 2 });
  const journal = await Journal.open(smaller);
  await journal.submit(parcelOf(journal, 4));
  await journal.close();
  assert.equal(records(killed), 20);
  folder.remove();
});
