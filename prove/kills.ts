// Campaign `kills`: a real process with a real journal in front of an SQLite file is killed with
// SIGKILL at moments that chance chooses, again and again in one folder; then a last one sends
// everything again, and the table is held against what was acknowledged. Some are killed while they
// open; only those that had acknowledged something count as runs. A quarter serve: what they
// write comes over HTTP, through an accept worker and its ring. Beside it, once, a process is
// killed at each of its calls to the kernel (system-calls.ts).
//
// What this shows: nothing is kept in the process before it is acknowledged, and recovery works on
// what real kills leave. It says nothing of the platter: the page cache survives.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { Random } from '../test/simulation/random.ts';
import { type Campaign, type CampaignOptions, Tally } from './campaign.ts';
import { keepCode, ProcessFolder } from './process-folder.ts';
import { hasStrace } from './recorded.ts';
import { killAtEachCall } from './system-calls.ts';

/** Kills between two audits of a folder. */
const killsEach = 25;
const foldersAtOnce = 3;
/** One after another, folder by folder. */
const places = ['worker', 'own', 'worker', 'served'] as const;
/** Killed when it has told so often of acknowledgements, and so much later. */
const tellingsMax = 6;
const writingMsMax = 4;
const openingMsMax = 250;
/** In that time it has told more than the kernel keeps for a parent that does not read. */
const unheardMsMax = 2_000;
/** What goes wrong so often goes wrong for ever: folders that failed, lives without a word. */
const failuresMax = 20;
const silentMax = 100;

/** One process, from its start to its end by a kill; how many requests it had acknowledged. */
async function liveAndDie(folder: ProcessFolder, moment: (started: ChildProcess) => Promise<void>) {
  const started = folder.start();
  const ended = folder.end(started);
  await moment(started);
  started.kill('SIGKILL');
  const told = await ended;
  if (started.signalCode !== 'SIGKILL') throw new Error('a process ended before it was killed');
  return told;
}

const whileItOpens = (random: Random) => () => pause(random.below(openingMsMax));

const whileItWrites = (random: Random) => async (started: ChildProcess) => {
  if (!started.stdout) throw new Error('the process to be killed tells what it acknowledges');
  const exited = once(started, 'exit');
  for (let tellings = random.below(tellingsMax) + 1; tellings > 0; tellings--) {
    await Promise.race([once(started.stdout, 'data'), exited]);
  }
  const ms = random.below(writingMsMax + 1);
  if (ms > 0) await pause(ms);
};

/** This process stands still, and reads nothing: that one must not get past what it cannot tell. */
const whileUnheard = (random: Random) => async (started: ChildProcess) => {
  await whileItWrites(random)(started);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, random.below(unheardMsMax));
};

const opening = { name: 'killed while opening', of: whileItOpens };
const unheard = { name: 'killed unheard', of: whileUnheard };
const writing = { name: 'killed while writing', of: whileItWrites };

/** Unheard before an audit: what it got past untold is seen where no later life tells it. */
function drawMoment(random: Random, isLast: boolean) {
  if (isLast && random.chance(0.5)) return unheard;
  return random.chance(0.1) ? opening : writing;
}

async function attackFolder(folder: ProcessFolder, random: Random, tally: Tally): Promise<void> {
  for (let kills = 0, silent = 0; kills < killsEach; ) {
    const { name, of } = drawMoment(random, kills === killsEach - 1);
    const told = await liveAndDie(folder, of(random));
    tally.see(name);
    if (told === 0 && of !== whileItOpens) tally.vacuous();
    if (told === 0) {
      if (++silent > silentMax) throw new Error('no process acknowledges anything any more');
      continue;
    }
    kills++;
    tally.ran();
    tally.see('killed by chance');
    if (folder.place === 'served') tally.see('killed with an accept worker');
    tally.see('requests acknowledged', told);
  }
  await folder.audit(tally);
  tally.see('folders audited');
}

interface Chance {
  readonly root: string;
  readonly tally: Tally;
  readonly seed: number;
  readonly count: number;
}

async function killByChance({ root, tally, seed, count }: Chance): Promise<void> {
  let folders = 0;
  const one = async (): Promise<void> => {
    while (tally.seen('killed by chance') < count && tally.failures < failuresMax) {
      const number = folders++;
      const place = places[number % places.length] ?? 'own';
      const random = new Random(seed * 1_000 + number);
      const folder = new ProcessFolder(join(root, String(number)), place);
      try {
        await attackFolder(folder, random, tally);
        folder.remove();
      } catch (error) {
        tally.take(error, `loaders on ${place}, kept in ${folder.path}`);
      }
      tally.progress(tally.seen('killed by chance'), count);
    }
  };
  await Promise.all(Array.from({ length: foldersAtOnce }, one));
}

async function run(options: CampaignOptions) {
  const { seed, count = killsCampaign.countShort, only = '' } = options;
  const tally = new Tally('kills', options);
  const root = join(tmpdir(), `holdfast-kills-${process.pid}-${seed}`);
  const attack = async (): Promise<void> => {
    mkdirSync(root, { recursive: true });
    await keepCode(root);
    if ('by chance'.includes(only)) await killByChance({ root, tally, seed, count });
    if ('at a system call'.includes(only)) {
      if (await hasStrace()) await killAtEachCall({ root, tally, seed });
      else tally.reduce('no strace that may be attached: no process was killed at a chosen call');
    }
    if (tally.failures === 0) rmSync(root, { recursive: true, force: true });
  };
  if (only !== '') return tally.result(attack);
  return tally.result(attack, {
    'killed while opening': 0.03,
    'killed unheard': 0.1 / killsEach,
    'requests acknowledged': 1,
    'requests known again': 1,
    'folders audited': 0.3 / killsEach,
  });
}

export const killsCampaign: Campaign = {
  name: 'kills',
  unit: 'kill -9 of a process that had acknowledged',
  countShort: 300,
  countLong: 5_000,
  countPart: 500,
  run,
};
