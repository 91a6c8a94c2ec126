// A part of campaign `faults`: the journal and its SQLite file on ext4 whose disk is thin: a file
// that has no room for what the file system has promised. Writes go well; it is a sync that fails,
// with EIO of the kernel's own, and what was to be synced is gone.
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isShortage } from '../src/journal/disk-failure.ts';
import type { RealAttack } from './call-errors.ts';
import { clearAway, mountFolder, mountImage, mountMemory, run, unmount } from './mounts.ts';
import { Violation } from './oracle.ts';
import { ProcessFolder } from './process-folder.ts';
import { ToldLife } from './told-life.ts';

/** What the disk says that it holds, and what it has. */
const saidBytes = 64 * 1024 * 1024;
const roomBytes = 24 * 1024 * 1024;
const stepBytes = 64 * 1024;
const beforeStrike = 8;
const journalFailedExit = 70;

/** Takes all the room that is left. */
function fill(path: string): void {
  const ballast = openSync(path, 'w');
  try {
    for (;;) writeSync(ballast, Buffer.alloc(stepBytes, 1));
  } catch (error) {
    if (!isShortage(error)) throw error;
  } finally {
    closeSync(ballast);
  }
}

async function makeDisk(image: string): Promise<void> {
  await run('truncate', '-s', String(saidBytes), image);
  // Nothing that the file system would do later by itself may need room.
  const atOnce = 'lazy_itable_init=0,lazy_journal_init=0,nodiscard';
  await run('mkfs.ext4', '-q', '-F', '-E', atOnce, image);
}

/** Until it runs out; then there is room, the file system is checked, and the next one opens. */
async function runOut({ tally }: RealAttack): Promise<void> {
  const base = mkdtempSync(join(mountFolder(), 'thin-'));
  const [room, path] = [join(base, 'room'), join(base, 'disk')];
  const [image, ballast] = [join(room, 'image'), join(room, 'ballast')];
  try {
    await mountMemory(room, roomBytes);
    await makeDisk(image);
    mkdirSync(path);
    await mountImage(image, path);
    const folder = new ProcessFolder(join(path, 'folder'), 'worker');
    const life = new ToldLife(folder);
    assert(await life.untilAcknowledged(beforeStrike), 'it writes before its disk runs out');
    fill(ballast);
    const exit = await life.end();
    if (exit !== journalFailedExit) {
      throw new Violation('wrong', `its disk ran out, and it left with ${exit}: ${life.failed}`);
    }
    rmSync(ballast);
    await unmount(path);
    // Leaves with 1 where it mended something.
    await run('sh', '-c', `e2fsck -fy ${image} || test $? -le 1`);
    await mountImage(image, path);
    tally.see('real: thin disks that ran out');
    await folder.audit(tally);
  } finally {
    clearAway(base);
  }
}

/** Wants root, and what mounts and checks ext4. */
export const thinDisks: Record<string, (attack: RealAttack) => Promise<void>> = {
  'a thin disk runs out': runOut,
};
