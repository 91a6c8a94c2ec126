// What may be tried again when a segment cannot be begun, and what is final (I3).
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemDisk } from '../src/disk.ts';
import { HoldfastError } from '../src/errors.ts';
import { Journal } from '../src/journal/journal.ts';
import { readJournal } from '../src/journal/recovery.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import type { FaultPlan } from './simulation/simulated-fault.ts';
import { journalOptions, parcelOf, temporaryFolder } from './support/journals.ts';

const directory = '/journal';
const segmentBytes = 16 * 1024;

const recordsOn = (disk: SimulatedDisk): number =>
  [...(readJournal(disk, directory)?.last.values() ?? [])]
    .flatMap((last) => [...last])
    .reduce((a, b) => a + b, 0);

/** Two spares are ready, and the disk is struck when the segment is full. */
async function strike(plan: FaultPlan) {
  const disk = new SimulatedDisk();
  const journal = await Journal.open(journalOptions(directory, { disk, segmentBytes }));
  await journal.segments.prepare();
  // The journal tries a roll twice before it refuses anybody.
  disk.inject(plan);
  disk.inject(plan);
  for (let records = 0; ; records += 100) {
    try {
      // Of a new stream each time, which the segment has to be told.
      await journal.submit(parcelOf(journal, 100, `s${records}`));
    } catch (error) {
      assert.ok(error instanceof HoldfastError);
      return { disk, journal, records, error };
    }
  }
}

const shortages: readonly FaultPlan[] = [
  { fault: 'EMFILE', operation: 'open write' },
  { fault: 'ENOSPC', operation: 'rename', path: '.segment' },
  { fault: 'EDQUOT', operation: 'rename', path: '.segment' },
  { fault: 'EMFILE', operation: 'open directory' },
];

for (const [plan, isRelieved] of shortages.flatMap(
  (one) =>
    [
      [one, false],
      [one, true],
    ] as const,
)) {
  const by = isRelieved ? 'the upkeep' : 'a write';
  test(`the roll is tried again by ${by} after ${plan.fault} of ${plan.operation}`, async () => {
    const { disk, journal, records, error } = await strike(plan);
    assert.deepEqual([error.code, error.outcome], ['HF_JOURNAL_FULL', 'not written']);
    assert.match(error.message, new RegExp(plan.fault));
    const { segment } = journal.end;
    // What still fits goes into the old segment, and with it what it was not told yet.
    await journal.submit(parcelOf(journal, 2, `s${records}`));
    assert.equal(journal.end.segment, segment);
    assert.match(journal.segments.shortage ?? '', new RegExp(plan.fault));
    // Nobody needs to write for it: whoever looks at its health would take it for full.
    if (isRelieved) await journal.relieve();
    else await journal.submit(parcelOf(journal, 100));
    assert.equal(journal.end.segment, segment + 1);
    await journal.submit(parcelOf(journal, 100));
    assert.deepEqual([journal.state, journal.segments.shortage], ['running', undefined]);
    const after = isRelieved ? 102 : 202;
    assert.equal(recordsOn(disk.crash({ keep: () => false })), records + after);
  });
}

test('without a descriptor for its directory no name is changed', (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  // What cannot be opened here is not there; with no descriptor left it is the same call.
  const gone = join(folder.path, 'gone');
  let isChanged = false;
  const change = (): void => {
    isChanged = true;
  };
  assert.throws(() => systemDisk.changeNames(gone, change), /ENOENT/);
  assert.equal(isChanged, false);
  systemDisk.changeNames(folder.path, change);
  assert.equal(isChanged, true);
});

const failures: readonly FaultPlan[] = [
  { fault: 'EIO', operation: 'open write' },
  { fault: 'EIO', operation: 'rename', path: '.segment' },
  { fault: 'ENOSPC', operation: 'syncDirectory' },
];

for (const plan of failures) {
  test(`a roll that met ${plan.fault} of ${plan.operation} is final`, async () => {
    const { disk, journal, records, error } = await strike(plan);
    assert.deepEqual([error.code, error.outcome], ['HF_JOURNAL_FAILED', 'not written']);
    assert.equal(journal.state, 'failed');
    assert.equal(recordsOn(disk.crash()), records);
  });
}

for (const operation of ['write', 'sync']) {
  test(`a ${operation} of a checkpoint that finds no room is final`, async () => {
    const plan = { fault: 'ENOSPC', operation, path: 'spare-0000000002' } as const;
    const { disk, journal, records, error } = await strike(plan);
    assert.deepEqual([error.code, journal.state], ['HF_JOURNAL_FAILED', 'failed']);
    assert.equal(recordsOn(disk.crash()), records);
  });
}

test('a segment that no descriptor is left to drop stays, and is dropped later', async () => {
  const disk = new SimulatedDisk();
  const journal = await Journal.open(journalOptions(directory, { disk, segmentBytes }));
  for (let i = 0; i < 20; i++) await journal.submit(parcelOf(journal, 100));
  await journal.segments.prepare();
  const before = disk.list(directory);
  const { length } = journal.segments.list;
  for (const [stream, last] of journal.last) journal.confirmed.set(stream, last.slice());
  disk.inject({ fault: 'EMFILE', operation: 'open directory' });
  journal.retention.trim();
  assert.deepEqual(disk.list(directory), before);
  assert.match(journal.segments.stuck ?? '', /EMFILE/);
  await journal.relieve();
  assert.equal(journal.segments.stuck, undefined);
  assert.ok(journal.segments.list.length < length);
  assert.equal(recordsOn(disk.crash()), 2_000);
});
