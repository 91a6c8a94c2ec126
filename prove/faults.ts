// Campaign `faults`: the k-th operation of the disk, or the k-th call of the target, fails: for
// every k, with every error that it may give, once and from then on; in a life that begins with an
// empty directory and in one that recovers. Then the fault is gone, and what was acknowledged must
// come to its table once. The same is done in a world in which somebody sees to things
// (tended-faults.ts). Beside it, real processes meet real faults (real-faults.ts).
import { Random } from '../test/simulation/random.ts';
import { type TargetFault, targetFaults } from '../test/simulation/simulated-call-fault.ts';
import type { Traced } from '../test/simulation/simulated-disk.ts';
import { type Fault, faultsOf } from '../test/simulation/simulated-fault.ts';
import { World } from '../test/support/crash-world.ts';
import { type Campaign, type CampaignOptions, Tally } from './campaign.ts';
import { attackReal } from './real-faults.ts';
import { attackTended } from './tended-faults.ts';

interface DiskCase {
  readonly on: 'disk';
  readonly isRecovering: boolean;
  readonly at: number;
  readonly fault: Fault;
  readonly isLasting: boolean;
}

interface TargetCase {
  readonly on: 'target';
  readonly at: number;
  readonly fault: TargetFault;
  /** How many calls in a row it strikes. */
  readonly calls: number;
}

/** A standby stops following, and takes over later, without what was committed between. */
interface FailoverCase {
  readonly on: 'failover';
  readonly at: number;
  readonly fault: 'a failover';
  readonly overMs: number;
}

type Case = DiskCase | TargetCase | FailoverCase;

interface Counted {
  readonly tally: Tally;
}

/** In the middle of its life the first process of a recovering world is killed. */
const killAt = 90;

/** `--only real`, and what the name of an attack holds. */
const real = 'real';
/** Of the count, calls of real processes that fail. */
const realCallsShare = 0.03;

/** Likewise: `--only tended`, and what the name of an operation there holds. */
const tended = 'tended';
/** Beyond the count, faults in the tended world. */
const tendedShare = 0.25;

async function startRecovering(world: World): Promise<void> {
  world.disk.inject({ fault: 'die', at: killAt });
  await world.step(
    (disk) => disk.kill(),
    () => undefined,
  );
}

/** What a life without faults does to its disk and its target. */
async function quietLife(seed: number, isRecovering: boolean) {
  const world = new World({ seed });
  if (isRecovering) await startRecovering(world);
  await world.run();
  const trace: readonly Traced[] = world.disk.trace;
  world.disk.dispose();
  return { trace, calls: world.target.calls };
}

async function casesOf(seed: number): Promise<Case[]> {
  const cases: Case[] = [];
  for (const isRecovering of [false, true]) {
    const { trace, calls } = await quietLife(seed, isRecovering);
    trace.forEach(({ operation }, i) => {
      for (const fault of faultsOf(operation)) {
        // Who lacks descriptors for good waits for them for good; real processes do (shortages.ts).
        for (const isLasting of fault === 'EMFILE' ? [false] : [false, true]) {
          cases.push({ on: 'disk', isRecovering, at: i + 1, fault, isLasting });
        }
      }
    });
    if (isRecovering) continue;
    for (const afterMs of [10, 25, 40, 60, 90]) {
      for (let at = 2; at < 90; at += 6) {
        cases.push({ on: 'failover', at, fault: 'a failover', overMs: at + afterMs });
      }
    }
    for (let at = 1; at <= calls; at++) {
      for (const fault of targetFaults) {
        const isDeath = fault.startsWith('die');
        for (const times of isDeath ? [1] : [1, 2, 12]) {
          cases.push({ on: 'target', at, fault, calls: times });
        }
      }
    }
  }
  return cases;
}

async function attackDisk(world: World, { tally, ...of }: DiskCase & Counted) {
  if (of.isRecovering) await startRecovering(world);
  const { fault, at, isLasting } = of;
  world.disk.inject({ fault, at, isLasting });
  const outcome = await world.runUntilFailure();
  tally.see(outcome === 'failed' ? 'lives that failed' : 'lives that went on');
  if (outcome === 'ended' && fault === 'ENOSPC') tally.see('full disks that were survived');
  if (isLasting) tally.see('lasting faults');
  if (of.isRecovering) tally.see('faults in recovery');
  world.leave((disk) => (at % 2 === 0 ? disk.kill() : disk.crash()));
}

async function attackTarget(world: World, { tally, ...of }: TargetCase & Counted) {
  const { fault, at, calls } = of;
  for (let call = at; call < at + calls; call++) world.target.inject(call, fault);
  const how = await world.runUntilFailure({ settles: true });
  const struck = world.target.trace[at - 1] ?? '';
  if (fault.startsWith('ambiguous') && struck.startsWith('merge')) tally.see('ambiguous commits');
  const { done, refused, ended } = world.target.server.late;
  tally.see('late calls that were done', done);
  tally.see('late calls that were refused or ended', refused + ended);
  if (how === 'died') tally.see('deaths in a call of the target');
  world.target.heal();
  world.leave((disk) => (at % 2 === 0 ? disk.kill() : disk.crash()));
}

async function attackByFailover(world: World, { tally, at, overMs }: FailoverCase & Counted) {
  world.planFailover(at, overMs, () => tally.see('rewinds'));
  if (at % 4 === 0) world.disk.inject({ fault: 'die', at: 40 + at });
  if ((await world.run({ settles: true })) === 'died') tally.see('deaths beside a failover');
  world.leave((disk) => (at % 2 === 0 ? disk.kill() : disk.crash()));
}

async function attackOne(one: Case, seed: number, tally: Tally): Promise<void> {
  const world = new World({ seed, standby: one.on === 'failover' });
  tally.ran();
  const where = `seed ${seed}, ${JSON.stringify(one)}`;
  try {
    if (one.on === 'disk') await attackDisk(world, { ...one, tally });
    else if (one.on === 'target') await attackTarget(world, { ...one, tally });
    else await attackByFailover(world, { ...one, tally });
    if (world.sender.acknowledged.size === 0) tally.vacuous();
    else tally.see('with acknowledgements before it');
    tally.see(`faults: ${one.on}`);
    await world.audit(one.fault);
  } catch (error) {
    tally.take(error, where);
  }
}

interface Simulated {
  readonly tally: Tally;
  readonly seed: number;
  readonly count: number;
  readonly only: string;
}

async function attackSimulated({ tally, seed, count, only }: Simulated): Promise<void> {
  for (let round = 0; tally.runs < count; round++) {
    const own = seed * 1_000 + round;
    const cases = (await casesOf(own)).filter((one) => one.on.includes(only));
    if (cases.length === 0) throw new Error(`nothing is named "${only}"`);
    // Where not all are to be done, chance takes some from everywhere.
    const random = new Random(own);
    const order = cases.map((one) => ({ one, rank: random.next() }));
    order.sort((a, b) => a.rank - b.rank);
    for (const { one } of order.slice(0, count - tally.runs)) {
      await attackOne(one, own, tally);
      tally.progress(tally.runs, count);
    }
  }
}

async function run(options: CampaignOptions) {
  const { seed, count = faultsCampaign.countShort, only = '', isBrief = false } = options;
  const tally = new Tally('faults', options);
  const attack = async (): Promise<void> => {
    const isReal = only.startsWith(real);
    const isTended = only.startsWith(tended);
    const isWhole = only === '' && !isBrief;
    const calls = Math.ceil(count * realCallsShare);
    const part = { tally, seed, calls, only: only.slice(real.length) };
    // Mutants of the simulated disk are asked for by a brief campaign: that alone, then.
    const attacks = isReal || isWhole ? [attackReal(part)] : [];
    if (!isReal && !isTended) attacks.push(attackSimulated({ tally, seed, count, only }));
    await Promise.all(attacks);
    const share = isWhole ? Math.ceil(count * tendedShare) : count;
    const those = { tally, seed, count: share, only: only.slice(tended.length) };
    if (isTended || isWhole) await attackTended(those);
  };
  if (only !== '' || isBrief) return tally.result(attack);
  return tally.result(attack, {
    'faults: disk': 0.3,
    'faults: target': 0.1,
    rewinds: 0.005,
    'faults in recovery': 0.1,
    'lasting faults': 0.2,
    'lives that failed': 0.1,
    'full disks that were survived': 0.005,
    'ambiguous commits': 0.01,
    'late calls that were done': 0.005,
    'late calls that were refused or ended': 0.005,
    'deaths in a call of the target': 0.01,
    'with acknowledgements before it': 0.3,
    'faults: tended disk': 0.05,
    'faults: tended target': 0.05,
    'tended: lives that made copies': 0.05,
    'tended: doubles taken out': 0.05,
    'tended: worlds with lost records': 0.05,
    'faults: real': 0.001,
    'real: second processes refused': 0.0001,
    'real: first owners fenced': 0.0001,
    'real: stopped for a minute': 0.0001,
    'real: shortages that were survived': 0.0001,
    'real: small heaps': 0.0001,
  });
}

export const faultsCampaign: Campaign = {
  name: 'faults',
  unit: 'faults injected',
  countShort: 1_000,
  countLong: 40_000,
  countPart: 4_000,
  run,
};
