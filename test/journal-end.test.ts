// Where the last segment ends, for who opens it after two power cuts, and for who looks at it while
// its owner writes on.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemDisk } from '../src/disk.ts';
import { segmentPath } from '../src/journal/files.ts';
import type { Parcel } from '../src/journal/group.ts';
import { checkJournal } from '../src/journal/inspect.ts';
import { Journal } from '../src/journal/journal.ts';
import type { RequestNote } from '../src/journal/notes.ts';
import { readJournal } from '../src/journal/recovery.ts';
import { diskWith, journalOptions, parcelOf, temporaryFolder } from './support/journals.ts';

/** Rows of one lane, whose block is as long as it is for any other fill. */
function filledWith(journal: Journal, count: number, fill: string): Parcel {
  const parcel = parcelOf(journal, count);
  parcel.rows.lanes.fill(0);
  for (let row = 0; row < count; row++) {
    const end = parcel.rows.ends[row] ?? 0;
    parcel.rows.bytes.fill(fill.charCodeAt(0), end - 34, end);
  }
  return { ...parcel, keep: { key: fill, digest: fill } };
}

test('two first groups behind a clean end are never taken for one (P15)', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const place = (name: string): string => join(folder.path, name);
  const pathOf = (name: string): string => segmentPath(place(name), 1);
  let journal = await Journal.open(journalOptions(place('closed')));
  await journal.submit(parcelOf(journal, 1));
  await journal.close();
  const start = journal.end.offset;
  // A block of 300 rows is followed by the note of its request: the cuts divide them.
  const note = start + 96 + 300 * 40;

  /** The file as a life finds it, and with the one group that this life writes. */
  async function life(folderName: string, fill: string): Promise<[Buffer, Buffer]> {
    journal = await Journal.open(journalOptions(place(folderName)));
    assert.equal(journal.end.offset, start);
    const found = readFileSync(pathOf(folderName));
    void journal.submit(filledWith(journal, 300, fill));
    const written = readFileSync(pathOf(folderName));
    await journal.close();
    return [found, written];
  }
  cpSync(place('closed'), place('first'), { recursive: true });
  const [before, first] = await life('first', 'a');
  // The power goes before the sync is answered; of what was written the end alone is there.
  writeFileSync(pathOf('closed'), Buffer.concat([before.subarray(0, note), first.subarray(note)]));
  const [found, second] = await life('closed', 'b');
  // And again, and the beginning alone is there.
  writeFileSync(pathOf('closed'), Buffer.concat([second.subarray(0, note), found.subarray(note)]));
  const keys: (string | undefined)[] = [];
  const onRequests = (notes: readonly RequestNote[]): void => {
    keys.push(...notes.map(({ key }) => key));
  };
  readJournal(systemDisk, place('closed'), { onRequests });
  assert.deepEqual(keys, [undefined], 'the rows of the first are nowhere');
});

test('a journal that is written to while it is checked is not called corrupt', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const segmentBytes = 4 * 1024 * 1024;
  const journal = await Journal.open(journalOptions(folder.path, { segmentBytes }));
  t.after(() => journal.close());
  const windowBytes = 1024 * 1024;
  await journal.submit(parcelOf(journal, 4));
  // What is written next goes over the end of the reader's window.
  while (journal.end.offset < windowBytes - 3_000) {
    const left = windowBytes - 3_000 - journal.end.offset;
    await journal.submit(parcelOf(journal, left > 60_000 ? 1_000 : 20));
  }
  const before = readFileSync(segmentPath(folder.path, 1));
  for (let i = 0; i < 3; i++) await journal.submit(parcelOf(journal, 40));
  const after = readFileSync(segmentPath(folder.path, 1));
  let hasRead = false;
  const disk = diskWith({
    open: (path, mode) => {
      const file = systemDisk.open(path, mode);
      return {
        ...file,
        // The owner, another process, writes on right after the window was read.
        read: (into, at) => {
          const from = hasRead ? after : before;
          if (into.length === windowBytes) hasRead = true;
          return from.copy(into, 0, at);
        },
      };
    },
  });
  const { ok, problems, records } = checkJournal(disk, folder.path);
  assert(hasRead, 'through its window');
  assert.deepEqual([ok, problems], [true, []]);
  assert.equal(records, checkJournal(systemDisk, folder.path).records);
});
