// Campaign `failovers`: a real primary is killed and its standby takes over, mostly without the
// last commits. Each run is one failover under streams of every route. What the database lost must
// come back from the journal, each row once; what was acknowledged as confirmed must be there
// although the journal has dropped it; what a standby has or lacks must not pass for the truth
// meanwhile.
//
// What this shows: the promise behind I4 and P3 on these servers, whose tools of failover are a
// signal and a statement. It says nothing of anybody's own tools.

import { systemClock } from '../src/clock.ts';
import { hasMariadb } from '../test/support/mariadb.ts';
import { type Engine, engines, type Pair, startPair } from '../test/support/pairs.ts';
import { type Campaign, type CampaignOptions, Tally } from './campaign.ts';
import { type Kind, kinds } from './failover-kinds.ts';
import { FailoverWorld } from './failover-world.ts';

interface Case {
  readonly name: string;
  readonly engine: Engine;
  readonly kind: Kind;
}

const casesOf = (engine: Engine): Case[] =>
  kinds
    .filter((kind) => kind.engines.includes(engine))
    .map((kind) => ({ name: `${engine}, ${kind.name}`, engine, kind }));

/** Many times what a run takes on a busy machine: who waits longer waits in vain. */
const stallMs = 180_000;

/** The work, or an error that says what hangs. */
async function bounded<T>(
  work: Promise<T>,
  what: () => string | Promise<string>,
  ms = stallMs,
): Promise<T> {
  const done = new AbortController();
  const stalled = async (): Promise<never> => {
    await systemClock.sleep(ms, done.signal);
    if (done.signal.aborted) return new Promise(() => undefined);
    throw new Error(`it came to no end in ${ms / 1000} s: ${await what()}`);
  };
  try {
    return await Promise.race([work, stalled()]);
  } finally {
    done.abort();
  }
}

async function attack({ name, engine, kind }: Case, tally: Tally): Promise<void> {
  let pair: Pair | undefined;
  try {
    pair = await bounded(startPair(engine), () => 'the start of the servers');
    const world = new FailoverWorld(pair, (what, count) => tally.see(what, count));
    try {
      await bounded(kind.run(world), () => world.said());
    } finally {
      await bounded(world.close(), () => 'close');
    }
    tally.see(name);
  } catch (error) {
    tally.take(error, name);
  } finally {
    await pair?.stop();
  }
  tally.ran();
}

async function run(options: CampaignOptions) {
  const { count = failoversCampaign.countShort, only = '', seed, isShort } = options;
  const tally = new Tally('failovers', options);
  const here = engines.filter((engine) => engine !== 'MariaDB' || hasMariadb('MariaDB 10.11'));
  if (here.length < engines.length) tally.reduce('there is no MariaDB on this machine');
  // One of each in turn, from the first one on with seed 1: what a short run must have seen.
  const each = here.map((engine) => casesOf(engine).filter(({ name }) => name.includes(only)));
  const inTurn = async (cases: readonly Case[], runs: number): Promise<void> => {
    for (let i = 0; i < runs; i++) {
      const one = cases.at((seed - 1 + i) % cases.length);
      if (!one) return;
      await attack(one, tally);
      tally.progress(tally.runs, count);
    }
  };
  const asked = each.filter((cases) => cases.length > 0);
  if (asked.length === 0) throw new Error(`nothing is named "${only}"`);
  const all = async (): Promise<void> => {
    await Promise.all(asked.map((cases) => inTurn(cases, Math.ceil(count / asked.length))));
  };
  if (only !== '') return tally.result(all);
  return tally.result(all, {
    'rows that the database had lost': 1,
    'rows checked': 1,
    ...(isShort && {
      'confirmed rows not in the journal any more': 0,
      'an old primary refused': 0,
    }),
  });
}

export const failoversCampaign: Campaign = {
  name: 'failovers',
  unit: 'failovers of a real server',
  countShort: 10,
  countLong: 50,
  countPart: 10,
  run,
};
