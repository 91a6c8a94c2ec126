// A part of campaign `faults`: two processes and one journal. The directory has one owner while it
// lives, stopped or not, and the next at once when it is dead. A copy of the directory is a second
// owner that no lock can see: the target's epoch fences the first, whenever it wakes.
import assert from 'node:assert/strict';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { shopPath } from '../test/support/crash-folder.ts';
import type { RealAttack } from './call-errors.ts';
import { Violation } from './oracle.ts';
import { ProcessFolder } from './process-folder.ts';
import { ToldLife } from './told-life.ts';

const beforeStop = 8;
/** How long at most it goes on between two tries to stop it. */
const goOnMsMax = 20;
const lockedExit = 5;
const stoppedMs = 60_000;
/** It must acknowledge so many more once it runs again. */
const afterStop = 40;

/** A second process, while the first has the directory: it must refuse, and touch nothing. */
async function refused(folder: ProcessFolder, when: string): Promise<void> {
  const owner = (): string => readFileSync(join(folder.path, 'journal/owner.json'), 'utf8');
  const before = owner();
  const second = new ToldLife(folder, { last: folder.first });
  const exit = await second.end();
  if (second.failed !== 'HF_JOURNAL_LOCKED' || exit !== lockedExit) {
    throw new Violation('wrong', `a second process left with ${exit} while the first ${when}`);
  }
  // The requests have a lock of their own, behind the journal's.
  if (owner() !== before)
    throw new Violation('wrong', `a second process came in while the first ${when}`);
}

/** The owner runs, is stopped, runs again, and is dead: the lock is the kernel's, not a file's. */
async function oneOwner({ root, tally }: RealAttack): Promise<void> {
  const folder = new ProcessFolder(mkdtempSync(join(root, 'owners-')), 'worker');
  const first = new ToldLife(folder);
  assert(await first.untilAcknowledged(beforeStop), 'the first one writes');
  await refused(folder, 'ran');
  first.child.kill('SIGSTOP');
  await refused(folder, 'was stopped');
  first.child.kill('SIGKILL');
  await first.end();
  // Another process has the dead one's number by now: this one.
  writeFileSync(join(folder.path, 'journal/owner.json'), `{"pid":${process.pid}}\n`);
  const next = new ToldLife(folder, { last: folder.first + 5 });
  assert.equal(await next.end(), 0, 'when the owner is dead, the next one opens at once');
  tally.see('real: second processes refused', 2);
  await folder.audit(tally);
  folder.remove();
}

/** The same journal at another place, in front of the same target. */
function copyOf(folder: ProcessFolder, root: string): ProcessFolder {
  const copy = new ProcessFolder(mkdtempSync(join(root, 'copied-')), folder.place);
  copy.remove();
  mkdirSync(copy.path);
  cpSync(join(folder.path, 'journal'), join(copy.path, 'journal'), { recursive: true });
  symlinkSync(shopPath(folder.path), shopPath(copy.path));
  for (const number of folder.acknowledged) copy.acknowledged.add(number);
  return copy;
}

/** Whether nobody holds the target's lock. */
function isFree(path: string): boolean {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec('BEGIN IMMEDIATE; ROLLBACK');
    return true;
  } catch (error) {
    if (error instanceof Error && /locked|busy/.test(error.message)) return false;
    throw error;
  } finally {
    database.close();
  }
}

/** A signal is only sent: the process runs on until each of its threads has met it. */
async function untilStopped(pid: number): Promise<void> {
  const isStopped = (): boolean =>
    readdirSync(`/proc/${pid}/task`).every((thread) =>
      /^State:\tT/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')),
    );
  while (!isStopped()) await pause(1);
}

/** Stopped with the target's lock in its hand, it would let nobody else in: it goes on a little. */
async function stopBesideTarget({ child }: ToldLife, path: string): Promise<void> {
  for (let goOnMs = 1; ; goOnMs = (goOnMs % goOnMsMax) + 1) {
    child.kill('SIGSTOP');
    assert(child.pid !== undefined && child.exitCode === null, 'the first one lives');
    await untilStopped(child.pid);
    if (isFree(path)) return;
    child.kill('SIGCONT');
    await pause(goOnMs);
  }
}

/** Stopped amid its writing; its successor merges what it had; it wakes, and must merge nothing. */
async function fenced({ root, tally }: RealAttack): Promise<void> {
  const folder = new ProcessFolder(mkdtempSync(join(root, 'owners-')), 'own');
  const first = new ToldLife(folder);
  assert(await first.untilAcknowledged(beforeStop), 'the first one writes');
  await stopBesideTarget(first, shopPath(folder.path));
  const copy = copyOf(folder, root);
  const second = new ToldLife(copy, { last: copy.first + 40 });
  assert.equal(await second.end(), 0, 'the second one ends well');
  await copy.audit(tally);
  assert.equal(first.refusals('HF_TARGET'), 0, 'the first one knows of nothing yet');
  first.child.kill('SIGCONT');
  const isTold = await first.until(() => first.refusals('HF_TARGET') > 0);
  const end = `${first.child.exitCode}, ${JSON.stringify(first.told.at(-1))}`;
  assert(isTold, `the first one learns that it was replaced before its end (${end})`);
  first.child.kill('SIGKILL');
  await first.end();
  // What the first one accepted since stands in its own journal, and in no table.
  await copy.audit(tally);
  tally.see('real: first owners fenced');
  copy.remove();
  folder.remove();
}

/** Stopped for a minute amid its writing: whatever it had begun, and its timers, go on. */
async function stoppedForLong({ root, tally }: RealAttack): Promise<void> {
  const folder = new ProcessFolder(mkdtempSync(join(root, 'owners-')), 'worker');
  const life = new ToldLife(folder);
  assert(await life.untilAcknowledged(beforeStop), 'it writes');
  life.child.kill('SIGSTOP');
  await pause(stoppedMs);
  const before = life.acknowledged;
  life.child.kill('SIGCONT');
  assert(await life.untilAcknowledged(before + afterStop), 'it goes on after a minute');
  life.child.kill('SIGTERM');
  assert.equal(await life.end(), 0, 'it ends well');
  assert.equal(life.told.filter((one) => 'refused' in one).length, 0, 'nothing was refused');
  tally.see('real: stopped for a minute');
  await folder.audit(tally);
  folder.remove();
}

export const owners: Readonly<Record<string, (attack: RealAttack) => Promise<void>>> = {
  'one directory, two processes': oneOwner,
  'a copy of the journal fences the first owner': fenced,
  'stopped for a minute, the owner goes on': stoppedForLong,
};
