// A part of campaign `faults`: each sync of a real process takes long (strace), and a process that
// the kernel kills for want of memory. No acknowledgement comes before its sync has returned.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { writersMax } from '../test/support/crash-folder.ts';
import type { RealAttack } from './call-errors.ts';
import { Violation } from './oracle.ts';
import { ProcessFolder } from './process-folder.ts';
import { injecting, journalPaths } from './strace.ts';
import { ToldLife } from './told-life.ts';

const requests = 16;
const syncMs = 300;
const microseconds = 1_000;

/**
 * A group holds a request of each writer at most, and each of their next ones waits for its sync:
 * so many syncs must have passed, one after another.
 */
async function slowSyncs({ root, tally }: RealAttack): Promise<void> {
  const folder = new ProcessFolder(mkdtempSync(join(root, 'slow-')), 'worker');
  const effect = `delay_enter=${syncMs * microseconds}`;
  const injection = { call: 'fdatasync', at: 1, isLasting: true, effect } as const;
  const traced = injecting(journalPaths(folder.path), injection);
  const life = new ToldLife(folder, { last: requests, traced });
  assert(await life.until((one) => 'opened' in one), 'it opens');
  const begunMs = performance.now();
  assert.equal(await life.end(), 0, 'it is slow, and ends well');
  // The first group may have been under way when it was heard to be open.
  const syncs = Math.ceil(requests / writersMax) - 1;
  const tookMs = performance.now() - begunMs;
  if (tookMs < syncs * syncMs) {
    throw new Violation('wrong', `${requests} requests in ${tookMs} ms, whose syncs took longer`);
  }
  const order = life.told.flatMap((one) => ('acknowledged' in one ? [one.acknowledged] : []));
  // Only those of one group may change places.
  const isInOrder = order.every((number, i) => Math.abs(number - (i + 1)) < writersMax);
  if (!isInOrder) throw new Violation('wrong', `acknowledged in the order ${order.join(' ')}`);
  tally.see('real: slow disks');
  await folder.audit(tally);
  folder.remove();
}

const groups = '/sys/fs/cgroup/memory';
const memoryBytes = 12 * 1024 * 1024;

/** The kernel's memory controller, version 1, where it may be used. */
export function hasMemoryGroups(): boolean {
  const path = join(groups, `holdfast-${process.pid}`);
  try {
    mkdirSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
  rmdirSync(path);
  return true;
}

/** What it takes from here on is bounded; when it takes more, the kernel kills it. */
async function outOfMemory({ root, tally }: RealAttack): Promise<void> {
  const folder = new ProcessFolder(mkdtempSync(join(root, 'memory-')), 'own');
  const group = join(groups, `holdfast-${process.pid}`);
  mkdirSync(group);
  try {
    const life = new ToldLife(folder);
    assert(await life.untilAcknowledged(requests), 'it writes before its memory ends');
    writeFileSync(join(group, 'memory.limit_in_bytes'), String(memoryBytes));
    writeFileSync(join(group, 'cgroup.procs'), String(life.child.pid));
    const exit = await life.end();
    if (exit !== 'SIGKILL') throw new Violation('wrong', `without memory it left with ${exit}`);
    const killed = /^oom_kill ([1-9]\d*)$/m.test(
      readFileSync(join(group, 'memory.oom_control'), 'utf8'),
    );
    assert(killed, 'the kernel killed it for its memory');
  } finally {
    rmdirSync(group);
  }
  tally.see('real: processes out of memory');
  await folder.audit(tally);
  folder.remove();
}

/** One of each; what the machine lacks is left out. */
export const slowDisks = (hasStrace: boolean, isRoot: boolean) => ({
  ...(hasStrace && { 'each sync takes long': slowSyncs }),
  ...(isRoot && hasMemoryGroups() && { 'the kernel kills for want of memory': outOfMemory }),
});
