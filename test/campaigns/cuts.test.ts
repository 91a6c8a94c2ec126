// The power cuts themselves, and that the disk under them loses what it must and nothing else.
import assert from 'node:assert/strict';
import { closeSync, fsyncSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import test from 'node:test';
import { LossyDisk, whyNoCuts } from '../../prove/cut-disks.ts';
import { cutsCampaign } from '../../prove/cuts.ts';
import { mountFolder } from '../../prove/mounts.ts';
import { proved } from '../support/proofs.ts';

const why = whyNoCuts();
const skip = why ?? false;

test('what can be installed for power cuts is installed where it counts', () => {
  if (process.env['CI'] && process.getuid?.() === 0) assert.doesNotMatch(why ?? '', /installed/);
});

/** A disk of its own, and what it says of the last cut. */
async function withDisk(name: string, use: (disk: LossyDisk) => void): Promise<void> {
  const folder = join(mountFolder(), name);
  const disk = await LossyDisk.start(folder, bytes);
  try {
    use(disk);
  } finally {
    await disk.stop();
    rmSync(folder, { recursive: true });
  }
}

const bytes = 64 * 1024;
const page = 4096;

/** Writes whole pages, each full of one byte. */
function fill(file: number, pages: readonly number[], byte: number): void {
  for (const at of pages) writeSync(file, Buffer.alloc(page, byte), 0, page, at * page);
}

/** The image's pages in one word each: the byte that fills it, or `torn`. */
function pagesOf(disk: LossyDisk, count: number): (number | 'torn')[] {
  const image = readFileSync(disk.image);
  return Array.from({ length: count }, (_, i) => {
    const found = image.subarray(i * page, (i + 1) * page);
    return found.every((byte) => byte === found[0]) ? (found[0] ?? 0) : 'torn';
  });
}

const isIoError = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EIO';

test('the lossy disk keeps what was synced, and a dead file stays dead', { skip }, () =>
  withDisk('keeps', (disk) => {
    const file = openSync(disk.image, 'r+');
    fill(file, [0, 1], 1);
    fsyncSync(file);
    fill(file, [1, 2], 2);
    assert.deepEqual(pagesOf(disk, 3), [1, 2, 2]);
    disk.cut({ seed: 1, keep: 0, unit: 512, after: 0 });
    assert.deepEqual(pagesOf(disk, 3), [1, 1, 0]);
    assert.deepEqual(disk.report, { cuts: 1, writes: 2, torn: 0, kept: 0, dropped: 16 });
    assert.throws(() => fill(file, [0], 3), isIoError);
    assert.throws(() => fsyncSync(file), isIoError);
    assert.throws(() => readSync(file, Buffer.alloc(1)), isIoError);
    closeSync(file);
  }),
);

test('the lossy disk drops, tears and reorders what was not synced', { skip }, () =>
  withDisk('tears', (disk) => {
    const seen = { kept: 0, dropped: 0, torn: 0, reordered: 0 };
    for (let seed = 1; seed <= 40; seed++) {
      const file = openSync(disk.image, 'r+');
      fill(file, [0, 1, 2], 0);
      fsyncSync(file);
      fill(file, [0, 1, 2], seed);
      disk.cut({ seed, keep: 50, unit: seed % 2 === 0 ? 512 : page, after: 0 });
      closeSync(file);
      const [first, , last] = pagesOf(disk, 3);
      if (first === seed) seen.kept++;
      if (first === 0) seen.dropped++;
      if (first === 'torn') seen.torn++;
      if (first === 0 && last === seed) seen.reordered++;
    }
    for (const [what, count] of Object.entries(seen)) assert(count > 0, what);
  }),
);

test('a cut that is ordered ahead strikes between a write and its sync', { skip }, () =>
  withDisk('ahead', (disk) => {
    const file = openSync(disk.image, 'r+');
    disk.cut({ seed: 1, keep: 0, unit: 512, after: 3 });
    fill(file, [0], 1);
    fsyncSync(file);
    fill(file, [1], 1);
    assert.equal(disk.report.cuts, 0);
    assert.throws(() => fsyncSync(file), isIoError);
    closeSync(file);
    assert.deepEqual(pagesOf(disk, 2), [1, 0]);
  }),
);

test('a write that the lossy disk refuses does nothing, and the next one is taken', { skip }, () =>
  withDisk('fails', (disk) => {
    const file = openSync(disk.image, 'r+');
    disk.fail({ after: 1, count: 1 });
    fill(file, [0], 1);
    assert.throws(() => fill(file, [1], 1), isIoError);
    fill(file, [2], 1);
    fsyncSync(file);
    closeSync(file);
    assert.deepEqual(pagesOf(disk, 3), [1, 0, 1]);
  }),
);

test('the lossy disk can lie about a sync, until the cut', { skip }, () =>
  withDisk('lies', (disk) => {
    for (const lies of [true, false]) {
      const file = openSync(disk.image, 'r+');
      if (lies) disk.lie();
      fill(file, [0], 1);
      fsyncSync(file);
      disk.cut({ seed: 1, keep: 0, unit: 512, after: 0 });
      closeSync(file);
      assert.deepEqual(pagesOf(disk, 1), [lies ? 0 : 1]);
    }
  }),
);

test('power cuts under ext4 and XFS lose and double nothing, and controls lose', async () => {
  const { reduced, seen } = await proved(cutsCampaign);
  if (reduced.length > 0) return;
  const controls = Object.entries(seen).filter(([what]) => /^control: .*: lost$/.test(what));
  assert.equal(controls.length, 4);
  for (const [what, lost] of controls) assert(lost > 0, what);
});
