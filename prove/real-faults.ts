// The part of campaign `faults` in which nothing is simulated: a real process, the kernel, files.
// One of each kind, and as many failing calls as are asked for. What the machine lacks is said.
import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { Random } from '../test/simulation/random.ts';
import { failCalls, type RealAttack } from './call-errors.ts';
import type { Tally } from './campaign.ts';
import { clocks, hasFakeTime } from './clock-steps.ts';
import { whyNoMounts } from './mounts.ts';
import { owners } from './owners.ts';
import { keepCode } from './process-folder.ts';
import { hasStrace } from './recorded.ts';
import { servedFaults } from './served-faults.ts';
import { shortages } from './shortages.ts';
import { hasMemoryGroups, slowDisks } from './slow-disk.ts';
import { thinDisks } from './thin-disk.ts';

interface RealOptions {
  readonly tally: Tally;
  readonly seed: number;
  /** How many calls to the kernel are made to fail. */
  readonly calls: number;
  /** Only attacks whose name holds this. */
  readonly only: string;
}

/** They wait more than they work. */
const attacksAtOnce = 3;
const failing = 'calls to the kernel fail';

/** What cannot be had here; where it can be installed, a machine of CI must have it. */
function lacking(tally: Tally, isThere: boolean, what: string): void {
  if (isThere) return;
  if (process.env['CI']) tally.fail(`${what}: .ci/run installs it`);
  else tally.reduce(`without ${what}`);
}

export async function attackReal({ tally, seed, calls, only }: RealOptions): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  const isTraced = await hasStrace();
  lacking(tally, isTraced, 'strace that may be attached: no call was made to fail');
  lacking(tally, hasFakeTime(), 'libfaketime: the clock did not step');
  if (!isRoot) tally.reduce('not root: no disk was really full or gone, none ran out of memory');
  else if (!hasMemoryGroups()) tally.reduce('no memory controller: no process ran out of memory');
  const whyNotThin = whyNoMounts(['mkfs.ext4', 'e2fsck']);
  if (whyNotThin !== undefined) tally.reduce(`${whyNotThin}: no thin disk ran out`);
  const root = join(tmpdir(), `holdfast-faults-${process.pid}-${seed}`);
  mkdirSync(root, { recursive: true });
  await keepCode(root);
  const attack: RealAttack = { tally, root, random: new Random(seed) };
  const attacks: Record<string, (attack: RealAttack) => Promise<void>> = {
    ...shortages(isRoot),
    ...servedFaults(isTraced, isRoot),
    ...slowDisks(isTraced, isRoot),
    ...(whyNotThin === undefined ? thinDisks : {}),
    ...(hasFakeTime() ? clocks : {}),
    ...owners,
    ...(isTraced && { [failing]: (one: RealAttack) => failCalls(one, calls) }),
  };
  // A process that is stopped from outside must not leave its mounts behind.
  const leave = (): void => process.exit(1);
  process.once('SIGTERM', leave).once('SIGINT', leave);
  // The longest is the last of the list: it begins first.
  const waiting = Object.entries(attacks).filter(([name]) => name.includes(only));
  const work = async (): Promise<void> => {
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const [name, one] = next;
      if (name !== failing) tally.ran();
      tally.see('faults: real');
      try {
        await one(attack);
      } catch (error) {
        tally.take(error, `real: ${name}`);
      }
    }
  };
  await Promise.all(Array.from({ length: attacksAtOnce }, work));
  process.off('SIGTERM', leave).off('SIGINT', leave);
  rmSync(root, { recursive: true, force: true });
}
