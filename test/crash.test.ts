// A process that dies at any call of its disk, by a kill or with the power, and again while it
// recovers: what was acknowledged reaches its table once, and nothing else does. Disks and targets
// that fail, and targets that forget: prove/faults.ts.
import assert from 'node:assert/strict';
import test from 'node:test';
import { segmentNumbers } from '../src/journal/files.ts';
import { readJournal } from '../src/journal/recovery.ts';
import type { SimulatedDisk } from './simulation/simulated-disk.ts';
import { World } from './support/crash-world.ts';
import { directory } from './support/process-world.ts';

/** Calls that change what the disk holds; before any other one it holds the same. */
const changing = /^(?:open create|write|sync|rename|remove|syncDirectory|database|lock|release)$/;

/** A world in which all went well. */
async function finished(seed: number): Promise<World> {
  const world = new World({ seed });
  assert.equal(await world.run(), 'ended');
  world.disk.dispose();
  return world;
}

/** The numbers of the calls of a run without faults that are worth a fault. */
async function moments(seed: number, wanted = changing): Promise<number[]> {
  const { disk } = await finished(seed);
  const calls = disk.trace.map(({ operation }, i) => ({ operation, at: i + 1 }));
  return calls
    .filter(({ operation, at }) => wanted.test(operation) || at % 15 === 0)
    .map(({ at }) => at);
}

const seen = {
  deaths: 0,
  inGroup: 0,
  torn: 0,
  inRecovery: 0,
  afterDrop: 0,
};

const isSegment = (path = ''): boolean => /\/(?:spare-\d+|\d+\.segment)$/.test(path);

function note(dead: SimulatedDisk, left: SimulatedDisk): void {
  seen.deaths++;
  const last = dead.trace.at(-1);
  // A file keeps the path under which it was opened. At 0 stands the checkpoint.
  const isWrite = last?.operation === 'write' && (last.position ?? 0) > 0;
  if (isSegment(last?.path) && (isWrite || last?.operation === 'sync')) seen.inGroup++;
  const [oldest = 1] = segmentNumbers(left, directory);
  if (oldest > 1) seen.afterDrop++;
  if (readJournal(left, directory)?.isTorn) seen.torn++;
}

type End = (disk: SimulatedDisk) => SimulatedDisk;
const kill: End = (disk) => disk.kill();
const powerCut: End = (disk) => disk.crash();

/** One process dies at a call, and the next one at a later call of its own. */
async function dieTwice(
  world: World,
  [end, nextEnd]: readonly [End, End],
  [first, second]: readonly [number, number],
): Promise<void> {
  // A write that takes a part goes on with the rest: so some die with half a group written.
  world.disk.inject({ fault: 'short', at: first - 1 });
  world.disk.inject({ fault: 'die', at: first });
  await world.step(end, note);
  world.disk.inject({ fault: 'die', at: world.disk.operations + second });
  if ((await world.step(nextEnd, note)) === 'died') seen.inRecovery++;
  await world.audit(`deaths at calls ${first} and ${second}`);
}

for (const [name, ends, seeds] of [
  ['by a kill', [kill, kill], [1]],
  ['with the power', [powerCut, powerCut], [1, 2]],
] as const) {
  for (const seed of seeds) {
    test(`a death ${name} at any disk call loses and doubles nothing, seed ${seed}`, async () => {
      for (const at of await moments(seed)) {
        await dieTwice(new World({ seed }), ends, [at, 1 + ((at * 13) % 90)]);
      }
    });
  }
}

test('what a kill left in the page cache is not merged before it is on the platter', async () => {
  for (const at of await moments(3, /^sync$/)) {
    const world = new World({ seed: 3 });
    world.disk.inject({ fault: 'die', at });
    await world.step(kill, note);
    // Only drains: the sync of a further write would make up for what was not synced.
    await world.live((holdfast) => world.settled(holdfast));
    world.leave((disk) => disk.crash({ keep: () => false }));
    await world.audit(`a kill at call ${at}, a drain and a power cut`);
  }
});

test('a recovery that dies at any of its calls is begun again', async () => {
  const calls = await moments(4);
  const middle = calls[Math.floor(calls.length / 2)] ?? 0;
  for (let at = 1; at <= 80; at += 2) {
    const end = at % 4 === 1 ? kill : powerCut;
    await dieTwice(new World({ seed: 4 }), [end, end], [middle + (at % 5), at]);
  }
});

test('the deaths were many, in groups, in recovery, with torn tails and drops', () => {
  const floors = {
    deaths: 500,
    inGroup: 80,
    torn: 15,
    inRecovery: 250,
    afterDrop: 40,
  };
  for (const [name, floor] of Object.entries(floors)) {
    const count = Number(Reflect.get(seen, name));
    assert(count >= floor, `${name}: ${count}, expected ${floor} at least`);
  }
});
