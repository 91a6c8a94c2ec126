// Requests whose records have not all found their ends, per stream: who waits for them, and how
// each ended. Bounded: what does not fit stays in the requests' database and is read back in
// order.
import { HoldfastError } from './errors.ts';
import type { Range } from './journal/notes.ts';
import type { KeptRequest, Requests } from './journal/requests.ts';
import { addCounts, countsWithin, type EndCounts, noCounts } from './merge/ledger.ts';
import { isLost } from './merge/lost.ts';
import type { Settled } from './merge/stream.ts';
import type { LaneState } from './target/target.ts';
import { unlessAborted } from './waiting.ts';
import type { Watermarks } from './watermarks.ts';

/** How records of these ranges ended, asked of the ledger. */
export type AskLedger = (ranges: readonly Range[]) => Promise<EndCounts>;

export interface Waiter<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

type Waited = Pick<KeptRequest, 'id' | 'rows' | 'ranges' | 'counts'>;

interface Entry {
  readonly id: number;
  readonly rows: number;
  readonly ranges: readonly Range[];
  isKept: boolean;
  /**
   * Some of its records were settled before this process watched: only the ledger knows their
   * ends.
   */
  readonly isPartlyOld: boolean;
  readonly waiters: Waiter<EndCounts>[];
}

const entriesMax = 2_000;
const refillCount = 1_000;

export class Pending {
  readonly #stream: number;
  readonly #marks: Watermarks;
  readonly #requests: Requests;
  readonly #askLedger: AskLedger;
  readonly #entries: Entry[] = [];
  #front = 0;
  /** Records that did not merge, per lane, as far back as an entry may need them. */
  readonly #others: Settled[][] = [];
  readonly #confirmWaiters = new Set<{ ranges: readonly Range[]; waiter: Waiter<void> }>();
  /**
   * Kept requests after this id are only in the database. At first all are: what an earlier
   * process left unfinished comes before what is new.
   */
  #spilledAfter: number | undefined = -1;
  /** Per lane, up to where records have ends, and up to where some of those were not told here. */
  readonly #reached: number[] = [];
  readonly #untold: number[] = [];
  #ended: Error | undefined;
  /** Questions to the ledger, one after another. */
  #asking: Promise<void> = Promise.resolve();
  /** By request. */
  readonly #questions = new Map<number, Promise<EndCounts>>();

  constructor(
    stream: number,
    marks: Watermarks,
    parts: { readonly requests: Requests; readonly askLedger: AskLedger },
  ) {
    this.#stream = stream;
    this.#marks = marks;
    this.#requests = parts.requests;
    this.#askLedger = parts.askLedger;
  }

  /** Takes a request that was just journaled; `waiter` hears of its end. */
  add(request: Pick<KeptRequest, 'id' | 'rows' | 'ranges'>, isKept: boolean): void {
    if (!isKept) return;
    if (this.#spilledAfter !== undefined || this.#entries.length - this.#front >= entriesMax) {
      this.#spilledAfter ??= request.id - 1;
      return;
    }
    this.#push(request, isKept);
    // The last part of a load may hold no record at all: nothing would come that finishes it.
    if (request.ranges.length === 0) this.advance();
  }

  /**
   * Resolves with the ends of the ranges' records; at once where they have them. Rejects with
   * HF_NOT_FOUND where nobody knows them all any more, or some of the records were passed over.
   */
  async settled(request: Waited, signal?: AbortSignal): Promise<EndCounts> {
    // What else is known cannot be asked for any more.
    if (this.#ended && !request.counts) throw this.#ended;
    const known = request.counts ?? this.#requests.byId(request.id)?.counts;
    if (known && endsWithin(known) < request.rows) throw notKnown();
    if (known) return known;
    if (this.isSettled(request.ranges)) return unlessAborted(this.#ask(request), signal);
    const entry = this.#push(request, false);
    const { promise, resolve, reject } = Promise.withResolvers<EndCounts>();
    const waiter = { resolve, reject };
    entry.waiters.push(waiter);
    return unlessAborted(promise, signal).finally(() => this.#leave(entry, waiter));
  }

  async confirmed(ranges: readonly Range[], signal?: AbortSignal): Promise<void> {
    if (this.isConfirmed(ranges)) return;
    if (this.#ended) throw this.#ended;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { ranges, waiter: { resolve, reject } };
    this.#confirmWaiters.add(waiting);
    return unlessAborted(promise, signal).finally(() => this.#confirmWaiters.delete(waiting));
  }

  async reached(
    request: Waited,
    level: 'settled' | 'confirmed',
    signal?: AbortSignal,
  ): Promise<EndCounts> {
    if (level === 'confirmed') await this.confirmed(request.ranges, signal);
    return this.settled(request, signal);
  }

  /** Nobody waits for it through this one any more. */
  #leave(entry: Entry, waiter: Waiter<EndCounts>): void {
    const at = entry.waiters.indexOf(waiter);
    if (at < 0) return;
    entry.waiters.splice(at, 1);
    if (entry.isKept || entry.waiters.length > 0) return;
    const place = this.#entries.indexOf(entry, this.#front);
    if (place >= 0) this.#entries.splice(place, 1);
  }

  /** Asks the ledger, once for all who want the same, and for one request after another. */
  #ask({ id, ranges }: Waited): Promise<EndCounts> {
    const asked = this.#questions.get(id);
    if (asked) return asked;
    const answer = this.#asking.then(() => this.#askLedger(ranges));
    this.#questions.set(id, answer);
    this.#asking = answer.then(
      () => undefined,
      () => undefined,
    );
    return answer.finally(() => this.#questions.delete(id));
  }

  isSettled(ranges: readonly Range[]): boolean {
    return isReached(ranges, this.#marks.settled);
  }

  isConfirmed(ranges: readonly Range[]): boolean {
    return isReached(ranges, this.#marks.confirmed);
  }

  onSettled(all: readonly Settled[]): void {
    for (const one of all) {
      this.#reached[one.lane] = one.last;
      // Who waits for records that were passed over hears that from the ledger.
      if (isLost(one)) this.#untold[one.lane] = one.last;
      if (!one.ends) continue;
      const own = this.#others[one.lane] ?? [];
      own.push(one);
      this.#others[one.lane] = own;
    }
    this.advance();
  }

  /**
   * The target's word on these lanes. Where they are further than was told here, only the ledger
   * knows the ends; where they went back, what was known of later records is void.
   */
  onLanes(lanes: readonly LaneState[]): void {
    for (const { lane, settled } of lanes) {
      const isTold = settled <= (this.#reached[lane] ?? 0);
      this.#untold[lane] = isTold ? Math.min(this.#untold[lane] ?? 0, settled) : settled;
      this.#reached[lane] = settled;
      this.#others[lane] = (this.#others[lane] ?? []).filter((one) => one.last <= settled);
    }
    // What an earlier process left unfinished comes first.
    if (this.#entries.length > 0) this.#refill();
    this.advance();
  }

  onConfirmed(): void {
    for (const waiting of this.#confirmWaiters) {
      if (!this.isConfirmed(waiting.ranges)) continue;
      this.#confirmWaiters.delete(waiting);
      waiting.waiter.resolve();
    }
  }

  /** Nothing more will happen here: tells who still waits. */
  end(error: Error): void {
    this.#ended = error;
    for (const { waiters } of this.#entries.slice(this.#front)) {
      for (const waiter of waiters.splice(0)) waiter.reject(error);
    }
    for (const { waiter } of this.#confirmWaiters) waiter.reject(error);
    this.#entries.length = 0;
    this.#front = 0;
    this.#confirmWaiters.clear();
  }

  /** Finishes requests from the front, in the order in which they were journaled. */
  advance(): void {
    do this.#finishFront();
    while (this.#entries.length === 0 && this.#refill());
    if (this.#entries.length === 0) this.#others.length = 0;
    else this.#forgetOthers();
  }

  #finishFront(): void {
    for (;;) {
      const entry = this.#entries[this.#front];
      if (!entry || !this.isSettled(entry.ranges)) break;
      this.#front++;
      this.#finish(entry);
    }
    if (this.#front > 1024 || this.#front === this.#entries.length) {
      this.#entries.splice(0, this.#front);
      this.#front = 0;
    }
  }

  /** The entry of a request, in the order of their journaling; made where there is none. */
  #push(request: Pick<KeptRequest, 'id' | 'rows' | 'ranges'>, isKept: boolean): Entry {
    const { id, rows, ranges } = request;
    let at = this.#entries.length;
    while (at > this.#front && (this.#entries[at - 1]?.id ?? 0) > id) at--;
    const known = at > this.#front ? this.#entries[at - 1] : undefined;
    if (known?.id === id) {
      known.isKept ||= isKept;
      return known;
    }
    const isPartlyOld = ranges.some(([lane, first]) => first <= (this.#marks.settled[lane] ?? 0));
    const entry: Entry = { id, rows, ranges, isKept, isPartlyOld, waiters: [] };
    this.#entries.splice(at, 0, entry);
    return entry;
  }

  /** Takes the next requests from the database; whether there were any. */
  #refill(): boolean {
    if (this.#spilledAfter === undefined) return false;
    const next = this.#requests.open(this.#stream, this.#spilledAfter, refillCount);
    for (const request of next) this.#push(request, true);
    this.#spilledAfter = next.length < refillCount ? undefined : next.at(-1)?.id;
    return next.length > 0;
  }

  #finish(entry: Entry): void {
    const isUntold = entry.ranges.some(([lane, first]) => first <= (this.#untold[lane] ?? 0));
    if (!entry.isPartlyOld && !isUntold) {
      this.#tell(entry, this.#countsOf(entry));
      return;
    }
    this.#asking = this.#asking.then(() => this.#finishByLedger(entry));
  }

  async #finishByLedger(entry: Entry): Promise<void> {
    try {
      this.#tell(entry, await this.#askLedger(entry.ranges));
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      const isFinal = error instanceof HoldfastError && error.code === 'HF_NOT_FOUND';
      // Not known now: it stays open in the database and is asked again at the next start.
      if (isFinal && entry.isKept) this.#requests.settled(entry.id, noCounts);
      for (const waiter of entry.waiters.splice(0)) waiter.reject(reason);
    }
  }

  #tell(entry: Entry, counts: EndCounts): void {
    if (entry.isKept) this.#requests.settled(entry.id, counts);
    // They are told, so that none has to be looked for where it does not stand any more.
    for (const waiter of entry.waiters.splice(0)) waiter.resolve(counts);
  }

  #countsOf(entry: Entry): EndCounts {
    let others = noCounts;
    let count = 0;
    for (const [lane, first, rows] of entry.ranges) {
      for (const one of this.#others[lane] ?? []) {
        others = addCounts(others, countsWithin(one, first, first + rows - 1));
      }
      count += rows;
    }
    const { duplicates, superseded, deadLetters } = others;
    return { ...others, merged: count - duplicates - superseded - deadLetters };
  }

  /** Ends that lie before all that the front entry needs are forgotten. */
  #forgetOthers(): void {
    const front = this.#entries[this.#front];
    if (!front) return;
    for (const [lane, first] of front.ranges) {
      const own = this.#others[lane];
      if (!own || own.length === 0 || (own[0]?.last ?? 0) >= first) continue;
      this.#others[lane] = own.filter((one) => one.last >= first);
    }
  }
}

const endsWithin = ({ merged, duplicates, superseded, deadLetters }: EndCounts): number =>
  merged + duplicates + superseded + deadLetters;

const notKnown = (): HoldfastError =>
  new HoldfastError(
    'HF_NOT_FOUND',
    'How these records ended is not known any more, or some of them were lost and passed over.',
    { outcome: 'unknown' },
  );

const isReached = (ranges: readonly Range[], marks: Float64Array): boolean =>
  ranges.every(([lane, first, count]) => (marks[lane] ?? 0) >= first + count - 1);
