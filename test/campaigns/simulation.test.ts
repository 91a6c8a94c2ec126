import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import process from 'node:process';
import test from 'node:test';
import { drawPlan } from '../../prove/simulation/plan.ts';
import { shrink } from '../../prove/simulation/shrink.ts';
import { World } from '../../prove/simulation/world.ts';
import { keptSeeds, simulationCampaign } from '../../prove/simulation.ts';
import { apart, proved } from '../support/proofs.ts';
import { TendedWorld } from '../support/tended-world.ts';

test('in no simulated world is a row lost or doubled, and every seed repeats itself', async () => {
  // Fresh seeds each time: a failure names its own, and is kept. In two halves, side by side: it is
  // the longest of all tests, and the last to end.
  const seed = randomInt(2 ** 47);
  const countShort = simulationCampaign.countShort / 2;
  const half = apart({ ...simulationCampaign, countShort });
  const halves = [seed, seed + countShort].map((first) => proved(half, { seed64: BigInt(first) }));
  for (const { seen } of await Promise.all(halves)) {
    assert.equal(seen['kept seeds'] ?? 0, keptSeeds().length);
    assert((seen['seeds run twice'] ?? 0) > 0, 'traces were compared');
  }
});

test('a plan is drawn from its seed alone', () => {
  const seed = 0xfedcba9876543210n;
  assert.deepEqual(drawPlan(seed), drawPlan(seed));
  assert.notDeepEqual(drawPlan(seed), drawPlan(seed - (1n << 32n)), 'all 64 bits count');
});

test('a world is the same whatever process it is run in', async (t) => {
  const { pid } = process;
  t.after(() => Object.defineProperty(process, 'pid', { value: pid }));
  const seen: unknown[] = [];
  for (const value of [7, 123_456]) {
    Object.defineProperty(process, 'pid', { value, configurable: true });
    const { hash } = await new World(drawPlan(3n)).run();
    const tended = new TendedWorld();
    await tended.live((holdfast) => tended.tend(holdfast));
    seen.push({ hash, trace: tended.disk.trace });
    tended.disk.dispose();
  }
  assert.deepEqual(seen[0], seen[1]);
});

test('a plan that fails is shrunk to what it fails for', async () => {
  const plan = drawPlan(7n);
  const [, wanted] = plan.events;
  const [request] = plan.requests;
  assert(wanted && request);
  const failureOf = async ({ events, requests }: typeof plan) =>
    events.includes(wanted) && requests.includes(request) ? 'it fails' : undefined;
  const least = await shrink(plan, failureOf);
  assert.deepEqual([least.events, least.requests], [[wanted], [request]]);
});
