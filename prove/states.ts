// Campaign `states`: every state that a power cut may leave of the journal, after every operation
// of recorded lives of the whole product, is recovered and held against what was acknowledged.
//
// A seed gives three logs: a life from open to close; one that is killed, with the life after it,
// which recovers from what the page cache shows; and one that a power cut ends, with the life after
// it. So recovery's own operations lie in the logs too. A sample of the states is opened for good,
// and each state in which that opening may be cut is recovered in its turn (O9).
import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { Journal } from '../src/journal/journal.ts';
import { Random } from '../test/simulation/random.ts';
import { SimulatedClock } from '../test/simulation/simulated-clock.ts';
import { SimulatedDisk } from '../test/simulation/simulated-disk.ts';
import { World } from '../test/support/crash-world.ts';
import { journalOptions } from '../test/support/journals.ts';
import { directory } from '../test/support/process-world.ts';
import { type Campaign, type CampaignOptions, Tally } from './campaign.ts';
import { type ImageFile, imageDisk, readImage } from './crash-image.ts';
import { eachCrashState, type Visit } from './crash-states.ts';
import { DiskLog } from './disk-log.ts';
import { checkOpened, checkRecovered, type Recovered, recover, Violation } from './oracle.ts';
import { firstDifference, firstUnasked, hasStrace, recordReal } from './recorded.ts';
import { finished, heldLivesOf, livesOf, type RecordedLives, record } from './recorded-lives.ts';
import { checkServed } from './served-records.ts';

const sameBlocks = ({ blocks }: Recovered): string =>
  blocks.map(({ stream, lane, first, crc }) => `${stream} ${lane} ${first} ${crc}`).join();

function diskOf(files: ReadonlyMap<string, ImageFile>): SimulatedDisk {
  const disk = new SimulatedDisk();
  disk.makeDirectory(directory);
  for (const [name, image] of files) {
    const bytes = new Uint8Array(image.size);
    readImage(image, bytes, 0);
    const file = disk.open(posix.join(directory, name), 'create');
    file.write(bytes, 0);
    file.sync();
    file.close();
  }
  disk.syncDirectory(directory);
  return disk;
}

/** Opens what a power cut left; whatever cuts that short, the same records are found again. */
async function checkOpening(disk: SimulatedDisk, tally: Tally, random: Random): Promise<void> {
  const before = sameBlocks(recover(disk, directory));
  const log = new DiskLog();
  log.begin(disk, directory);
  const clock = new SimulatedClock({ seed: random.next32() });
  const options = journalOptions(directory, {
    disk: log.recorded(disk),
    clock,
    segmentBytes: 64 * 1024,
    bytesMax: 8 * 64 * 1024,
  });
  await clock.run(Journal.open(options));
  await clock.advance(1);
  if (sameBlocks(recover(disk, directory)) !== before) {
    throw new Violation('wrong', 'opening a journal changed what it holds');
  }
  const few = { random, exhaustiveMax: 6, randomSubsets: 8 };
  const cut = { ...few, ids: new Map(), from: log.begunAt, distinct: new Set<string>() };
  eachCrashState(log.entries, cut, ({ state }) => {
    tally.see('openings cut');
    if (sameBlocks(recover(imageDisk(state.files), directory)) === before) return;
    throw new Violation('lost', 'an opening that was cut short changed what the journal holds');
  });
  disk.dispose();
}

/** One seed of so many is lived through on a real disk, too. */
const realEvery = 4;

/** `--only held`: lives in which a stream is held. */
const held = 'held';
/** Beyond the count, states of theirs. */
const heldShare = 0.1;

/** One state of so many is opened for good. */
const openingEvery = 300;

interface Round {
  readonly tally: Tally;
  readonly random: Random;
  readonly count: number;
  /** The states of all logs so far: until it is killed, a life is the same as another one. */
  readonly distinct: Set<string>;
}

async function checkLives(
  lives: RecordedLives,
  { tally, random, count, distinct }: Round,
): Promise<void> {
  const opened: SimulatedDisk[] = [];
  const check = (visit: Visit): void => {
    const { state, belief, history, isNew, dropped } = visit;
    if (isNew) tally.ran();
    const disk = imageDisk(state.files);
    const recovered = recover(disk, directory);
    checkRecovered(recovered, belief, history);
    checkOpened(disk, directory, recovered);
    if (recovered.copied.size > 0) {
      checkServed(disk, directory, { recovered, belief, history });
      tally.see('with copies for a held stream');
    }
    if (recovered.found && recovered.found.segments.length > 1) tally.see('with sealed segments');
    if (belief.acknowledged.size > 0) tally.see('after acknowledgements');
    if (belief.settled.size > 0) tally.see('after merges');
    if (belief.remembered.size > 0) tally.see('after a segment was dropped');
    if (recovered.found?.isTorn) tally.see('torn');
    if (dropped > 0) tally.see('with something dropped');
    if (isNew && tally.runs % openingEvery === 0) opened.push(diskOf(state.files));
    if (isNew && tally.runs % 1000 === 0) tally.progress(tally.runs, count);
  };
  const { entries, ids, from } = lives;
  eachCrashState(entries, { random, ids, from, distinct, randomSubsets: 96 }, (visit) => {
    try {
      check(visit);
    } catch (error) {
      tally.take(error, `${lives.name}, before entry ${visit.at}, ${visit.dropped} dropped`);
    }
  });
  for (const disk of opened) {
    try {
      await checkOpening(disk, tally, random);
      tally.see('opened');
    } catch (error) {
      tally.take(error, `${lives.name}, opened again`);
    }
  }
}

/** The same life on the real disk: the same operations, and states of what was really recorded. */
async function realLives(seed: number, tally: Tally): Promise<RecordedLives> {
  const isTraced = await hasStrace();
  if (!isTraced) tally.reduce('no strace that may be attached: the kernel was not listened to');
  const { entries, calls } = await recordReal(seed, isTraced);
  const world = new World({ seed });
  const log = record(world);
  assert.equal(await world.run(), 'ended');
  const simulated = finished(`seed ${seed} on a real disk`, world, log);
  const difference = firstDifference(simulated.entries, entries);
  if (difference !== undefined) tally.fail(`${simulated.name}: ${difference} differ`);
  const unasked = calls && firstUnasked(entries, calls);
  if (unasked !== undefined) tally.fail(`${simulated.name}: ${unasked}`);
  if (calls) tally.see('system calls compared', calls.length);
  tally.see('logs of a real process');
  return { ...simulated, entries };
}

async function run(options: CampaignOptions) {
  const { seed, count = statesCampaign.countShort, only = '', isBrief = false } = options;
  // The simulated disk has the same operations: for a brief campaign, that is enough.
  const isReal = only === '' && !isBrief;
  const tally = new Tally('states', options);
  const distinct = new Set<string>();
  const attack = async (): Promise<void> => {
    if (!only.startsWith(held)) await attackLives();
    const share = only.startsWith(held) ? count : isReal ? count * heldShare : 0;
    const until = tally.runs + share;
    for (let round = 0; tally.runs < until; round++) {
      const own = seed * 1_000 + round;
      for await (const lives of heldLivesOf(own)) {
        await checkLives(lives, { tally, random: new Random(own), count, distinct });
        if (tally.runs >= until) break;
      }
    }
  };
  const attackLives = async (): Promise<void> => {
    for (let round = 0; tally.runs < count; round++) {
      const own = seed * 1_000 + round;
      const random = new Random(own);
      if (isReal && round % realEvery === 0) {
        await checkLives(await realLives(own, tally), { tally, random, count, distinct });
      }
      for await (const lives of livesOf(own)) {
        if (!lives.name.includes(only)) continue;
        tally.see('logs');
        tally.see('log entries', lives.entries.length);
        await checkLives(lives, { tally, random, count, distinct });
        if (tally.runs >= count) break;
      }
      if (tally.runs === 0) throw new Error(`nothing is named "${only}"`);
    }
  };
  if (only !== '') return tally.result(attack);
  return tally.result(attack, {
    'after acknowledgements': 0.5,
    'after merges': 0.3,
    'after a segment was dropped': 0.05,
    'with sealed segments': 0.05,
    torn: 0.3,
    'with something dropped': 0.8,
    'logs of a real process': 0,
    'with copies for a held stream': 0.01,
    opened: 0.0005,
    'openings cut': 0.001,
  });
}

export const statesCampaign: Campaign = {
  name: 'states',
  unit: 'distinct crash states',
  countShort: 100_000,
  countLong: 5_000_000,
  countPart: 500_000,
  run,
};
