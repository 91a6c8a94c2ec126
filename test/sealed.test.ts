// Segments that have a successor: opening reads their first block and no more, and damage inside
// them is told by whoever reads it.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import { type Disk, systemDisk } from '../src/disk.ts';
import { HoldfastError } from '../src/errors.ts';
import { bytesOf, headerBytes, readHeader, sealBlock } from '../src/journal/block.ts';
import { headWindowBytes } from '../src/journal/block-reader.ts';
import { segmentNumbers, segmentPath } from '../src/journal/files.ts';
import type { Parcel } from '../src/journal/group.ts';
import { checkJournal, dumpJournal, salvageJournal } from '../src/journal/inspect.ts';
import { Journal } from '../src/journal/journal.ts';
import { type CheckpointNote, decodeNote, encodeNote } from '../src/journal/notes.ts';
import { readJournal } from '../src/journal/recovery.ts';
import { readHead } from '../src/journal/segment-head.ts';
import { Feed } from '../src/merge/feed.ts';
import { findGaps } from '../src/merge/gaps.ts';
import { blocksOf } from '../src/merge/journaled.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { diskWith, journalOptions, parcelOf, temporaryFolder } from './support/journals.ts';
import { column, reader, tableOf } from './support/rows.ts';

const segmentBytes = 256 * 1024;

/** A closed journal of some segments; every second group has a request. */
async function closedJournal(t: TestContext, groups = 18): Promise<string> {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const directory = join(folder.path, 'journal');
  const journal = await Journal.open(journalOptions(directory, { segmentBytes }));
  await append(journal, groups);
  await journal.close();
  return directory;
}

/** Rows that can be dumped, in a column of text. */
function readableParcel(journal: Journal): Parcel {
  const parcel = parcelOf(journal, 1500);
  const columns = [column('note', { kind: 'text' })];
  const table = { name: 't', columns, keys: [], fingerprint: 'f', warnings: [] };
  const { id } = journal.dictionary.table(parcel.stream, table);
  return { ...parcel, shapes: [journal.dictionary.shape(id, [0])] };
}

async function append(journal: Journal, groups: number): Promise<void> {
  for (let i = 0; i < groups; i++) {
    const { keep, ...parcel } = readableParcel(journal);
    await journal.submit(i % 2 === 0 ? { ...parcel, keep: { key: `key ${i}`, ...keep } } : parcel);
  }
}

const isCorrupt = (path: string, offset?: number) => (error: unknown) =>
  error instanceof HoldfastError &&
  error.code === 'HF_CORRUPT' &&
  error.message.includes(offset === undefined ? path : `${path} is corrupt at byte ${offset}:`);

/** Opens it as a process does that remembers every request, and closes it. */
const reopen = async (directory: string): Promise<void> =>
  (await Journal.open(journalOptions(directory, { segmentBytes }))).close();

function changeBytes(path: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(path);
  change(bytes);
  writeFileSync(path, bytes);
}

/** Writes another checkpoint of the same length into a segment. */
function changeCheckpoint(path: string, change: (note: CheckpointNote) => object): void {
  changeBytes(path, (file) => {
    const bytes = bytesOf(file);
    const header = readHeader(bytes, 0);
    assert(header);
    const payload = file.subarray(headerBytes, headerBytes + header.payloadBytes);
    const changed = encodeNote(change(decodeNote<CheckpointNote>(payload)));
    assert(changed.length <= payload.length);
    payload.fill(' ').set(changed);
    sealBlock(bytes, 0, header);
  });
}

test('opening reads the checkpoints of sealed segments alone, and knows as much', async (t) => {
  const directory = await closedJournal(t);
  const whole = readJournal(systemDisk, directory);
  const sealed = segmentNumbers(systemDisk, directory).slice(0, -1);
  assert(sealed.length >= 3, `${sealed.length} sealed segments`);
  let reads = 0;
  const disk = diskWith({
    open: (path, mode) => {
      const file = systemDisk.open(path, mode);
      if (!sealed.some((number) => path === segmentPath(directory, number))) return file;
      const read = (into: Uint8Array, position: number): number => {
        assert(position + into.length <= headWindowBytes, `${into.length} bytes at ${position}`);
        reads++;
        return file.read(into, position);
      };
      return { ...file, read };
    },
  });
  assert.deepEqual(readJournal(disk, directory, { isKnown: () => true }), whole);
  assert.equal(reads, sealed.length);
  const journal = await Journal.open(journalOptions(directory, { segmentBytes, disk }));
  assert.equal(journal.retention.unconfirmedBytes(1), 18 * 1500 * 40);
  await journal.close();
});

test('segments with requests that nothing else knows are read for them (P20)', async (t) => {
  const directory = await closedJournal(t);
  const all: number[] = [];
  readJournal(systemDisk, directory, {
    onRequests: (notes) => all.push(...notes.map(({ id }) => id)),
  });
  assert.equal(all.length, 9);
  for (const known of [-1, ...all]) {
    const told: number[] = [];
    readJournal(systemDisk, directory, {
      isKnown: (request) => request <= known,
      onRequests: (notes) => told.push(...notes.map(({ id }) => id)),
    });
    const wanted = all.filter((id) => id > known);
    assert.deepEqual(
      told.filter((id) => id > known),
      wanted,
      `of those after ${known}`,
    );
  }
});

test('damage inside a sealed segment is told with file and offset by who reads it', async (t) => {
  const directory = await closedJournal(t);
  const path = segmentPath(directory, 2);
  const whole = readFileSync(path);
  const second = readHeader(bytesOf(whole), 0);
  assert(second);
  const at = headerBytes + ((second.payloadBytes + 7) & ~7);
  // In the header of the first block of records, and in its payload.
  for (const offset of [at + 40, at + headerBytes + 10]) {
    changeBytes(path, (bytes) => bytes.set([(bytes[offset] ?? 0) ^ 1], offset));
    await reopen(directory);
    const { end, dictionary } = readJournal(systemDisk, directory, { isKnown: () => true }) ?? {};
    assert(end && dictionary);
    const feed = new Feed({ disk: systemDisk, directory, stream: 1, serves: () => true }, 5);
    feed.seek(new Float64Array(5));
    feed.extend(end);
    const segments = new Set<number>();
    assert.throws(
      () =>
        feed.read(({ header }) => {
          segments.add(header.segment);
          return 'more';
        }),
      isCorrupt(path, at),
    );
    feed.close();
    assert.deepEqual([...segments], [1]);
    assert.equal(checkJournal(systemDisk, directory).problems[0]?.file, path);
    let dumped = 0;
    const dump = (): void => {
      for (const _ of dumpJournal(systemDisk, directory)) dumped++;
    };
    assert.throws(dump, isCorrupt(path, at));
    assert(dumped > 0 && dumped < 18 * 1500, 'what reads well is dumped, behind it too');
    writeFileSync(path, whole);
  }
});

test('a sealed segment of another life is corruption at open', async (t) => {
  const directory = await closedJournal(t, 3);
  const other = `${directory}-other`;
  cpSync(directory, other, { recursive: true });
  rmSync(join(other, 'lock'));
  for (const one of [directory, other]) {
    const journal = await Journal.open(journalOptions(one, { segmentBytes }));
    await append(journal, 15);
    await journal.close();
  }
  // The same groups of the same writer, at the same places.
  const path = segmentPath(directory, 3);
  const bytes = readFileSync(segmentPath(other, 3));
  assert.equal(bytes.length, readFileSync(path).length);
  writeFileSync(path, bytes);
  // Which of the two is the strange one, nobody can say.
  await assert.rejects(reopen(directory), isCorrupt(segmentPath(directory, 2)));
});

test('checkpoints that go back, skip or overreach are corruption at open', async (t) => {
  const directory = await closedJournal(t);
  const path = segmentPath(directory, 3);
  const whole = readFileSync(path);
  const back = ({ marks, ...note }: CheckpointNote) => ({
    ...note,
    marks: marks.map((mark) => ({ ...mark, last: mark.last.map((last, i) => (i ? last : 1)) })),
  });
  changeCheckpoint(path, back);
  await assert.rejects(reopen(directory), isCorrupt(path));
  writeFileSync(path, whole);
  changeCheckpoint(path, (note) => ({ ...note, marks: [] }));
  await assert.rejects(reopen(directory), isCorrupt(path));
  for (const offset of [0, segmentBytes + 8]) {
    writeFileSync(path, whole);
    changeBytes(path, (bytes) => {
      const header = readHeader(bytesOf(bytes), 0);
      assert(header);
      sealBlock(bytesOf(bytes), 0, { ...header, durable: { ...header.durable, offset } });
    });
    await assert.rejects(reopen(directory), isCorrupt(segmentPath(directory, 2)));
  }
  writeFileSync(path, whole);
  await reopen(directory);
});

test('a segment whose successor tells nothing of it is read, as before', async (t) => {
  const directory = await closedJournal(t);
  for (const number of segmentNumbers(systemDisk, directory)) {
    changeCheckpoint(segmentPath(directory, number), (note) => ({ ...note, sealed: undefined }));
  }
  await reopen(directory);
  const whole = readJournal(systemDisk, directory);
  assert.deepEqual(readJournal(systemDisk, directory, { isKnown: () => true }), whole);
  assert.equal(whole?.segments[1]?.bytesOf.get(1), whole?.segments[0]?.bytesOf.get(1));
  const path = segmentPath(directory, 2);
  changeBytes(path, (bytes) => bytes.fill(0, 100_000, 100_100));
  await assert.rejects(reopen(directory), isCorrupt(path));
});

test('what follows a clean end builds on it once it is durable (P17)', async () => {
  const first = new SimulatedDisk({ seed: 3 });
  const open = (disk: Disk) => Journal.open(journalOptions('/journal', { disk, segmentBytes }));
  const journal = await open(first);
  await append(journal, 4);
  await journal.segments.prepare();
  // Killed between the write of the end and its sync.
  first.inject({ fault: 'die', operation: 'sync' });
  await assert.rejects(journal.close());
  const second = first.kill();
  const next = await open(second);
  // The first group has no room in that segment any more.
  await append(next, 1);
  const { end } = next;
  assert.equal(end.segment, 2);
  const third = second.crash({ keep: () => false });
  assert.deepEqual((await open(third)).end, end);
  assert.equal(checkJournal(third, '/journal').ok, true);
});

test('what is damaged is no gap to be passed over (P3)', async (t) => {
  const directory = await closedJournal(t);
  const stream = { disk: systemDisk, directory, id: 1, lanes: 4 };
  assert.deepEqual(findGaps([], stream), []);
  const [, second = 0] = segmentNumbers(systemDisk, directory);
  const path = segmentPath(directory, second);
  changeBytes(path, (bytes) => bytes.fill(0, 100_000));
  assert.throws(() => findGaps([], stream), isCorrupt(path));
  changeBytes(path, (bytes) => bytes.fill(0, 100, 101));
  assert.throws(() => findGaps([], stream), isCorrupt(path, 0));
  // Without what came before it is what the journal begins with: that is a gap.
  rmSync(segmentPath(directory, second - 1));
  rmSync(path);
  assert.notDeepEqual(findGaps([], stream), []);
});

test('who looks for some records of a stream reads the segments that have them', async (t) => {
  const directory = await closedJournal(t);
  const numbers = segmentNumbers(systemDisk, directory);
  const stream = { disk: systemDisk, directory, id: 1 };
  const began = (number: number): number => {
    const mark = readHead(systemDisk, directory, number).note.marks.find(
      ({ stream }) => stream === 1,
    );
    return mark?.last[0] ?? 0;
  };
  const [, second = 0, third = 0] = numbers;
  const wanted = began(third);
  assert(wanted > began(second), 'the second one has records of the lane');
  const read = new Set<number>();
  const hasIt = (from: ArrayLike<number>, to: ArrayLike<number> | undefined): boolean =>
    (from[0] ?? 0) < wanted && (to?.[0] ?? Number.POSITIVE_INFINITY) >= wanted;
  for (const { block } of blocksOf(stream, hasIt)) read.add(block.header.segment);
  assert.deepEqual([...read], [second]);
});

test('salvage writes rows that dump shows, and what never decoded with its bytes', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const directory = join(folder.path, 'journal');
  const journal = await Journal.open(journalOptions(directory, { segmentBytes }));
  const raw = Buffer.from([0x7b, 0xff, 0xc3, 0x28, 0x00]);
  const undecoded = [{ raw, code: 'bad-json', message: 'no row' }] as const;
  await journal.submit({ ...readableParcel(journal), undecoded });
  await journal.close();
  const dumped: Buffer[] = [];
  for (const { row, raw: bytes } of dumpJournal(systemDisk, directory)) {
    dumped.push(Buffer.concat([row ?? bytes ?? Buffer.alloc(0), Buffer.from('\n')]));
  }
  assert.equal(dumped.length, 1501);
  assert(dumped.some((line) => line.subarray(0, -1).equals(raw)));
  const [kept] = salvageJournal(systemDisk, directory, join(folder.path, 'out')).kept;
  assert.equal(kept?.records, 1501);
  assert(readFileSync(kept.file).equals(Buffer.concat(dumped)));
});

test('a row whose JSON has ends of lines is dumped and salvaged on one line', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const directory = join(folder.path, 'journal');
  const journal = await Journal.open(journalOptions(directory, { segmentBytes }));
  const { stream, lanes } = parcelOf(journal, 0);
  const table = tableOf(column('doc', { kind: 'json' }), column('binary', { kind: 'jsonb' }));
  const rows = new RowBuffer();
  const doc = (end: string): string =>
    `{${end}"b":${end}1.50e0,${end}"a":"x\\ny",${end}"b":9007199254740993${end}}`;
  const text = `[{"doc":${doc('\r\n')},"binary":${doc('\n\t')}}]`;
  assert.deepEqual(reader(table).json(Buffer.from(text), rows).rejected, []);
  const { id } = journal.dictionary.table(stream, table);
  const shapes = [journal.dictionary.shape(id, [0, 1])];
  await journal.submit({ stream, lanes, rows, shapes, undecoded: [], keep: {} });
  await journal.close();
  const row = `{"doc":${doc('  ')},"binary":${doc(' \t')}}`;
  const dumped = [...dumpJournal(systemDisk, directory)].map((record) => String(record.row));
  assert.deepEqual(dumped, [row]);
  const [kept] = salvageJournal(systemDisk, directory, join(folder.path, 'out')).kept;
  assert.equal(readFileSync(kept?.file ?? '', 'utf8'), `${row}\n`);
});
