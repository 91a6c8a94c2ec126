// A journal on a disk that is cut again and again, in front of an SQLite file that is not: the
// lives of the processes that write it, and the audit at the end. For most of the time the target
// takes nothing, so that what was acknowledged stands in the journal alone when the power fails.
//
// Which acknowledgements count: all that were told, also those that were read after the cut. Each
// of them means that fdatasync returned 0, and from a dead device it cannot: what is told after the
// cut was synced before it. A real power cut takes the wire with it; this asks for more.
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { HoldfastError } from '../src/errors.ts';
import { open } from '../src/index.ts';
import type { OpenOptions } from '../src/options.ts';
import type { Holdfast, StreamStatus } from '../src/types.ts';
import type { Random } from '../test/simulation/random.ts';
import {
  childOptions,
  childRows,
  childTable,
  shopPath,
  writersMax,
} from '../test/support/crash-folder.ts';
import { streamWhere } from '../test/support/waits.ts';
import type { CutDisk, CutReport } from './cut-disks.ts';
import type { CutLife } from './cut-life.ts';
import { checkBooks, checkTable, Violation } from './oracle.ts';

/** A journal is refused with these where it lacks what was acknowledged; others may pass. */
const lossCodes: ReadonlySet<string> = new Set(['HF_CORRUPT', 'HF_TARGET']);
const openingMsMax = 30;
/** A cut comes after so many acknowledgements at most. */
const toldMax = 60;
/** By then what a new segment needs is made, and most writes are groups. */
const settlingCount = 12;
/** How long a process may go on with a dead disk. */
const noticingMsMax = 150;
/** How long until it must have met an error that concerns it. */
const errorMsMax = 500;

/** What the target takes: nothing, nothing from the first acknowledgement on, or all. */
type Intake = 'nothing' | 'nothing more' | 'all';

export interface Fate {
  readonly isOpeningOnly: boolean;
  readonly intake: Intake;
  /** Whether it lives on for a while when its disk is dead. */
  readonly goesOn: boolean;
  /** Of what was not flushed, nothing survives. */
  readonly keepsNothing: boolean;
  readonly lies: boolean;
}

/** What one cut came to. */
export interface Cut {
  readonly told: number;
  readonly wasOpening: boolean;
  /** Acknowledged requests of the whole journal that the target did not have yet. */
  readonly unmerged: number;
  readonly noticed: boolean;
  readonly report: CutReport | undefined;
  /** Names in the journal's directory after it. */
  readonly names: readonly string[];
}

/** What a disk that failed once, and a cut after it, came to. */
export interface AfterError {
  readonly told: number;
  readonly failed: boolean;
  /** Requests that the next process found in the journal, though they had not been acknowledged. */
  readonly known: number;
  readonly isReadOnly: boolean;
}

export interface CutPlace {
  readonly disk: CutDisk;
  /** Its directory on the disk. */
  readonly name: string;
  /** Where the target lies. */
  readonly folder: string;
  readonly random: Random;
}

export class CutJournal {
  readonly #place: CutPlace;
  readonly #shop: DatabaseSync;
  readonly #acknowledged = new Set<number>();
  #isAway = false;

  constructor(place: CutPlace) {
    this.#place = place;
    mkdirSync(place.folder, { recursive: true });
    this.#shop = new DatabaseSync(shopPath(place.folder));
    const tables = readFileSync(join(import.meta.dirname, '../sql/sqlite/1-tables.sql'), 'utf8');
    this.#shop.exec(`PRAGMA journal_mode=WAL; PRAGMA busy_timeout=5000; ${childTable}; ${tables}`);
  }

  get directory(): string {
    return join(this.#place.disk.path, this.#place.name);
  }

  get #lastSent(): number {
    // Those that were in flight at a cut may be written or not.
    return Math.max(0, ...this.#acknowledged) + writersMax;
  }

  #options(loader: 'worker' | 'own'): OpenOptions {
    const { limits = {}, ...options } = childOptions(this.#place.folder, loader);
    const bytesMax = 8 * 1024 * 1024;
    return { ...options, journal: this.directory, limits: { ...limits, bytesMax } };
  }

  /** From the orders to the cut and the disk's return; the life must be a new one. */
  async liveAndBeCut(life: CutLife, fate: Fate): Promise<Cut> {
    const { disk, random } = this.#place;
    // Only the first group tells the journal of the table; until then it is read at each opening.
    const isTableKnown = this.#acknowledged.size > 0;
    let report: CutReport | undefined;
    try {
      if (fate.intake === 'nothing' && isTableKnown) this.#takeTableAway();
      // A loader that waits for a lock would hold up a journal on its own thread.
      const willWait = fate.intake === 'nothing more' || !isTableKnown;
      const loader = willWait || random.chance(0.3) ? 'worker' : 'own';
      life.begin({ options: this.#options(loader), first: this.#firstUnacknowledged() });
      await this.#momentOf(life, fate);
      life.checkUnharmed();
      report = await disk.cut(random, fate.keepsNothing);
      if (fate.goesOn) await Promise.race([life.untilDone(), pause(noticingMsMax)]);
    } finally {
      await life.kill();
    }
    this.#take(life);
    this.#giveBack();
    const unmerged = this.#countUnmerged();
    await disk.revive();
    life.checkEnd();
    return {
      told: life.told.length,
      wasOpening: !life.isOpen,
      unmerged,
      noticed: life.failure !== undefined,
      report,
      names: readdirSync(disk.path).includes(this.#place.name) ? readdirSync(this.directory) : [],
    };
  }

  /**
   * A write of one life fails once, which the page cache above the disk hides from the next life.
   * That opens at once what it sees there, answers for it, and is cut.
   */
  async meetErrorAndBeCut(
    [life, next]: readonly [CutLife, CutLife],
    keepsNothing: boolean,
  ): Promise<AfterError> {
    const { disk, random } = this.#place;
    try {
      await this.#meetError(life);
      await life.kill();
      this.#take(life);
      if (random.chance(0.5)) this.#giveBack();
      next.begin({ options: this.#options('own'), first: this.#firstUnacknowledged() });
      await next.until(({ told }) => told.length >= writersMax);
      await disk.cut(random, keepsNothing);
    } finally {
      await Promise.all([life.kill(), next.kill()]);
    }
    this.#take(next);
    this.#giveBack();
    await disk.revive();
    life.checkEnd();
    if (next.isOpen) next.checkEnd();
    return {
      told: life.told.length + next.told.length,
      failed: life.failure !== undefined,
      known: next.known,
      // Where the error hit ext4's own journal, it is read-only until it is mounted again.
      isReadOnly: !next.isOpen,
    };
  }

  async #meetError(life: CutLife): Promise<void> {
    const { disk, random } = this.#place;
    life.begin({ options: this.#options('own'), first: this.#firstUnacknowledged() });
    const wanted = settlingCount + random.below(toldMax);
    await life.until(({ told }) => told.length > wanted);
    life.checkUnharmed();
    this.#takeTableAway();
    disk.failOnce?.(random);
    // Where the file system alone met it, there is nothing to notice.
    await Promise.race([life.untilDone(), pause(errorMsMax)]);
  }

  async #momentOf(life: CutLife, fate: Fate): Promise<void> {
    const { disk, random } = this.#place;
    await life.until(({ isOpening }) => isOpening);
    if (fate.isOpeningOnly) {
      await pause(random.below(openingMsMax));
      return;
    }
    await life.until(({ isOpen }) => isOpen);
    if (fate.lies) disk.lie?.();
    const before = life.told.length;
    await life.until(({ told }) => told.length > before);
    if (fate.intake !== 'all' && !this.#isAway) this.#lock();
    const wanted = before + random.below(toldMax);
    await life.until(({ told }) => told.length > wanted);
  }

  #take({ told }: CutLife): void {
    for (const number of told) this.#acknowledged.add(number);
  }

  #firstUnacknowledged(): number {
    let first = 1;
    while (this.#acknowledged.has(first)) first++;
    return first;
  }

  /** From now on the target takes nothing: somebody else writes its file. */
  #lock(): void {
    this.#shop.exec('BEGIN IMMEDIATE');
  }

  /** The target takes nothing: there is no such table. */
  #takeTableAway(): void {
    this.#shop.exec('ALTER TABLE events RENAME TO events_away');
    this.#isAway = true;
  }

  #giveBack(): void {
    if (this.#shop.isTransaction) this.#shop.exec('ROLLBACK');
    if (this.#isAway) this.#shop.exec('ALTER TABLE events_away RENAME TO events');
    this.#isAway = false;
  }

  #countUnmerged(): number {
    const merged = new Set(this.#rows().map(({ id }) => id));
    const isMerged = (number: number): boolean => merged.has(childRows(number)[0]?.id ?? 0);
    return [...this.#acknowledged].filter((number) => !isMerged(number)).length;
  }

  #rows(): { readonly id: number; readonly note: unknown }[] {
    const found = this.#shop.prepare('SELECT id, note FROM events').all();
    return found.map(({ id, note }) => ({ id: Number(id), note }));
  }

  /**
   * Sends all that may have been sent once more, lets it settle, and looks at the table and the
   * books. Returns how many requests were known and how many rows there are.
   */
  async audit(): Promise<{ readonly known: number; readonly rows: number }> {
    const last = this.#lastSent;
    const holdfast = await this.#reopen();
    let known = 0;
    try {
      for (let number = 1; number <= last; number++) {
        if (await this.#isKnown(holdfast, number)) known++;
        else if (this.#acknowledged.has(number)) {
          throw new Violation('lost', `request ${number} was acknowledged and is not known`);
        }
      }
      await this.#checkBooks(holdfast, last);
    } finally {
      await holdfast.close({ drainMs: 60_000 });
    }
    const sent = Array.from({ length: last }, (_, i) => childRows(i + 1)).flat();
    const rows = this.#rows();
    checkTable({ table: 'events', found: rows, sent, acknowledged: sent });
    return { known, rows: rows.length };
  }

  /** Each request was journaled once, however often it was sent. */
  async #checkBooks(holdfast: Holdfast, last: number): Promise<void> {
    const isSettled = ({ inFlight }: StreamStatus): boolean => inFlight === 0;
    const books = await streamWhere(holdfast, 'events', isSettled);
    const rows = last * childRows(1).length;
    const none = { duplicates: 0, superseded: 0, deadLetters: 0, inFlight: 0, unaccounted: 0 };
    checkBooks('events', books, { accepted: rows, merged: rows, ...none });
  }

  async #isKnown(holdfast: Holdfast, number: number): Promise<boolean> {
    const options = { idempotencyKey: String(number) };
    return (await holdfast.write('events', childRows(number), options)).repeated;
  }

  async #reopen(): Promise<Holdfast> {
    try {
      return await open(this.#options('own'));
    } catch (error) {
      if (!(error instanceof HoldfastError) || !lossCodes.has(error.code)) throw error;
      const kept = `${this.#acknowledged.size} acknowledged requests`;
      throw new Violation('lost', `the journal with ${kept} is not opened: ${String(error)}`);
    }
  }

  /** For controls: all of them, where the journal was refused. */
  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  /** For controls: how many acknowledged requests a broken build or a lying disk has lost. */
  async countLost(): Promise<number> {
    const holdfast = await this.#reopen();
    let lost = 0;
    try {
      for (const number of this.#acknowledged) {
        if (!(await this.#isKnown(holdfast, number))) lost++;
      }
    } finally {
      await holdfast.close({ drainMs: 60_000 });
    }
    return lost;
  }

  remove(): void {
    this.#shop.close();
    rmSync(this.directory, { recursive: true, force: true });
    rmSync(this.#place.folder, { recursive: true, force: true });
  }
}
