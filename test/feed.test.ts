import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { systemDisk } from '../src/disk.ts';
import { segmentNumbers, segmentPath } from '../src/journal/files.ts';
import { Journal } from '../src/journal/journal.ts';
import { Feed } from '../src/merge/feed.ts';
import { journalOptions, parcelOf, temporaryFolder } from './support/journals.ts';

test('records that were dropped are missed, though their lane has none behind them', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const journal = await Journal.open(journalOptions(folder.path, { segmentBytes: 64 * 1024 }));
  // A row in each lane, then only lane 0 goes on, into the next segment.
  await journal.submit(parcelOf(journal, 4));
  const segments = (): number[] => segmentNumbers(systemDisk, folder.path);
  let rows = 1;
  for (; segments().length < 2; rows++) await journal.submit(parcelOf(journal, 1));
  const { end } = journal;
  const stream = journal.openStream('s', 4, 'key:id').id;
  await journal.close();
  const all = { disk: systemDisk, directory: folder.path, stream, serves: () => true };
  const read = (settled: readonly number[]): number => {
    const feed = new Feed(all, 5);
    feed.seek(settled);
    feed.extend(end);
    let found = 0;
    feed.read(({ header }) => {
      found += header.rowCount;
      return 'more';
    });
    feed.close();
    return found;
  };
  assert.equal(read([0, 0, 0, 0, 0]), rows + 3);
  const [oldest = 0] = segments();
  rmSync(segmentPath(folder.path, oldest));
  assert.throws(() => read([rows - 1, 0, 1, 1, 0]), /Lane 1 is settled to 0 .* not in the journal/);
});
