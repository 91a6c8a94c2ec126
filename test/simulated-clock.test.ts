// Virtual time: a simulated run must depend on its seed alone, and must notice when nothing
// happens.
import assert from 'node:assert/strict';
import test from 'node:test';
import { SimulatedClock } from './simulation/simulated-clock.ts';

test('a day of sleep takes no time, and both clocks show it', async () => {
  const clock = new SimulatedClock({ wallMs: 1000 });
  await clock.run(clock.sleep(86_400_000));
  assert.equal(clock.monotonicMs(), 86_400_000);
  assert.equal(clock.wallMs(), 86_401_000);
});

test('sleepers wake in the order of their times', async () => {
  const clock = new SimulatedClock();
  const woken: number[] = [];
  const all = [30, 10, 20].map(async (ms) => {
    await clock.sleep(ms);
    woken.push(ms);
  });
  await clock.run(Promise.all(all));
  assert.deepEqual(woken, [10, 20, 30]);
});

test('an aborted sleep ends at once', async () => {
  const clock = new SimulatedClock();
  const pause = new AbortController();
  const slept = clock.sleep(1000, pause.signal);
  pause.abort();
  await clock.run(slept);
  await clock.run(clock.sleep(1000, pause.signal));
  assert.equal(clock.monotonicMs(), 0);
});

test('what was put off with soon runs before any sleeper wakes', async () => {
  const clock = new SimulatedClock();
  let at = -1;
  clock.soon(() => {
    at = clock.monotonicMs();
  });
  await clock.run(clock.sleep(5));
  assert.equal(at, 0);
});

test('advance moves through what falls due and no further', async () => {
  const clock = new SimulatedClock();
  let ticks = 0;
  const ticking = (async () => {
    while (ticks < 100) {
      await clock.sleep(10);
      ticks++;
    }
  })();
  await clock.advance(45);
  assert.equal(ticks, 4);
  assert.equal(clock.monotonicMs(), 45);
  await clock.run(ticking);
});

test('a run that nothing can move any more is reported', async () => {
  const clock = new SimulatedClock();
  await assert.rejects(clock.run(new Promise(() => undefined)), /nothing happens any more/);
});

test('a jump of the wall clock leaves monotonic time alone', () => {
  const clock = new SimulatedClock({ wallMs: 5000 });
  clock.jump(-3000);
  assert.equal(clock.wallMs(), 2000);
  assert.equal(clock.monotonicMs(), 0);
});

test('after abandon nobody is woken', async () => {
  const clock = new SimulatedClock();
  let isAwake = false;
  const sleeper = clock.sleep(1).then(() => {
    isAwake = true;
  });
  clock.abandon();
  await clock.advance(100);
  assert.equal(isAwake, false);
  await assert.rejects(clock.run(sleeper), /nothing happens/);
});

test('the same seed gives the same numbers and ids', () => {
  const ids = [3, 3, 4].map((seed) => new SimulatedClock({ seed }).uuid());
  assert.equal(ids[0], ids[1]);
  assert.notEqual(ids[0], ids[2]);
  assert.match(ids[0] ?? '', /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-8[\da-f]{3}-[\da-f]{12}$/);
});
