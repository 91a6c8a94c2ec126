// Campaign `cuts`: the power is cut under a real file system with the real product on it, at moments
// that chance chooses: while it writes, rolls, makes spares, opens and recovers. Then the file system
// replays its own journal, the product its, and at the end all that was acknowledged must be known
// by its key, and be in the table once. Two file systems, two kinds of cut: cut-disks.ts. Most cuts
// find acknowledged rows that no target has yet.
//
// Controls are counted apart: a build that does not sync, and a disk that lies about it, must be
// seen to lose what was acknowledged, on each file system; a campaign whose control loses nothing
// fails.
//
// What this shows: that what the product asks of the kernel is enough for real file systems. What
// it does not show: what a drive's own firmware does.
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Random } from '../test/simulation/random.ts';
import { type Campaign, type CampaignOptions, Tally } from './campaign.ts';
import { type CutDisk, makeDisk, whyNoCuts } from './cut-disks.ts';
import { type Cut, CutJournal, type Fate } from './cut-journal.ts';
import { CutLife } from './cut-life.ts';
import { clearAway, mountFolder, mountMemory } from './mounts.ts';
import { mutants } from './mutant-list.ts';
import { mutated } from './mutants.ts';

const root = join(import.meta.dirname, '..');
/** Cuts between two audits of a journal. */
const cutsEach = 6;
const xfsShare = 0.25;
const controlsEach = 2;
const atOnce = 2;
const memoryBytes = 64 * 1024 * 1024;

/** Cuts of one journal, and then its audit. */
interface Job {
  readonly name: string;
  readonly kind: CutDisk['kind'];
  readonly cuts: number;
  readonly control?: 'no sync' | 'lying disk';
}

const controls: readonly Job[] = [
  { name: 'control: no sync, ext4', kind: 'ext4', control: 'no sync', cuts: 1 },
  { name: 'control: no sync, xfs', kind: 'xfs', control: 'no sync', cuts: 1 },
  { name: 'control: lying disk, ext4', kind: 'ext4', control: 'lying disk', cuts: 1 },
];

function jobsOf(count: number, only: string): Job[] {
  const xfs = Math.round(count * xfsShare);
  const rounds = (kind: CutDisk['kind'], cuts: number): Job[] =>
    Array.from({ length: Math.ceil(cuts / cutsEach) }, (_, i) => {
      return { name: kind, kind, cuts: Math.min(cutsEach, cuts - i * cutsEach) };
    });
  const known = Array.from({ length: controlsEach }, () => controls).flat();
  const jobs = [...known, ...rounds('ext4', count - xfs), ...rounds('xfs', xfs)];
  return jobs.filter(({ name }) => name.includes(only));
}

/** The folder of a build that acknowledges without a sync. */
function unsyncedSources(folder: string): string {
  const mutant = mutants.find(({ name }) => name === 'no sync of a group');
  if (!mutant) throw new Error('mutant-list.ts has the build without a sync');
  const path = join(folder, 'unsynced');
  mkdirSync(path);
  for (const name of ['src', 'sql', 'package.json']) {
    cpSync(join(root, name), join(path, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(path, 'node_modules'));
  const file = join(path, mutant.file);
  writeFileSync(file, mutated(readFileSync(file, 'utf8'), mutant));
  return path;
}

const drawFate = (random: Random): Fate => ({
  isOpeningOnly: random.chance(0.2),
  intake: random.chance(0.7) ? 'nothing' : random.chance(0.6) ? 'nothing more' : 'all',
  goesOn: random.chance(0.3),
  keepsNothing: false,
  lies: false,
});

const controlFate = (control: Job['control']): Fate => ({
  isOpeningOnly: false,
  intake: 'nothing',
  goesOn: false,
  keepsNothing: true,
  lies: control === 'lying disk',
});

/** Two disks, and processes that wait for their turn: the jobs go through it one by one. */
class Bench {
  readonly #folder: string;
  readonly #tally: Tally;
  readonly #unsynced: string;
  readonly #disks = new Map<CutDisk['kind'], CutDisk>();
  #made = 0;
  /** A process that is loaded, so that the next cut need not wait for it. */
  #ready: CutLife | undefined;

  constructor(folder: string, tally: Tally, unsynced: string) {
    this.#folder = folder;
    this.#tally = tally;
    this.#unsynced = unsynced;
  }

  async #disk(kind: CutDisk['kind']): Promise<CutDisk> {
    const known = this.#disks.get(kind);
    if (known) return known;
    const folder = join(this.#folder, `${kind}-${++this.#made}`);
    mkdirSync(folder, { recursive: true });
    const disk = await makeDisk(kind, folder);
    this.#disks.set(kind, disk);
    return disk;
  }

  async do(job: Job, number: number, random: Random): Promise<void> {
    const disk = await this.#disk(job.kind);
    // Targets on a disk that syncs, and in memory.
    const folder = join(this.#folder, number % 2 === 0 ? 'targets' : 'memory', `${number}`);
    const journal = new CutJournal({ disk, name: `journal-${number}`, folder, random });
    try {
      if (job.control) await this.#control(job, journal);
      else await this.#attack(job, journal, random);
      journal.remove();
    } catch (error) {
      // Processes may still hold it; the next job has a new one.
      this.#disks.delete(job.kind);
      clearAway(dirname(disk.path));
      throw error;
    }
  }

  async #attack({ kind, cuts }: Job, journal: CutJournal, random: Random): Promise<void> {
    for (let done = 0; done < cuts; ) {
      const life = this.#ready ?? new CutLife(root);
      this.#ready = new CutLife(root);
      const cut = await journal.liveAndBeCut(life, drawFate(random));
      if (cut.unmerged === 0 && cut.told === 0) {
        this.#tally.vacuous();
        continue;
      }
      done++;
      this.#tally.ran();
      this.#note(kind, cut);
    }
    const { known, rows } = await journal.audit();
    this.#tally.see('requests known again', known);
    this.#tally.see('rows checked', rows);
    this.#tally.see('journals audited');
  }

  #note(kind: CutDisk['kind'], { told, unmerged, wasOpening, noticed, report, names }: Cut): void {
    const see = (what: string, isSo: boolean): void => this.#tally.see(what, isSo ? 1 : 0);
    this.#tally.see(`cuts: ${kind}`);
    this.#tally.see('requests acknowledged', told);
    see('acknowledged rows in the journal alone', unmerged > 0);
    see('while opening', wasOpening);
    see('a dead disk was noticed', noticed);
    see(
      'a spare was half made',
      names.some((name) => name.endsWith('.tmp')),
    );
    if (!report) return;
    see('writes were in the cache', report.writes > 0);
    see('writes were torn', report.torn > 0);
  }

  async #control({ name, control }: Job, journal: CutJournal): Promise<void> {
    const sources = control === 'no sync' ? this.#unsynced : root;
    const { told } = await journal.liveAndBeCut(new CutLife(sources), controlFate(control));
    const lost = await journal.countLost();
    this.#tally.see(`${name}: acknowledged`, told);
    this.#tally.see(`${name}: lost`, lost);
    if (lost === 0) this.#tally.fail(`${name} lost nothing of ${told}: this campaign is blind`);
  }

  async close(): Promise<void> {
    await this.#ready?.kill();
    for (const disk of this.#disks.values()) await disk.remove();
  }
}

async function run(options: CampaignOptions) {
  const { seed, count = cutsCampaign.countShort, only = '' } = options;
  const tally = new Tally('cuts', options);
  const why = whyNoCuts();
  if (why !== undefined) {
    tally.reduce(why);
    return tally.result(() => undefined);
  }
  const jobs = [...jobsOf(count, only).entries()];
  const attack = async (): Promise<void> => {
    const folder = join(mountFolder(), `seed-${seed}`);
    mkdirSync(folder, { recursive: true });
    const unsynced = unsyncedSources(folder);
    const work = async (lane: number): Promise<void> => {
      const own = join(folder, `${lane}`);
      await mountMemory(join(own, 'memory'), memoryBytes);
      const bench = new Bench(own, tally, unsynced);
      for (let job = jobs.shift(); job; job = jobs.shift()) {
        try {
          await bench.do(job[1], job[0], new Random(seed * 1_000 + job[0]));
        } catch (error) {
          tally.take(error, `${job[1].name}, job ${job[0]}`);
        }
        tally.progress(tally.runs, count);
      }
      await bench.close();
    };
    await Promise.all(Array.from({ length: atOnce }, (_, lane) => work(lane)));
    clearAway(folder);
  };
  return tally.result(attack, {
    'acknowledged rows in the journal alone': 0.6,
    'while opening': 0.03,
    'a spare was half made': 0.05,
    'writes were in the cache': 0.2,
    'writes were torn': 0.05,
    'requests acknowledged': 1,
    'requests known again': 1,
    'journals audited': 0.5 / cutsEach,
  });
}

export const cutsCampaign: Campaign = {
  name: 'cuts',
  unit: 'power cuts under real file systems',
  countShort: 80,
  countLong: 1_200,
  countPart: 120,
  run,
};
