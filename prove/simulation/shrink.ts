// Makes a plan that fails smaller: leaves out events and requests, a half, a quarter, … one at a
// time, as long as it still fails (ddmin).
import type { Plan } from './plan.ts';

type Fails = (plan: Plan) => Promise<string | undefined>;

/** It goes on no longer than this. */
const shrinkMsMax = 60_000;

export async function shrink(plan: Plan, failureOf: Fails): Promise<Plan> {
  const until = performance.now() + shrinkMsMax;
  const fails = async (smaller: Plan): Promise<boolean> =>
    performance.now() < until && (await failureOf(smaller)) !== undefined;
  let { events, requests } = plan;
  for (let before = -1; before !== events.length + requests.length; ) {
    before = events.length + requests.length;
    events = await fewest(events, (some) => fails({ ...plan, events: some, requests }));
    requests = await fewest(requests, (some) => fails({ ...plan, events, requests: some }));
  }
  return { ...plan, events, requests };
}

/** What is left when leaving out any more does not fail. */
async function fewest<T>(
  all: readonly T[],
  fails: (some: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let some = all;
  for (let step = Math.ceil(all.length / 2); step >= 1; step = Math.floor(step / 2)) {
    for (let at = 0; at < some.length; ) {
      const fewer = [...some.slice(0, at), ...some.slice(at + step)];
      if (await fails(fewer)) some = fewer;
      else at += step;
    }
  }
  return some;
}
