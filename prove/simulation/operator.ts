// Somebody runs `holdfast dedupe` on staged streams while processes load and merge. Drawn apart
// from all else of a plan: the other draws mean what they meant.
import { TargetError } from '../../src/target/target.ts';
import type { Random } from '../../test/simulation/random.ts';
import type { SimulatedClock } from '../../test/simulation/simulated-clock.ts';
import { SimulatedDeath } from '../../test/simulation/simulated-disk.ts';
import type { SimulatedTarget } from '../../test/simulation/simulated-target.ts';
import { onConflictOf } from './options.ts';
import type { EventPlan, RowPlan, StreamPlan } from './plan.ts';
import type { RetypedPlan } from './retypes.ts';

/** Where that is done, rows wait long enough to find others of their kind. */
const mergeEveryMs = 640;

/** Rows that many requests have: each is a duplicate of the first of them, or superseded. */
const common = [0, 1].map((i): RowPlan => ({ id: 800_100 + i, version: 0, bytes: 20 }));

type Drawn = Pick<RetypedPlan, 'streams' | 'requests'>;

/** The same plan, in which somebody looks through some of the streams. */
export function withDedupes(random: Random, drawn: Drawn, untilMs: number): RetypedPlan {
  const events: EventPlan[] = [];
  const looked = new Set<string>();
  const streams = drawn.streams.map((stream) => {
    const count = random.pick([0, 0, 1, 2]);
    const isFit = stream.isKeyed && stream.route === 'staged';
    if (!isFit || count === 0) return stream;
    looked.add(stream.name);
    for (let i = 0; i < count; i++) {
      events.push({ at: random.below(untilMs), kind: 'dedupe', table: stream.name });
    }
    return { ...stream, mergeEveryMs };
  });
  const requests = drawn.requests.map((request) => {
    if (!looked.has(request.stream) || request.isLoad) return request;
    return { ...request, rows: [...request.rows, ...common.filter(() => random.chance(0.6))] };
  });
  return { streams, requests, events };
}

const roundsMax = 12;
const roundMs = 15;

/** Looks until something waits twice; how many rows were taken out then. */
export async function dedupe(
  target: SimulatedTarget,
  plan: StreamPlan,
  clock: SimulatedClock,
): Promise<number> {
  for (let round = 0; round < roundsMax; round++) {
    if (round > 0) await clock.sleep(roundMs);
    try {
      const collapsed = await collapse(target, plan);
      if (collapsed > 0) return collapsed;
    } catch (error) {
      // The target fails this one as it does everybody, or its process dies.
      if (!(error instanceof TargetError || error instanceof SimulatedDeath)) throw error;
    }
  }
  return 0;
}

async function collapse(target: SimulatedTarget, plan: StreamPlan): Promise<number> {
  const { name, isLogged } = plan;
  const session = await target.connect();
  const { staging } = session;
  if (!staging) return 0;
  const rules = { stream: name, key: ['id'], onConflict: onConflictOf(plan) };
  const stream = { rules, table: await session.describe(name), isLogged };
  let collapsed = 0;
  for (const { lane, duplicates } of (await staging.duplicates(stream, 1)).byLane) {
    const step = duplicates > 0 ? await staging.dedupe(stream, lane, 100) : undefined;
    collapsed += step?.collapsed ?? 0;
  }
  await session.close();
  return collapsed;
}
