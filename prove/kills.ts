// Campaign `kills`: a real process with a real journal in front of an SQLite file is killed with
// SIGKILL at moments that chance chooses, again and again in one folder; then a last one sends
// everything again, and the table is held against what was acknowledged. Some are killed while they
// open; only those that had acknowledged something count as runs.
//
// What this shows: nothing is kept in the process before it is acknowledged, and recovery works on
// what real kills leave. It says nothing of the platter: the page cache survives.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { open } from '../src/index.ts';
import { Random } from '../test/simulation/random.ts';
import {
  childOptions,
  childRows,
  childTable,
  type LoaderPlace,
  shopPath,
  writersMax,
} from '../test/support/crash-folder.ts';
import { type Campaign, type CampaignOptions, Tally } from './campaign.ts';
import { checkTable, Violation } from './oracle.ts';

const child = join(import.meta.dirname, '../test/support/crash-child.ts');
/** No process writes so many requests before it is killed. */
const perLifeMax = 100_000;
/** Kills between two audits of a folder. */
const killsEach = 25;
const foldersAtOnce = 2;
const writingMsMax = 40;
const openingMsMax = 250;

class Folder {
  readonly path: string;
  readonly #place: LoaderPlace;
  readonly #random: Random;
  readonly acknowledged = new Set<number>();

  constructor(path: string, place: LoaderPlace, random: Random) {
    this.path = path;
    this.#place = place;
    this.#random = random;
    mkdirSync(path, { recursive: true });
    const database = new DatabaseSync(shopPath(path));
    database.exec(childTable);
    database.close();
  }

  /** One process, from its start to its end by a kill; what it had acknowledged. */
  async liveAndDie(isOpeningOnly: boolean): Promise<number> {
    let first = 1;
    while (this.acknowledged.has(first)) first++;
    const args = [child, this.path, String(first), String(first + perLifeMax), this.#place];
    const started = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'holdfast-prove-code') },
    });
    const told = await killed(started, () =>
      isOpeningOnly
        ? pause(this.#random.below(openingMsMax))
        : afterFirst(started, this.#random.below(writingMsMax)),
    );
    for (const number of told) this.acknowledged.add(number);
    return told.length;
  }

  /** Sends all that may have been sent once more, lets it settle, and looks at the table. */
  async audit(tally: Tally): Promise<void> {
    // Those that were in flight at a kill may be written or not.
    const last = Math.max(0, ...this.acknowledged) + writersMax;
    const holdfast = await open(childOptions(this.path, this.#place));
    for (let number = 1; number <= last; number++) {
      const options = { idempotencyKey: String(number) };
      const { repeated } = await holdfast.write('events', childRows(number), options);
      if (repeated) tally.see('requests known again');
      else if (this.acknowledged.has(number)) {
        throw new Violation('lost', `request ${number} was acknowledged and is not known`);
      }
    }
    await holdfast.close({ drainMs: 60_000 });
    const database = new DatabaseSync(shopPath(this.path));
    const found = database.prepare('SELECT id, note FROM events').all();
    database.close();
    const sent = Array.from({ length: last }, (_, i) => childRows(i + 1)).flat();
    const rows = found.map(({ id, note }) => ({ id: Number(id), note }));
    checkTable({ table: 'events', found: rows, sent, acknowledged: sent });
    tally.see('rows checked', rows.length);
  }
}

async function afterFirst(started: ChildProcess, ms: number): Promise<void> {
  if (!started.stdout) throw new Error('the process to be killed tells what it acknowledges');
  await Promise.race([once(started.stdout, 'data'), once(started, 'exit')]);
  await pause(ms);
}

/** Kills the process when `moment` has come; the numbers that it told before. */
async function killed(started: ChildProcess, moment: () => Promise<void>): Promise<number[]> {
  let text = '';
  started.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const closed = once(started, 'close');
  await moment();
  started.kill('SIGKILL');
  await closed;
  if (started.signalCode !== 'SIGKILL') throw new Error('a process ended before it was killed');
  return text.split('\n').slice(0, -1).map(Number);
}

async function attackFolder(folder: Folder, random: Random, tally: Tally): Promise<void> {
  for (let kills = 0; kills < killsEach; ) {
    const isOpeningOnly = random.chance(0.1);
    const told = await folder.liveAndDie(isOpeningOnly);
    if (isOpeningOnly) tally.see('killed while opening');
    else if (told === 0) tally.vacuous();
    if (told === 0) continue;
    kills++;
    tally.ran();
    tally.see('requests acknowledged', told);
  }
  await folder.audit(tally);
  tally.see('folders audited');
}

async function run(options: CampaignOptions) {
  const { seed, count = killsCampaign.countShort } = options;
  const tally = new Tally('kills', options);
  const root = join(tmpdir(), `holdfast-kills-${process.pid}-${seed}`);
  let folders = 0;
  const one = async (): Promise<void> => {
    while (tally.runs < count) {
      const number = folders++;
      const place: LoaderPlace = number % 2 === 0 ? 'worker' : 'own';
      const random = new Random(seed * 1_000 + number);
      const folder = new Folder(join(root, String(number)), place, random);
      try {
        await attackFolder(folder, random, tally);
        rmSync(folder.path, { recursive: true });
      } catch (error) {
        tally.take(error, `loaders on ${place}, kept in ${folder.path}`);
      }
      tally.progress(tally.runs, count);
    }
  };
  const attack = async (): Promise<void> => {
    await Promise.all(Array.from({ length: foldersAtOnce }, one));
    if (tally.failures === 0) rmSync(root, { recursive: true, force: true });
  };
  return tally.result(attack, {
    'killed while opening': 0.03,
    'requests acknowledged': 1,
    'requests known again': 1,
    'folders audited': 0.5 / killsEach,
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
