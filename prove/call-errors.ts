// A part of campaign `faults`: the k-th call of a real process to the kernel fails (strace), once
// or from then on, with what such a call may give. The process must fail for good where a write or
// a sync of its journal did, and go on where there was only no room or no descriptor; nothing that
// it acknowledged may be missing when the next one opens the folder.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../test/simulation/random.ts';
import type { Tally } from './campaign.ts';
import { Violation } from './oracle.ts';
import { type ChangingCall, injecting, wasStruck } from './strace.ts';
import { ToldLife } from './told-life.ts';
import { begin, lastOf, type Point, pathsOf, pointsOf } from './traced-life.ts';

const databasesEach = 4;

/**
 * What each call may fail with. A sync of the journal that is interrupted is made again, by Node
 * itself; SQLite takes it for a failure.
 */
const errorsOf: Readonly<Partial<Record<ChangingCall, readonly string[]>>> = {
  fdatasync: ['EIO', 'ENOSPC', 'EINTR'],
  fsync: ['EIO', 'EINTR'],
  pwrite64: ['EIO', 'ENOSPC', 'EFBIG'],
  openat: ['EIO', 'EMFILE', 'ENOSPC'],
  rename: ['EIO', 'ENOSPC'],
  unlink: ['EIO'],
};

interface Case extends Point {
  readonly error: string;
  readonly isLasting: boolean;
}

export interface RealAttack {
  readonly tally: Tally;
  readonly root: string;
  readonly random: Random;
}

const describe = ({ files, left, call, at, error, isLasting }: Case): string =>
  `${error} of ${call} ${at}${isLasting ? ' and on' : ''}, ${files}${left ? ', after a kill' : ''}`;

/**
 * I3: a write or sync of the journal that gave an I/O error cannot be passed over. Of the directory
 * SQLite syncs it for its own files, and does not look at what comes of it.
 */
const mustFail = ({ files, call, error }: Case): boolean =>
  files === 'journal' && error === 'EIO' && /^(?:pwrite64|fdatasync|rename)$/.test(call);

/**
 * A name or a descriptor that was not to be had changes nothing, so the journal does not fail of
 * it. Of the databases it does: SQLite says only that it cannot open a file, whatever the kernel
 * said.
 */
const isOnlyShort = ({ files, call, error }: Case): boolean =>
  files === 'journal' && /^(?:openat|rename)$/.test(call) && /^(?:EMFILE|ENOSPC)$/.test(error);

const knownFailures = new Set(['HF_JOURNAL_FAILED', 'HF_JOURNAL_FULL', 'HF_TARGET']);

async function attackOne({ tally, root }: RealAttack, one: Case): Promise<void> {
  const folder = begin(root, one);
  const { files, call, at, isLasting, error } = one;
  const effect = `error=${error}`;
  const trace = join(folder.path, 'trace');
  const traced = injecting(pathsOf(one, folder), { call, at, isLasting, effect }, trace);
  const life = new ToldLife(folder, { last: lastOf(folder), traced });
  // Where there is no room for good it waits for good, and says so.
  const waits = isLasting && isOnlyShort(one) && (await life.until((told) => 'full' in told));
  if (waits) life.child.kill('SIGKILL');
  const exit = await life.end();
  if (!wasStruck(readFileSync(trace, 'utf8'))) {
    if (exit !== 0) throw new Violation('wrong', `never struck, and left with ${exit}`);
    tally.see('real: calls that never came');
    return folder.remove();
  }
  tally.see('real: calls that failed');
  if (mustFail(one) && exit === 0) throw new Violation('wrong', 'it ended as if nothing had been');
  if (error === 'EINTR' && files === 'journal' && exit !== 0)
    throw new Violation('wrong', `left with ${exit}`);
  if (exit !== 0 && !waits && !knownFailures.has(life.failed ?? '')) {
    throw new Violation('wrong', `left with ${exit}: ${life.failed}`);
  }
  if (isOnlyShort(one) && life.failed === 'HF_JOURNAL_FAILED') {
    throw new Violation('wrong', `only short of room, and it left with ${exit}: ${life.failed}`);
  }
  tally.see(exit === 0 ? 'real: lives that went on' : 'real: lives that failed');
  if (life.refusals('HF_JOURNAL_FULL') > 0) tally.see('real: refused for want of room');
  if (isLasting) tally.see('real: lasting errors');
  if (folder.acknowledged.size > 0) tally.see('real: errors after acknowledgements');
  await folder.audit(tally);
  folder.remove();
}

async function casesOf(root: string, random: Random): Promise<Case[]> {
  const points = await pointsOf(root, { seed: random.below(databasesEach), databasesEach });
  return points.flatMap((point) =>
    (errorsOf[point.call] ?? []).flatMap((error) =>
      // An interruption that never ends is no error that a kernel gives.
      (error === 'EINTR' ? [false] : [false, true]).map((isLasting) => ({
        ...point,
        error,
        isLasting,
      })),
    ),
  );
}

/** So many of all cases, chosen by chance. */
export async function failCalls(attack: RealAttack, count: number): Promise<void> {
  const { tally, root, random } = attack;
  const cases = (await casesOf(root, random)).map((one) => ({ one, rank: random.next() }));
  cases.sort((a, b) => a.rank - b.rank);
  for (const { one } of cases.slice(0, count)) {
    tally.ran();
    try {
      await attackOne(attack, one);
    } catch (error) {
      tally.take(error, describe(one));
    }
  }
}
