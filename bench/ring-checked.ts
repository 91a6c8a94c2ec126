// bench ring --full: 10^9 messages of 0 to 64 bytes through the L1 ring, between two threads that
// stall, sleep and wake at random, every word checked (test/support/ring-flow.ts): ten runs with
// other seeds, and rings of 4 KiB to 2 MiB. checked: messages a second; checkedMessages: how many.
import assert from 'node:assert/strict';
import { createRing } from '../src/threads/ring.ts';
import { startSide } from '../test/support/ring-threads.ts';
import { type BenchOptions, type Figures, figureOf, type Run } from './figures.ts';
import { CpuMeter } from './machine.ts';

const checkedRuns = 10;
const messages = 100_000_000;

export async function runChecked(say: BenchOptions['say']): Promise<Figures> {
  const runs: Run[] = [];
  const whole = new CpuMeter();
  for (let seed = 1; seed <= checkedRuns; seed++) {
    const meter = new CpuMeter();
    const begun = performance.now();
    // The positions of each run cross a wrap.
    const memory = createRing({ capacityBytes: 2 ** (11 + seed), startAt: -4096 });
    const told = new SharedArrayBuffer(4);
    const flow = { messages, wordsMax: 16, stalls: 'both', seed, told } as const;
    const sides = [startSide('producer', memory, flow), startSide('consumer', memory, flow)];
    for (const flown of await Promise.all(sides.map((side) => side.flown))) {
      assert.equal(flown.messages, messages);
    }
    const ms = performance.now() - begun;
    runs.push({ value: (messages * 1000) / ms, others: meter.others() });
    const all = (seed * messages).toLocaleString('en');
    say(`checked: ${all} messages, the last run in ${(ms / 1000).toFixed(1)} s`);
  }
  return {
    checked: figureOf('messages/s', runs),
    checkedMessages: figureOf('messages', [
      { value: checkedRuns * messages, others: whole.others() },
    ]),
  };
}
