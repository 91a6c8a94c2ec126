// A part of campaign `faults`: a real process runs out of room, of descriptors, or of the right to
// make a file larger. Where only room is lacking it takes nothing more, and goes on without a
// restart once there is some; nothing that it acknowledged is lost by any of it. And a disk that is
// gone, or that may only be read.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import type { LoaderPlace } from '../test/support/crash-folder.ts';
import type { RealAttack } from './call-errors.ts';
import { Violation } from './oracle.ts';
import { ProcessFolder } from './process-folder.ts';
import { type FileSystem, SmallDisk } from './small-disk.ts';
import { ToldLife } from './told-life.ts';

/** Far more than the segment and its spare take. */
const requestsAfter = 400;
const beforeStrike = 8;
/** Less than a segment: its making is cut short. */
const leftBytes = 30 * 1024;

interface Shortage {
  readonly strike: (life: ToldLife) => void;
  readonly relieve: (life: ToldLife) => void;
}

/** It must say that it is full, take nothing more, and go on when there is room, in one life. */
async function starve(folder: ProcessFolder, shortage: Shortage, { tally }: RealAttack) {
  const life = new ToldLife(folder);
  assert(await life.untilAcknowledged(beforeStrike), 'it writes before it is struck');
  // It would take what is being filled.
  life.child.kill('SIGSTOP');
  shortage.strike(life);
  life.child.kill('SIGCONT');
  const isFull = await life.until((one) => 'full' in one);
  if (isFull) shortage.relieve(life);
  const goesOn = await life.untilAcknowledged(life.acknowledged + requestsAfter);
  life.child.kill('SIGTERM');
  const exit = await life.end();
  if (!isFull)
    throw new Violation(
      'wrong',
      `it never said that it is full, and left with ${exit}: ${life.failed}`,
    );
  if (exit !== 0) throw new Violation('wrong', `it left with ${exit}: ${life.failed}`);
  assert(goesOn, 'with room it takes requests again');
  assert.equal(life.acknowledged, folder.first - 1, 'all that waited for room was taken');
  tally.see('real: shortages that were survived');
  await folder.audit(tally);
}

async function fullDisk(attack: RealAttack, kind: FileSystem, place: LoaderPlace): Promise<void> {
  const disk = new SmallDisk(mkdtempSync(join(attack.root, 'disk-')), kind);
  try {
    const folder = new ProcessFolder(join(disk.path, 'folder'), place);
    const strike = (): void => disk.fill(leftBytes);
    await starve(folder, { strike, relieve: () => disk.relieve() }, attack);
    if (kind === 'tmpfs') await readOnly(disk, folder, attack);
    else await gone(disk, folder, attack);
  } finally {
    disk.remove();
  }
}

/** A process that opens where nothing may be written refuses, and harms nothing. */
async function readOnly(disk: SmallDisk, folder: ProcessFolder, { tally }: RealAttack) {
  disk.setReadOnly(true);
  const life = new ToldLife(folder, { last: folder.first + 5 });
  const exit = await life.end();
  disk.setReadOnly(false);
  if (life.failed !== 'HF_JOURNAL_FAILED') {
    throw new Violation('wrong', `on a read-only disk it left with ${exit}: ${life.failed}`);
  }
  tally.see('real: read-only disks');
  await folder.audit(tally);
}

/** The kernel itself gives EIO from now on: it fails for good, and the next one has everything. */
async function gone(disk: SmallDisk, folder: ProcessFolder, { tally }: RealAttack) {
  const life = new ToldLife(folder);
  assert(await life.untilAcknowledged(beforeStrike), 'it writes before its disk is gone');
  disk.shutDown();
  const exit = await life.end();
  if (exit !== 70)
    throw new Violation('wrong', `its disk is gone, and it left with ${exit}: ${life.failed}`);
  disk.remount();
  tally.see('real: disks that were gone');
  await folder.audit(tally);
}

/** While it runs, it may open no further file. */
async function noDescriptor(attack: RealAttack): Promise<void> {
  const folder = new ProcessFolder(mkdtempSync(join(attack.root, 'limited-')), 'own');
  const limit = (files: number) => (life: ToldLife) => {
    execFileSync('prlimit', [`--nofile=${files}:`, '--pid', String(life.child.pid)]);
  };
  await starve(folder, { strike: limit(4), relieve: limit(1_000) }, attack);
  attack.tally.see('real: descriptors exhausted');
  folder.remove();
}

/** No file may become as large as a segment: nothing can be opened, and nothing is spoilt. */
async function tooLarge({ root, tally }: RealAttack): Promise<void> {
  const folder = new ProcessFolder(mkdtempSync(join(root, 'limited-')), 'own');
  const under = ['bash', '-c', 'ulimit -f 60; exec "$@"', '--'];
  const refused = new ToldLife(folder, { last: 1, under });
  const exit = await refused.end();
  if (refused.failed !== 'HF_JOURNAL_FULL') {
    throw new Violation('wrong', `no file may be so large, and it left with ${exit}`);
  }
  const life = new ToldLife(folder, { last: 5 });
  assert.equal(await life.end(), 0, 'with room it opens');
  tally.see('real: files that may not grow');
  await folder.audit(tally);
  folder.remove();
}

/** One of each; what wants root is left out without it. */
export const shortages = (
  isRoot: boolean,
): Record<string, (attack: RealAttack) => Promise<void>> => ({
  'no descriptor is left': noDescriptor,
  'no file may grow': tooLarge,
  ...(isRoot && {
    'tmpfs is full': (attack: RealAttack) => fullDisk(attack, 'tmpfs', 'worker'),
    'XFS is full': (attack: RealAttack) => fullDisk(attack, 'xfs', 'own'),
  }),
});
