import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import { HoldfastError } from '../src/errors.ts';
import { blockKind } from '../src/journal/block.ts';
import { BlockReader, type ReadBlock } from '../src/journal/block-reader.ts';
import { Journal } from '../src/journal/journal.ts';
import { Feed } from '../src/merge/feed.ts';
import { findGaps } from '../src/merge/gaps.ts';
import { journalOptions, parcelOf, temporaryFolder } from './support/journals.ts';

const bounds = { bytesMax: 8 * 256 * 1024 };

/** Confirms all that a stream has journaled. */
function confirmAll(journal: Journal, name: string): void {
  const { id } = journal.openStream(name, 4, 'key:id');
  journal.confirmed.get(id)?.set(journal.last.get(id) ?? []);
}

/** A busy stream that is confirmed as it goes, and a trickle of a stream whose target is down. */
async function fill(journal: Journal, rounds: number): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    await journal.submit(parcelOf(journal, 1500, 'busy'));
    await journal.submit(parcelOf(journal, 4, 'held'));
    confirmAll(journal, 'busy');
  }
}

/** The sequences of each lane of a stream, as a feed that knows nothing settled reads them. */
function readAll(journal: Journal, directory: string, name: string): number[][] {
  const { id } = journal.openStream(name, 4, 'key:id');
  const feed = new Feed({ disk: systemDisk, directory, stream: id, serves: () => true }, 5);
  const lanes: number[][] = [[], [], [], [], []];
  feed.seek(new Float64Array(5));
  feed.extend(journal.end);
  feed.read(({ header }) => {
    for (let i = 0; i < header.rowCount; i++) lanes[header.lane]?.push(header.first + i);
    return 'more';
  });
  feed.close();
  return lanes;
}

test('a held stream pins its own records, not the segments of everybody (P18)', async () => {
  const folder = temporaryFolder();
  let journal = await Journal.open(journalOptions(folder.path, bounds));
  journal.retention.isHeld = (id) => id === journal.openStream('held', 4, 'key:id').id;
  await fill(journal, 80);
  const names = readdirSync(folder.path);
  assert.ok(
    names.some((name) => name.includes('.held-')),
    'records were copied aside',
  );
  assert.ok(!names.includes('0000000001.segment'), 'the first segment was dropped');
  const wanted = [0, 1, 2, 3].map(() => Array.from({ length: 80 }, (_, i) => i + 1));
  assert.deepEqual(readAll(journal, folder.path, 'held').slice(0, 4), wanted);
  await journal.close();
  journal = await Journal.open(journalOptions(folder.path, bounds));
  assert.deepEqual(readAll(journal, folder.path, 'held').slice(0, 4), wanted, 'after a restart');
  confirmAll(journal, 'held');
  journal.retention.trim();
  const left = readdirSync(folder.path).filter((name) => name.includes('.held-'));
  assert.deepEqual(left, [], 'copies go once their records are confirmed');
  await journal.close();
  folder.remove();
});

test('a stream that is not held pins its segments, and the journal gets full', async () => {
  const folder = temporaryFolder();
  const journal = await Journal.open(journalOptions(folder.path, bounds));
  await assert.rejects(fill(journal, 80), (error: unknown) => {
    assert.ok(error instanceof HoldfastError);
    return error.code === 'HF_JOURNAL_FULL' && error.outcome === 'not written';
  });
  await journal.close();
  folder.remove();
});

test('streams that are all held bring no journal beyond its bound (I8)', async () => {
  const folder = temporaryFolder();
  const journal = await Journal.open(journalOptions(folder.path, bounds));
  journal.retention.isHeld = () => true;
  const bytes = (): number =>
    readdirSync(folder.path)
      .filter((name) => /segment|spare|held/.test(name))
      .reduce((sum, name) => sum + statSync(join(folder.path, name)).size, 0);
  let most = 0;
  const write = async (): Promise<void> => {
    for (const name of Array(60).fill(['one', 'two', 'three']).flat()) {
      await journal.submit(parcelOf(journal, 500, String(name)));
      most = Math.max(most, bytes());
    }
  };
  await assert.rejects(write(), { code: 'HF_JOURNAL_FULL', outcome: 'not written' });
  assert(most <= bounds.bytesMax, `${most} bytes of ${bounds.bytesMax}`);
  await journal.close();
  folder.remove();
});

test('a held stream that writes no more pins no segment either', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const journal = await Journal.open(journalOptions(folder.path, bounds));
  journal.retention.isHeld = (id) => id === journal.openStream('held', 4, 'key:id').id;
  await journal.submit(parcelOf(journal, 4, 'held'));
  for (let i = 0; i < 80; i++) {
    await journal.submit(parcelOf(journal, 1500, 'busy'));
    confirmAll(journal, 'busy');
  }
  assert.deepEqual(readAll(journal, folder.path, 'held').slice(0, 4), [[1], [1], [1], [1]]);
  await journal.close();
});

test('a damaged segment stays where a held stream needs more of it than can be read', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const journal = await Journal.open(journalOptions(folder.path, bounds));
  journal.retention.isHeld = (id) => id === journal.openStream('held', 4, 'key:id').id;
  await fill(journal, 5);
  const path = join(folder.path, '0000000001.segment');
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.fill(0, bytes.length / 2));
  await assert.rejects(
    fill(journal, 80),
    (error: unknown) =>
      error instanceof HoldfastError &&
      error.code === 'HF_JOURNAL_FULL' &&
      /0000000001.segment is corrupt at byte/.test(error.message),
  );
  assert.deepEqual(
    readdirSync(folder.path).filter((name) => name.includes('0000000001')),
    ['0000000001.segment'],
  );
  assert.equal(journal.state, 'running');
  await journal.close();
});

test('damage to what others are done with keeps no held stream from its copy', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const journal = await Journal.open(journalOptions(folder.path, bounds));
  t.after(() => journal.close());
  journal.retention.isHeld = (id) => id === journal.openStream('held', 4, 'key:id').id;
  await fill(journal, 5);
  const path = join(folder.path, '0000000001.segment');
  const bytes = readFileSync(path);
  const { id: busy } = journal.openStream('busy', 4, 'key:id');
  for (const { header, start } of blocksIn(path)) {
    if (header.kind === blockKind.rows && header.stream === busy) bytes[start] = 255;
  }
  writeFileSync(path, bytes);
  await fill(journal, 80);
  const wanted = Array.from({ length: 85 }, (_, i) => i + 1);
  assert.deepEqual(readAll(journal, folder.path, 'held')[0], wanted);
});

test('a copy that is damaged is no gap, and stays', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  let journal = await Journal.open(journalOptions(folder.path, bounds));
  const isHeld = (id: number): boolean => id === journal.openStream('held', 4, 'key:id').id;
  journal.retention.isHeld = isHeld;
  await fill(journal, 80);
  const copy = readdirSync(folder.path).find((name) => name.includes('.held-')) ?? '';
  const path = join(folder.path, copy);
  const rows = blocksIn(path).filter(({ header }) => header.kind === blockKind.rows);
  const struck = rows.at(4);
  assert(struck, 'a block in the middle');
  const bytes = readFileSync(path);
  bytes[struck.offset + 40] = (bytes[struck.offset + 40] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const isCorrupt = (error: unknown): boolean =>
    error instanceof HoldfastError && error.message.includes(`${copy} is corrupt at byte`);
  assert.throws(() => readAll(journal, folder.path, 'held'), isCorrupt);
  const { id } = journal.openStream('held', 4, 'key:id');
  const stream = { disk: systemDisk, directory: folder.path, id, lanes: 5 };
  assert.throws(() => findGaps([], stream), isCorrupt);
  await journal.close();
  journal = await Journal.open(journalOptions(folder.path, bounds));
  journal.retention.isHeld = isHeld;
  t.after(() => journal.close());
  // All before the damage is confirmed; what is behind it may still be saved.
  for (const { header } of rows.slice(0, 4)) {
    const confirmed = journal.confirmed.get(id);
    if (confirmed) confirmed[header.lane] = header.first + header.rowCount - 1;
  }
  journal.retention.trim();
  assert(readdirSync(folder.path).includes(copy), 'it stays');
});

/** The blocks of a file. */
function blocksIn(path: string): ReadBlock[] {
  const file = systemDisk.open(path, 'read');
  const reader = new BlockReader(file);
  const blocks: ReadBlock[] = [];
  for (let block = reader.read(0); block; block = reader.read(block.next)) blocks.push(block);
  file.close();
  return blocks;
}

test('a copy that could not be followed by its drop is made again, and counted once', async () => {
  const folder = temporaryFolder();
  let nowMs = 0;
  const clock = { ...systemClock, monotonicMs: () => nowMs };
  const journal = await Journal.open(journalOptions(folder.path, { ...bounds, clock }));
  journal.retention.isHeld = (id) => id === journal.openStream('held', 4, 'key:id').id;
  let drops = 0;
  journal.retention.beforeDrop = () => {
    // Full at first, as the requests' database may be on the same disk.
    if (drops++ < 3) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
  };
  for (let i = 0; i < 80; i++) {
    await journal.submit(parcelOf(journal, 4, 'held'));
    try {
      await journal.submit(parcelOf(journal, 1500, 'busy'));
    } catch (error) {
      assert.ok(error instanceof HoldfastError && error.code === 'HF_JOURNAL_FULL', String(error));
      nowMs += 1_000;
      await journal.relieve();
    }
    confirmAll(journal, 'busy');
  }
  assert.ok(drops > 3, `${drops} drops`);
  const copies = readdirSync(folder.path).filter((name) => name.includes('.held-'));
  const bytes = copies.reduce((sum, name) => sum + statSync(join(folder.path, name)).size, 0);
  assert.equal(journal.segments.heldBytes, bytes);
  confirmAll(journal, 'held');
  journal.retention.trim();
  assert.equal(journal.state, 'running');
  await journal.close();
  folder.remove();
});
