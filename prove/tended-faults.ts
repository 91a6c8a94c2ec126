// A part of campaign `faults`: the same in a world in which somebody sees to things (tended-world):
// staged rows, copies of what a held stream needs, dead letters, lost records, verify. The k-th
// call of disk or target fails, once and for as long as the process lives; at last every method
// that there is must have been seen to fail.
import { Random } from '../test/simulation/random.ts';
import { type TargetFault, targetFaults } from '../test/simulation/simulated-call-fault.ts';
import { type Fault, faultsOf } from '../test/simulation/simulated-fault.ts';
import { TendedWorld } from '../test/support/tended-world.ts';
import type { Tally } from './campaign.ts';
import { FailedCalls, failingMethods } from './failed-calls.ts';

interface DiskCase {
  readonly on: 'tended disk';
  readonly isRecovering: boolean;
  readonly at: number;
  /** Of the operation. */
  readonly name: string;
  readonly fault: Fault;
  readonly isLasting: boolean;
}

interface TargetCase {
  readonly on: 'tended target';
  readonly at: number;
  readonly name: string;
  readonly fault: TargetFault;
  /** Every later call of that name fails, too. */
  readonly isLasting: boolean;
  /** The call whose fate is asked for then, which is struck at `at`. */
  readonly after?: TargetFault;
}

type Case = DiskCase | TargetCase;

interface Attack {
  readonly tally: Tally;
  readonly seed: number;
  readonly count: number;
  readonly only: string;
}

/** The first process of a recovering world is killed once a copy was made for a held stream. */
async function startRecovering(world: TendedWorld, killAt: number): Promise<void> {
  world.disk.inject({ fault: 'die', at: killAt });
  await world.live((holdfast) => world.tend(holdfast));
  world.leave((disk) => disk.kill());
}

interface Quiet {
  readonly disk: readonly { readonly operation: string; readonly path: string }[];
  readonly target: readonly string[];
}

async function quietLife(seed: number, killAt?: number): Promise<Quiet> {
  const world = new TendedWorld(seed);
  if (killAt !== undefined) await startRecovering(world, killAt);
  await world.live((holdfast) => world.tend(holdfast));
  world.disk.dispose();
  return { disk: world.disk.trace, target: world.target.trace };
}

function diskCases({ disk }: Quiet, isRecovering: boolean): Case[] {
  return disk.flatMap(({ operation: name }, i) =>
    faultsOf(name).flatMap((fault) =>
      // Who lacks descriptors for good waits for them for good.
      (fault === 'EMFILE' ? [false] : [false, true]).map((isLasting) => {
        return { on: 'tended disk', isRecovering, at: i + 1, name, fault, isLasting } as const;
      }),
    ),
  );
}

function targetCases({ target }: Quiet): Case[] {
  return target.flatMap((name, i) => {
    const at = i + 1;
    const cases: TargetCase[] = targetFaults.flatMap((fault) =>
      (fault.startsWith('die') ? [false] : [false, true]).map((isLasting) => {
        return { on: 'tended target', at, name, fault, isLasting } as const;
      }),
    );
    if (!/^merge (?:optimistic|merge)|^stage/.test(name)) return cases;
    // A process resolves only what was not answered.
    for (const after of ['ambiguous, committed', 'ambiguous, not committed'] as const) {
      for (const fault of targetFaults) {
        const rest = { fault, isLasting: !fault.startsWith('die'), after } as const;
        cases.push({ on: 'tended target', at, name: 'resolve', ...rest });
      }
    }
    return cases;
  });
}

const isCopyMade = ({ operation, path }: Quiet['disk'][number]): boolean =>
  operation === 'rename' && /\.held-\d+$/.test(path);

class TendedFaults {
  readonly #tally: Tally;
  readonly #seed: number;
  readonly #killAt: number;
  readonly #failed: FailedCalls;

  constructor(tally: Tally, of: { seed: number; killAt: number; failed: FailedCalls }) {
    this.#tally = tally;
    this.#seed = of.seed;
    this.#killAt = of.killAt;
    this.#failed = of.failed;
  }

  async attack(one: Case): Promise<void> {
    const tally = this.#tally;
    const world = new TendedWorld(this.#seed);
    tally.ran();
    try {
      if (one.on === 'tended disk' && one.isRecovering) await startRecovering(world, this.#killAt);
      world.wrap = (disk) => this.#failed.disk(disk);
      world.wrapTarget = (target) => this.#failed.target(target);
      if (one.on === 'tended disk') world.disk.inject(one);
      else strike(world, one);
      const outcome = await world.liveUntilFailure((holdfast) => world.tend(holdfast));
      this.#note(one, world, outcome);
      world.target.heal();
      world.leave((disk) => (one.at % 2 === 0 ? disk.kill() : disk.crash()));
      await world.audit(one.fault);
      if (world.lostRecords > 0) tally.see('tended: worlds with lost records');
      if (world.collapsed > 0) tally.see('tended: doubles taken out');
    } catch (error) {
      tally.take(error, `seed ${this.#seed}, ${JSON.stringify(one)}`);
    }
  }

  #note(one: Case, world: TendedWorld, outcome: 'failed' | 'died' | 'ended'): void {
    const tally = this.#tally;
    tally.see(`faults: ${one.on}`);
    if (one.isLasting) tally.see('lasting faults');
    if (one.on === 'tended disk') {
      tally.see(outcome === 'failed' ? 'lives that failed' : 'lives that went on');
      if (one.isRecovering) tally.see('faults in recovery');
    }
    if (world.disk.trace.some(isCopyMade)) tally.see('tended: lives that made copies');
    if (world.acknowledged.size === 0) tally.vacuous();
    else tally.see('with acknowledgements before it');
  }
}

function strike(world: TendedWorld, { at, name, fault, isLasting, after }: TargetCase): void {
  if (after) world.target.inject(at, after);
  else world.target.inject(at, fault);
  if (!isLasting && !after) return;
  let isOver = false;
  world.target.strikeWhere((call) => {
    if (isOver || call.number <= at || call.name !== name) return undefined;
    isOver = !isLasting;
    return fault;
  });
}

/** By turns one of each operation's: so few show something of all. */
function inTurns(cases: readonly Case[], random: Random): Case[] {
  const ranked = cases.map((one) => ({ one, rank: random.next() }));
  ranked.sort((a, b) => a.rank - b.rank);
  const byName = Map.groupBy(ranked, ({ one }) => `${one.on} ${one.name}`);
  const turns = [...byName.values()].flatMap((own) => own.map(({ one }, turn) => ({ one, turn })));
  return turns.sort((a, b) => a.turn - b.turn).map(({ one }) => one);
}

export async function attackTended({ tally, seed, count, only }: Attack): Promise<void> {
  const failed = new FailedCalls();
  const isAll = only === '';
  for (let round = 0, left = count; left > 0; round++) {
    const own = seed * 1_000 + round;
    const quiet = await quietLife(own);
    const killAt = quiet.disk.findIndex(isCopyMade) + 2;
    const recovering = await quietLife(own, killAt);
    const all = [...targetCases(quiet), ...diskCases(quiet, false), ...diskCases(recovering, true)];
    const cases = inTurns(all, new Random(own)).filter(({ on, name }) => {
      return `${on} ${name}`.includes(only);
    });
    if (cases.length === 0) throw new Error(`nothing is named "tended${only}"`);
    const faults = new TendedFaults(tally, { seed: own, killAt, failed });
    for (const one of cases.slice(0, left)) await faults.attack(one);
    left -= cases.length;
  }
  if (!isAll) return;
  for (const name of failingMethods()) {
    if (!failed.counts.has(name)) tally.fail(`vacuous: ${name} never failed`);
  }
}
