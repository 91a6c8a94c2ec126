// Campaign `simulation`: the whole product in a simulated world, from one seed of 64 bits each:
// disk, clock, clients and target are simulated; a swarm of faults, at least three deaths, then
// everything heals, all is settled, and the judge compares with what clients were told.
//
// In two of five worlds a process has threads: the loaders' side, accept workers, or both,
// behind the same code as in the product (src/threads/), from the entry files on. Messages come
// late, a core is busy, a ring is small and full, each thread may stall, and one that dies ends its
// process. In the others all is one thread.
//
// Clients are not all of good behaviour: loads are sent from other bytes than where they stand, cut
// short, by two senders at once (simulation/loads.ts); what is known by its key is sent again to be
// read otherwise. And those who own a table give a column another type, make it required, drop it
// and add another of its name while rows of the older description wait (simulation/shapes.ts), or
// run `dedupe` on what waits. All of that is drawn apart: an older draw means what it meant.
//
// The same seed gives the same run: the hash of its trace says so. A seed that fails is shrunk to
// the fewest events and requests that still fail, kept in test/simulation/seeds.json, and run
// again before all others from then on, for ever.
//
// What this shows: no order of events that the simulation can bring about, of those that the seeds
// drew, loses or doubles a row. What the simulated parts leave out it cannot show: of threads, what
// two cores see of one memory, and lost wake-ups (test/ring*.test.ts). That they behave like the
// real ones is held by the contract test (test/target.test.ts) and by `states`, which
// compares the simulated disk's trace with a real process's.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Campaign, type CampaignOptions, Tally } from './campaign.ts';
import { drawPlan, type Plan } from './simulation/plan.ts';
import { shrink } from './simulation/shrink.ts';
import { World } from './simulation/world.ts';

const seedsPath = join(import.meta.dirname, '../test/simulation/seeds.json');

/** A failure that was found once. The plan stays what it was, however plans are drawn later. */
export interface KeptSeed {
  readonly seed: string;
  readonly found: string;
  readonly plan: Plan;
}

export const keptSeeds = (): KeptSeed[] =>
  JSON.parse(readFileSync(seedsPath, 'utf8')) as KeptSeed[];

/** So many of the fresh seeds are run twice: their traces must be the same. */
const twiceMax = 100;

const told = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function failureOf(plan: Plan): Promise<string | undefined> {
  try {
    await new World(plan).run();
    return undefined;
  } catch (error) {
    return told(error);
  }
}

async function keep(plan: Plan, tally: Tally): Promise<void> {
  const smallest = await shrink(plan, failureOf);
  const found = (await failureOf(smallest)) ?? '';
  const kept = keptSeeds();
  kept.push({ seed: plan.seed, found: found.slice(0, 300), plan: smallest });
  writeFileSync(seedsPath, `${JSON.stringify(kept, null, 1)}\n`);
  const { events, requests } = smallest;
  tally.see('seeds kept');
  const replay = `npm run -s prove -- simulation --seed ${plan.seed} --count 1`;
  tally.fail(`${replay}: shrunk to ${events.length} events, ${requests.length} requests: ${found}`);
}

async function runPlan(plan: Plan, tally: Tally, isTwice: boolean): Promise<void> {
  const { hash, seen } = await new World(plan).run();
  for (const [what, count] of Object.entries(seen)) tally.see(what, count);
  const deaths = (seen['lives that died'] ?? 0) + (seen['lives that failed'] ?? 0);
  if (deaths < 3 || !seen['requests acknowledged']) tally.vacuous();
  if (!isTwice) return;
  const again = await new World(plan).run();
  tally.see('seeds run twice');
  if (again.hash !== hash) tally.fail(`seed ${plan.seed}: another trace the second time`);
}

async function run(options: CampaignOptions) {
  const { seed, seed64 = BigInt(seed), count = simulationCampaign.countShort } = options;
  const tally = new Tally('simulation', options);
  const attack = async (): Promise<void> => {
    for (const { seed: name, plan } of options.isBrief ? [] : keptSeeds()) {
      try {
        await runPlan(plan, tally, false);
        tally.see('kept seeds');
      } catch (error) {
        tally.take(error, `kept seed ${name}`);
      }
    }
    for (let at = 0; at < count; at++) {
      const plan = drawPlan(BigInt.asUintN(64, seed64 + BigInt(at)));
      tally.ran();
      try {
        await runPlan(plan, tally, at < twiceMax);
      } catch (error) {
        tally.take(error, `seed ${plan.seed}`);
        if (tally.seen('seeds kept') < 3) await keep(plan, tally);
      }
      if (at % 100 === 0) tally.progress(at, count);
    }
  };
  // Faults are thrown by the thousand, and nobody looks at where from.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return await tally.result(attack, floorsOf(count));
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Shares of the seeds: a run that saw less proves little. */
const floors = {
  'requests acknowledged': 4,
  'requests known again': 0.1,
  'requests settled': 0.3,
  'requests confirmed': 0.2,
  'lives that died': 3,
  'ends by power cut': 1,
  'lives that failed': 0.05,
  rewinds: 0.005,
  'confirmed requests that a failover met': 0.02,
  twins: 0.05,
  loads: 0.2,
  'loads sent from beyond where they stand': 0.05,
  'loads cut in the middle of a line': 0.1,
  'loads with two senders': 0.05,
  'loads given up: not written': 0.01,
  'columns retyped': 0.1,
  'rows journaled under another type: staged': 0.1,
  'rows journaled under another type: direct': 0.03,
  'requests refused by a table that changes': 0.03,
  'dead letters': 0.5,
  'keys refused to other rows': 0.1,
  'keys refused to other readings': 0.05,
  'events: jump': 0.2,
  'events: full': 0.2,
  'events: slow': 0.1,
  'lives that died while opening': 0.2,
  'calls struck: deadlock': 0.05,
  'calls struck: serialization': 0.05,
  'calls struck: hang': 0.05,
  'calls struck: readonly': 0.05,
  'calls struck: ambiguous, committed': 0.02,
  'calls struck: ambiguous, not committed': 0.02,
  'late commits done': 0.02,
  'late commits refused': 0.005,
  'seeds run twice': 0,
  'messages between threads: loader': 5,
  'requests through accept workers': 1,
  'threads that stalled: core': 0.05,
  'threads that stalled: loader': 0.03,
};

/** What so few seeds see that a short run may miss it. */
const rareFloors = {
  'duplicates collapsed': 0.02,
  'columns that became required': 0.03,
  'columns dropped': 0.03,
  'columns added anew': 0.03,
  'loads sent from before where they stand': 0.01,
  'loads given up: unknown': 0.005,
  'rings that were full': 0.004,
  'threads that stalled: accept worker': 0.01,
  'threads that died: loader': 0.005,
  'lanes taken back': 0.01,
  'threads that died: accept worker': 0.002,
};

function floorsOf(count: number): Readonly<Record<string, number>> {
  if (count < 100) return {};
  return count < 2_000 ? floors : { ...floors, ...rareFloors };
}

export const simulationCampaign: Campaign = {
  name: 'simulation',
  unit: 'seeds',
  countShort: 20_000,
  countLong: 500_000,
  countPart: 10_000,
  run,
};
