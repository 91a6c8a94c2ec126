// What the campaign `cuts` does, job by job: a journal on a disk, its cuts, its audit; and the
// controls, which must be seen to lose.
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HoldfastError } from '../src/errors.ts';
import type { Random } from '../test/simulation/random.ts';
import type { Tally } from './campaign.ts';
import { type CutDisk, makeDisk } from './cut-disks.ts';
import { type AfterError, type Cut, CutJournal, type Fate } from './cut-journal.ts';
import { CutLife } from './cut-life.ts';
import { clearAway, mountMemory } from './mounts.ts';
import { mutants } from './mutant-list.ts';
import { mutated } from './mutants.ts';
import { Violation } from './oracle.ts';

const root = join(import.meta.dirname, '..');
const memoryBytes = 64 * 1024 * 1024;
/** Of cuts after an error: not every one meets the group that was being written. */
const controlTriesMax = 12;
/** So many cuts in a row that found nothing acknowledged were never by chance. */
const vacuousMax = 50;

export type Control = 'no sync' | 'lying disk' | 'trusted tail';

/** Cuts of one journal, and then its audit. */
export interface CutJob {
  readonly name: string;
  readonly kind: CutDisk['kind'];
  readonly cuts: number;
  /** An error of the disk comes before each cut. */
  readonly hasErrors: boolean;
  readonly control?: Control;
}

/** The broken builds of controls, by the names that their parts have among the mutants. */
const brokenBuilds: Partial<Record<Control, readonly string[]>> = {
  'no sync': ['no sync of a group that comes alone', 'no sync of a group of many'],
  'trusted tail': ['the suspect tail is trusted after a kill'],
};

/** The folder of the sources that a control runs: the product's, or those of a broken build. */
function sourcesOf(control: Control, folder: string): string {
  const names = brokenBuilds[control];
  if (names === undefined) return root;
  const path = join(folder, `broken ${control}`);
  if (existsSync(path)) return path;
  mkdirSync(path);
  for (const part of ['src', 'sql', 'package.json']) {
    cpSync(join(root, part), join(path, part), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(path, 'node_modules'));
  for (const name of names) {
    const mutant = mutants.find((one) => one.name === name);
    if (!mutant) throw new Error(`there is no mutant "${name}"`);
    const file = join(path, mutant.file);
    writeFileSync(file, mutated(readFileSync(file, 'utf8'), mutant));
  }
  return path;
}

const drawFate = (random: Random): Fate => ({
  isOpeningOnly: random.chance(0.2),
  intake: random.chance(0.7) ? 'nothing' : random.chance(0.6) ? 'nothing more' : 'all',
  goesOn: random.chance(0.3),
  keepsNothing: false,
  lies: false,
});

const controlFate = (control: Control): Fate => ({
  isOpeningOnly: false,
  intake: 'nothing',
  goesOn: false,
  keepsNothing: true,
  lies: control === 'lying disk',
});

/** A disk of each kind, and a process that waits for its turn: jobs go through it one by one. */
export class CutBench {
  readonly #folder: string;
  readonly #tally: Tally;
  readonly #disks = new Map<CutDisk['kind'], CutDisk>();
  #made = 0;
  /** A process that is loaded, so that the next cut need not wait for it. */
  #ready: CutLife | undefined;

  private constructor(folder: string, tally: Tally) {
    this.#folder = folder;
    this.#tally = tally;
  }

  static async open(folder: string, tally: Tally): Promise<CutBench> {
    await mountMemory(join(folder, 'memory'), memoryBytes);
    return new CutBench(folder, tally);
  }

  async #disk(kind: CutDisk['kind']): Promise<CutDisk> {
    const known = this.#disks.get(kind);
    if (known) return known;
    const folder = join(this.#folder, `${kind}-${++this.#made}`);
    mkdirSync(folder);
    const disk = await makeDisk(kind, folder);
    this.#disks.set(kind, disk);
    return disk;
  }

  async do(job: CutJob, number: number, random: Random): Promise<void> {
    const disk = await this.#disk(job.kind);
    // Targets on a disk that syncs, and in memory.
    const folder = join(this.#folder, number % 2 === 0 ? 'targets' : 'memory', `${number}`);
    const journal = new CutJournal({ disk, name: `journal-${number}`, folder, random });
    try {
      if (job.control) await this.#control(job.name, job.control, journal);
      else await this.#attack(job, journal, random);
      journal.remove();
    } catch (error) {
      // Processes may still hold it; the next job has a new one.
      this.#disks.delete(job.kind);
      clearAway(dirname(disk.path));
      throw error;
    }
  }

  #nextLife(): CutLife {
    const life = this.#ready ?? new CutLife(root);
    this.#ready = new CutLife(root);
    return life;
  }

  async #attack(job: CutJob, journal: CutJournal, random: Random): Promise<void> {
    for (let done = 0, vacuous = 0; done < job.cuts; ) {
      if (job.hasErrors) {
        const lives = [this.#nextLife(), this.#nextLife()] as const;
        this.#noteError(await journal.meetErrorAndBeCut(lives, false));
      } else {
        const cut = await journal.liveAndBeCut(this.#nextLife(), drawFate(random));
        if (cut.unmerged === 0 && cut.told === 0) {
          this.#tally.vacuous();
          if (++vacuous > vacuousMax) throw new Error('nothing is acknowledged any more');
          continue;
        }
        this.#note(cut);
      }
      done++;
      this.#tally.ran();
      this.#tally.see(`cuts: ${job.name}`);
    }
    const { known, rows } = await journal.audit();
    this.#tally.see('requests known again', known);
    this.#tally.see('rows checked', rows);
    this.#tally.see('journals audited');
  }

  #note({ told, unmerged, wasOpening, noticed, report, names }: Cut): void {
    const see = (what: string, isSo: boolean): void => this.#tally.see(what, isSo ? 1 : 0);
    this.#tally.see('requests acknowledged', told);
    see('acknowledged rows in the journal alone', unmerged > 0);
    see('while opening', wasOpening);
    see('a dead disk was noticed', noticed);
    const isUnfinished = (name: string): boolean => name.endsWith('.tmp');
    see('a spare was half made', names.some(isUnfinished));
    see('writes were in the cache', (report?.writes ?? 0) > 0);
    see('writes were torn', (report?.torn ?? 0) > 0);
  }

  #noteError({ told, failed, known, isReadOnly }: AfterError): void {
    this.#tally.see('requests acknowledged', told);
    this.#tally.see('errors: the journal failed', failed ? 1 : 0);
    this.#tally.see('errors: ext4 was read-only after it', isReadOnly ? 1 : 0);
    this.#tally.see('errors: requests answered for from a suspect tail', known);
  }

  async #control(name: string, control: Control, journal: CutJournal): Promise<void> {
    let lost = 0;
    try {
      lost = await this.#loseOnPurpose(control, journal);
    } catch (error) {
      // The broken build met its own loss before it was counted; or its target did, which knows of
      // records that the journal has lost.
      const isOlder = error instanceof HoldfastError && error.code === 'HF_TARGET';
      if (!(error instanceof Violation) && !isOlder) throw error;
      lost = journal.acknowledged;
    }
    this.#tally.see(`${name}: acknowledged`, journal.acknowledged);
    this.#tally.see(`${name}: lost`, lost);
    if (lost === 0) this.#tally.fail(`${name} has lost nothing: this campaign is blind`);
  }

  async #loseOnPurpose(control: Control, journal: CutJournal): Promise<number> {
    const sources = sourcesOf(control, this.#folder);
    if (control !== 'trusted tail') {
      await journal.liveAndBeCut(new CutLife(sources), controlFate(control));
      return journal.countLost();
    }
    for (let tries = 1; tries <= controlTriesMax; tries++) {
      const lives = [new CutLife(sources), new CutLife(sources)] as const;
      await journal.meetErrorAndBeCut(lives, true);
      const lost = await journal.countLost();
      if (lost > 0) return lost;
    }
    return 0;
  }

  async close(): Promise<void> {
    await this.#ready?.kill();
    for (const disk of this.#disks.values()) await disk.remove();
  }
}
