// bench journal: records acknowledged after their sync.
//
// group256, group4096: the journal itself (Journal.submit), groups of that many records of 200
// bytes over 64 lanes, one group after another, confirmed at once so that segments are dropped as
// in a long run; a new segment is zeroed meanwhile. `of`: the same bytes, without block headers, by
// a bare loop of write + fdatasync into a file of zeros of a segment's size, over and over. single:
// one `holdfast.write` of one row through the library, with an SQLite target, alone: each waits
// until the one before is settled. `of`: one bare write + fdatasync of 200 bytes.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as turn } from 'node:timers/promises';
import type { Table } from '../src/accept/columns.ts';
import { laneOfHash, laneSeed, mix } from '../src/accept/lanes.ts';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import { systemClock } from '../src/clock.ts';
import { type DiskFile, systemDisk } from '../src/disk.ts';
import { open } from '../src/holdfast.ts';
import type { Parcel } from '../src/journal/group.ts';
import { Journal } from '../src/journal/journal.ts';
import { limits } from '../src/limits.ts';
import { newMetrics } from '../src/metrics.ts';
import { type BenchOptions, type Figure, type Figures, figureOf, median } from './figures.ts';
import { CpuMeter } from './machine.ts';

const recordBytes = 200;
const rounds = 7;
/** Each of the two gets this much of a round, in slices: a disturbance hits both. */
const roundMs = 900;
const sliceMs = 30;
const singles = 150;
const lanes = limits.lanesDefault;

export async function benchJournal({ say }: BenchOptions): Promise<Figures> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  try {
    const bare = await BareFile.create(join(directory, 'bare'));
    const groups: Record<string, Figure> = {};
    for (const records of [256, 4096]) {
      const name = `group${records}`;
      say(`${name}: ${rounds} rounds of ${roundMs} ms, bare and journal in turn`);
      groups[name] = await benchGroups(join(directory, name), records, bare);
    }
    say(`single: ${rounds} rounds of ${singles} pairs`);
    const single = await benchSingle(directory, bare);
    bare.close();
    return { ...groups, single };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** A file of zeros, written round and round. */
class BareFile {
  readonly #file: DiskFile;
  #at = 0;

  private constructor(file: DiskFile) {
    this.#file = file;
  }

  static async create(path: string): Promise<BareFile> {
    await systemDisk.createZeroed(path, limits.segmentBytes);
    return new BareFile(systemDisk.open(path, 'write'));
  }

  append(bytes: Uint8Array): void {
    if (this.#at + bytes.length > limits.segmentBytes) this.#at = 0;
    for (let done = 0; done < bytes.length; ) {
      done += this.#file.write(bytes.subarray(done), this.#at + done);
    }
    this.#at += bytes.length;
    this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }
}

const text = { kind: 'text' } as const;
const int = { kind: 'int', bytes: 8 } as const;
const column = { nullable: false, hasDefault: false, writable: true, bytewiseEqual: true };
const table: Table = {
  name: 'records',
  columns: [
    { ...column, name: 'id', type: int, sqlType: 'bigint' },
    { ...column, name: 'body', type: text, sqlType: 'text' },
  ],
  keys: [['id']],
  fingerprint: 'bench',
  warnings: [],
};

/** Tuples of two fields, int8 and text, 200 bytes each, over the lanes by a hash of the int8. */
function buildRows(records: number): RowBuffer {
  const rows = new RowBuffer(records * recordBytes, records);
  const set = rows.setIndex([0, 1]);
  const bodyBytes = recordBytes - 2 - 12 - 4;
  for (let i = 0; i < records; i++) {
    const at = i * recordBytes;
    rows.reserve(at, recordBytes);
    rows.view.setInt16(at, 2);
    rows.view.setInt32(at + 2, 8);
    rows.view.setBigInt64(at + 6, BigInt(i));
    rows.view.setInt32(at + 14, bodyBytes);
    rows.bytes.fill(97 + (i % 26), at + 18, at + recordBytes);
    rows.push(at + recordBytes, set, laneOfHash(mix(laneSeed, i), lanes));
  }
  return rows;
}

async function openJournal(directory: string): Promise<Journal> {
  return Journal.open({
    disk: systemDisk,
    clock: systemClock,
    metrics: newMetrics(),
    directory,
    pid: process.pid,
    segmentBytes: limits.segmentBytes,
    bytesMax: limits.journalBytesMax,
    retentionMsMin: 0,
    retentionBytesMin: 0,
  });
}

async function benchGroups(directory: string, records: number, bare: BareFile): Promise<Figure> {
  const journal = await openJournal(directory);
  const { id: stream } = journal.openStream('records', lanes, 'key:id');
  const { dictionary, last, confirmed } = journal;
  const rows = buildRows(records);
  const shape = dictionary.shape(dictionary.table(stream, table).id, [0, 1]);
  const parcel: Parcel = { stream, lanes, rows, shapes: [shape], undecoded: [] };
  const bytes = rows.bytes.subarray(0, rows.length);
  journal.listen({
    onSynced: () => confirmed.set(stream, Float64Array.from(last.get(stream) ?? [])),
    beforeDrop: () => undefined,
  });
  const runs = [];
  for (let round = 0; round <= rounds; round++) {
    const meter = new CpuMeter();
    const spent = { bare: noSpending(), journal: noSpending() };
    while (spent.journal.ms < roundMs) {
      await spend(spent.bare, async () => bare.append(bytes));
      await spend(spent.journal, () => journal.submit(parcel));
    }
    const rate = ({ groups, ms }: Spending): number => (groups * records * 1000) / ms;
    const [value, of] = [rate(spent.journal), rate(spent.bare)];
    // The first round warms the compiler up.
    if (round > 0) runs.push({ value, of, others: meter.others() });
  }
  await journal.close();
  return figureOf('records/s', runs);
}

interface Spending {
  groups: number;
  ms: number;
}

const noSpending = (): Spending => ({ groups: 0, ms: 0 });

/** One slice of groups, one after another. */
async function spend(on: Spending, append: () => Promise<unknown>): Promise<void> {
  const begun = performance.now();
  let passed = 0;
  while (passed < sliceMs) {
    await append();
    on.groups++;
    passed = performance.now() - begun;
  }
  on.ms += passed;
}

async function benchSingle(directory: string, bare: BareFile): Promise<Figure> {
  const path = join(directory, 'target.db');
  const database = new DatabaseSync(path);
  database.exec('PRAGMA journal_mode=WAL');
  database.exec('CREATE TABLE records (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT');
  database.close();
  const holdfast = await open({
    journal: join(directory, 'single'),
    target: `sqlite:${path}`,
    streams: { records: { table: 'records', key: ['id'] } },
  });
  const bytes = new Uint8Array(recordBytes).fill(97);
  const body = 'a'.repeat(recordBytes - 18);
  let id = 0;
  const runs = [];
  for (let round = 0; round <= rounds; round++) {
    const meter = new CpuMeter();
    const times: { bare: number[]; write: number[] } = { bare: [], write: [] };
    for (let i = 0; i < singles; i++) {
      await turn();
      const begun = performance.now();
      bare.append(bytes);
      times.bare.push(performance.now() - begun);
      await turn();
      const asked = performance.now();
      const receipt = await holdfast.write('records', { id: ++id, body });
      times.write.push(performance.now() - asked);
      await receipt.settled;
    }
    const value = median(times.write) * 1000;
    const of = median(times.bare) * 1000;
    if (round > 0) runs.push({ value, of, others: meter.others() });
  }
  await holdfast.close();
  return figureOf('µs', runs);
}
