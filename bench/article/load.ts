// The load of bench article: one sequence of rows, the same for every way and in every run, as far
// as a run gets; handed over row by row by many producers, each answer timed; and what the table
// must hold in the end.
import type { OpenWay } from './ways.ts';

export type Payment = {
  readonly tx_id: number;
  readonly user_id: number;
  readonly amount: string;
  readonly status: string;
  readonly version: number;
  readonly note: string;
};

/** Keys that are written over and over, each time with the next version: 5 % of the rows. */
const hotKeys = 200;
const hotShare = 0.05;
/** Rows sent again as they were, drawn from the last so many: 4 % of the rows. */
const duplicateShare = 0.04;
const recentRows = 1_000;

const statuses = ['created', 'held', 'paid', 'refunded'];
const keyBase = 1_000_000_000_000;
const note = 'A line of text, as payments carry them, of about the length that they have. '.repeat(
  2,
);

/** New payments with ascending keys, changes of hot ones, repeats. */
class Sequence {
  #state = 1;
  #newKeys = 0;
  readonly #hotVersions = new Uint32Array(hotKeys);
  readonly #recent: Payment[] = [];
  #count = 0;

  next(): Payment {
    const kind = this.#random();
    const again = this.#recent[Math.floor(this.#random() * this.#recent.length)];
    if (kind < duplicateShare && again) return again;
    const row = kind < duplicateShare + hotShare ? this.#hotRow() : this.#newRow();
    this.#recent[this.#count++ % recentRows] = row;
    return row;
  }

  #newRow(): Payment {
    return this.#row(hotKeys + this.#newKeys++, 1);
  }

  /** The cube makes a few far hotter than the rest: the first tenth gets almost half. */
  #hotRow(): Payment {
    const key = Math.floor(hotKeys * this.#random() ** 3);
    const version = (this.#hotVersions[key] ?? 0) + 1;
    this.#hotVersions[key] = version;
    return this.#row(key, version);
  }

  #row(key: number, version: number): Payment {
    const spread = Math.floor(this.#random() * 1e6);
    return {
      tx_id: keyBase + key,
      user_id: spread % 50_000,
      amount: `${spread}.${10 + (spread % 90)}`,
      status: statuses[version % statuses.length] ?? '',
      version,
      note: note.slice(0, 60 + (spread % 80)),
    };
  }

  /** 0 up to 1; a linear congruence, so that each run gets the same rows (Numerical Recipes). */
  #random(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#state / 2 ** 32;
  }
}

/** One row in so many is asked when it is settled: asking all would be a load of its own. */
const settledSample = 16;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What became of the rows of one run. */
export class Load {
  handed = 0;
  succeeded = 0;
  /** Milliseconds from handing over until the answer, good or bad. */
  readonly answerMs: number[] = [];
  /** Until the row has its end in the table, where that is not the answer; of a sample. */
  readonly settledMs: number[] = [];
  firstFailure: Error | undefined;
  readonly #rows = new Sequence();
  readonly #way: OpenWay;
  /** By key: the newest version that was answered with success, and the newest handed over. */
  readonly #answered = new Map<number, number>();
  readonly #given = new Map<number, number>();
  #settling: Promise<unknown>[] = [];

  constructor(way: OpenWay) {
    this.#way = way;
  }

  /** As fast as it goes: so many producers, each with one row under way, for so long. */
  async closedLoop(producers: number, ms: number): Promise<void> {
    const end = performance.now() + ms;
    const producer = async (): Promise<void> => {
      for (let now = performance.now(); now < end; now = performance.now()) await this.#hand(now);
    };
    await Promise.all(Array.from({ length: producers }, producer));
  }

  /** So many rows a second, each timed from when it was due, whatever became of those before. */
  async paced(rowsPerSecond: number, ms: number): Promise<void> {
    const begun = performance.now();
    const rows = Math.floor((rowsPerSecond * ms) / 1000);
    const underWay: Promise<void>[] = [];
    for (let i = 0; i < rows; ) {
      for (; i < rows; i++) {
        const due = begun + (i * 1000) / rowsPerSecond;
        if (due > performance.now()) break;
        underWay.push(this.#hand(due));
      }
      await pause(1);
    }
    await Promise.all(underWay);
  }

  /** Waits for the rows whose end was asked for. */
  async settled(): Promise<void> {
    await Promise.all(this.#settling);
    this.#settling = [];
  }

  async #hand(since: number): Promise<void> {
    const row = this.#rows.next();
    const isSample = this.handed++ % settledSample === 0;
    this.#raise(this.#given, row);
    try {
      const { settled } = await this.#way.write(row);
      this.succeeded++;
      this.#raise(this.#answered, row);
      if (settled && isSample) {
        const timed = settled().then(() => this.settledMs.push(performance.now() - since));
        this.#settling.push(timed);
      }
    } catch (error) {
      this.firstFailure ??= error instanceof Error ? error : new Error(String(error));
    }
    this.answerMs.push(performance.now() - since);
  }

  #raise(versions: Map<number, number>, { tx_id, version }: Payment): void {
    if ((versions.get(tx_id) ?? 0) < version) versions.set(tx_id, version);
  }

  /**
   * Against the whole table, [key, version] a row. Lost: keys that were answered with success and
   * are missing, or stand there older than was answered. Doubled: rows beyond the first of a key,
   * and rows that nobody handed over.
   */
  compare(table: readonly (readonly [number, number])[]): { lost: number; doubled: number } {
    const found = new Map<number, number>();
    let doubled = 0;
    for (const [key, version] of table) {
      if (found.has(key) || version > (this.#given.get(key) ?? 0)) doubled++;
      found.set(key, version);
    }
    let lost = 0;
    for (const [key, version] of this.#answered) if ((found.get(key) ?? 0) < version) lost++;
    return { lost, doubled };
  }
}
