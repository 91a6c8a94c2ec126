// Makes a plan that fails smaller: leaves out events and requests, a half, a quarter, … one at a
// time, as long as it still fails (ddmin).
import type { Plan } from './plan.ts';

type Fails = (plan: Plan) => Promise<string | undefined>;

/** So many runs at most. */
const triesMax = 400;

export async function shrink(plan: Plan, failureOf: Fails): Promise<Plan> {
  let tries = 0;
  const fails = async (smaller: Plan): Promise<boolean> => {
    if (tries++ >= triesMax) return false;
    return (await failureOf(smaller)) !== undefined;
  };
  let least = plan;
  for (let before = -1; before !== sizeOf(least); ) {
    before = sizeOf(least);
    const now = least;
    least = await fewest(now, now.events, (events) => ({ ...now, events }), fails);
    const next = least;
    least = await fewest(next, next.requests, (requests) => ({ ...next, requests }), fails);
  }
  return least;
}

const sizeOf = ({ events, requests }: Plan): number => events.length + requests.length;

async function fewest<T>(
  plan: Plan,
  all: readonly T[],
  withThese: (some: readonly T[]) => Plan,
  fails: (plan: Plan) => Promise<boolean>,
): Promise<Plan> {
  let [least, some] = [plan, all];
  for (let step = Math.ceil(all.length / 2); step >= 1; step = step === 1 ? 0 : Math.ceil(step / 2)) {
    for (let at = 0; at < some.length; ) {
      const fewer = [...some.slice(0, at), ...some.slice(at + step)];
      const smaller = withThese(fewer);
      if (await fails(smaller)) [least, some] = [smaller, fewer];
      else at += step;
    }
  }
  return least;
}
