// One loader: one session that brings the records of its lanes to the target, batch after batch,
// one transaction in flight. Its loop never gives a record up: a batch is left only when the target
// says that it is there, or when the lanes have to be read again. What "there" means is the
// route's: settled in the table (direct.ts), or staged (staged.ts).
import assert from 'node:assert/strict';
import type { Table } from '../accept/columns.ts';
import { woken } from '../clock.ts';
import type { Position } from '../journal/block.ts';
import { limits } from '../limits.ts';
import {
  type LaneState,
  type MergeResult,
  type Rung,
  type Session,
  TargetError,
} from '../target/target.ts';
import { Assembly } from './assemble.ts';
import type { Batch } from './batch.ts';
import { BatchBound } from './batch-bound.ts';
import { BatchMemory } from './batch-memory.ts';
import type { Division } from './division.ts';
import type { Feed } from './feed.ts';
import { Ladder } from './ladder.ts';
import { type LedgerRow, ledgerRows } from './ledger.ts';
import { Link, type LinkParts, lanesLost, replaced, requireOwner } from './link.ts';

/**
 * Where a batch was committed: a position in the log of one history (P2); '' where none is told.
 */
export interface Commit {
  readonly position: string;
  readonly identity: string;
}

export interface LoaderRoute {
  /** One whole transaction; see Session.merge and Staging.stage. */
  send(session: Session, batch: Batch, rung: Rung): Promise<MergeResult>;
  /** A batch is there: its rows as the ledger has them. */
  sent(rows: readonly LedgerRow[], commit: Commit): void;
  /** The target says that these lanes stand elsewhere than `from`, ahead or back. */
  moved(
    session: Session,
    lanes: readonly { readonly state: LaneState; readonly from: number }[],
  ): Promise<void>;
  /** Asks whether more has been confirmed; nothing waits for that where `isIdle`. */
  confirm(session: Session): Promise<void>;
  readonly isIdle: boolean;
}

export interface LoaderParts extends LinkParts {
  readonly writer: string;
  readonly route: LoaderRoute;
  /** The stream's epoch and table, shared by its loaders. */
  readonly shared: { epoch: number; table: Table };
  /** Which of the stream's loaders this is, and which lanes it has. */
  readonly index: number;
  readonly division: Division;
}

/** What to do after an attempt failed. */
type After = 'again' | 'reread';

export class Loader {
  readonly #parts: LoaderParts;
  readonly #feed: Feed;
  readonly #ladder = new Ladder();
  readonly #bound: BatchBound;
  readonly #stop = new AbortController();
  readonly #link: Link;
  #wake: () => void = () => undefined;
  #pollAtMs = 0;
  /** Sessions that were lost in the middle of a batch; the server may not know it yet. */
  #suspects: string[] = [];
  /** The last batch had all that there was. */
  #isAllTaken = true;
  /** Before it there was nothing to do. */
  #wasIdle = true;
  /** Of the batch at hand: it is settled, or read again, before the next one is taken. */
  readonly #memory = new BatchMemory();

  constructor(parts: LoaderParts) {
    const { settings, division, index } = parts;
    this.#parts = parts;
    this.#link = new Link(parts, this.#stop.signal);
    this.#bound = new BatchBound(settings.batchRowsMax);
    this.#feed = division.feed(index);
    if (index === 0) division.onCanGather = () => this.#wake();
  }

  /** The journal is durable up to `end`. */
  extend(end: Position): void {
    this.#feed.extend(end);
    this.#wake();
  }

  /** Lets the running transaction finish, then ends. */
  stop(): void {
    this.#stop.abort();
    this.#wake();
  }

  /**
   * Begins after what the target has; runs until stopped, fenced, or the journal turns out to be
   * damaged.
   */
  async run(lanes: readonly LaneState[]): Promise<void> {
    const { division, index } = this.#parts;
    try {
      if (index === 0) this.#adopt(lanes);
      while (!this.#stop.signal.aborted) {
        const isTroubled = this.#suspects.length > 0 || this.#link.isFailing;
        // A session that was lost may keep locks of any lane: only who lost it ends it.
        const hasMore = !this.#isAllTaken && this.#suspects.length === 0;
        if (!division.mayGoOn(index, { hasMore, isTroubled })) {
          await this.#waitForShare();
          continue;
        }
        await this.#pollConfirming();
        const batch = this.#take();
        if (batch) await this.#settleAndRest(batch);
        else await this.#idle();
        this.#wasIdle = batch === undefined;
      }
    } finally {
      this.#feed.close();
      await this.#link.close();
    }
  }

  /** The others keep up without it. */
  async #waitForShare(): Promise<void> {
    const { division, index } = this.#parts;
    this.#isAllTaken = true;
    this.#wasIdle = true;
    this.#memory.release();
    const closed = this.#link.close().catch(() => undefined);
    await division.wait(index, this.#stop.signal);
    // Its share does not wait for a network that is dead.
    if (this.#stop.signal.aborted) await closed;
  }

  /** Under steady load there is no idle moment: asks by time. */
  async #pollConfirming(): Promise<void> {
    const { clock, route } = this.#parts;
    if (route.isIdle || clock.monotonicMs() < this.#pollAtMs) return;
    this.#pollAtMs = clock.monotonicMs() + limits.confirmPollMs;
    try {
      await route.confirm(await this.#link.connected());
    } catch (error) {
      await this.#failed(error, undefined);
    }
  }

  #adopt(lanes: readonly LaneState[]): void {
    const { staged } = this.#parts.division;
    for (const state of lanes) staged[state.lane] = state.staged;
    this.#feed.seek(staged);
  }

  #take(): Batch | undefined {
    const { settings, writer, shared, clock } = this.#parts;
    const { batchBytesMax: bytesMax, rules } = settings;
    const rowsMax = this.#bound.records;
    const assembly = new Assembly(this.#feed.dictionary, { rowsMax, bytesMax }, this.#memory);
    this.#isAllTaken = this.#feed.read((block) => assembly.add(block));
    if (assembly.records === 0) return undefined;
    const { epoch, table } = shared;
    return assembly.finish({ writer, epoch, rules, table, wallMs: clock.wallMs() });
  }

  async #idle(): Promise<void> {
    const { clock, route, division } = this.#parts;
    if (division.canGather) return;
    const pause = new AbortController();
    const signal = AbortSignal.any([pause.signal, this.#stop.signal]);
    this.#wake = () => pause.abort(woken);
    await clock.sleep(route.isIdle ? limits.idleCheckMs : limits.retryMsMin, signal);
    this.#wake = () => undefined;
    if (signal.aborted) return;
    this.#memory.release();
    try {
      await this.#check();
    } catch (error) {
      await this.#failed(error, undefined);
    }
  }

  /** An idle stream looks whether the target went back, and what has been confirmed (DESIGN §6). */
  async #check(): Promise<void> {
    const session = await this.#link.connected();
    await this.#parts.route.confirm(session);
    await this.#reread(session);
    this.#link.passed();
    // A column that was added can be written from now on, not only after the next batch.
    if (this.#parts.index === 0) await this.#describe(session);
  }

  #streamId() {
    return { writer: this.#parts.writer, stream: this.#parts.settings.rules.stream };
  }

  /**
   * Whatever it holds, a transaction costs both sides some milliseconds of CPU. A loader that keeps
   * up with a flow gathers rows for as long as the last one took: so transactions that could have
   * been one take half of its time at most. After a pause there is no flow: who waits for the end
   * of each row before the next one waits for nothing else.
   */
  async #settleAndRest(batch: Batch): Promise<void> {
    const { clock } = this.#parts;
    const begun = clock.monotonicMs();
    await this.#settle(batch);
    if (!this.#isAllTaken || this.#wasIdle || this.#stop.signal.aborted) return;
    const tookMs = clock.monotonicMs() - begun;
    await clock.sleep(Math.min(tookMs, limits.loaderRestMsMax), this.#stop.signal);
  }

  /** One batch, attempt after attempt, until it is there or the lanes were read again. */
  async #settle(given: Batch): Promise<void> {
    let batch = given;
    let rung: Rung = this.#ladder.next();
    const { clock, events, shared, route } = this.#parts;
    while (!this.#stop.signal.aborted) {
      const begun = clock.monotonicMs();
      try {
        const session = await this.#link.connected();
        const { ends, position } = await route.send(session, batch, rung);
        events.onBatch(batch.count + batch.undecoded.length, (clock.monotonicMs() - begun) / 1000);
        if (rung === 'optimistic') this.#ladder.passed();
        this.#done(ledgerRows(batch, ends), { position, identity: session.identity });
        return;
      } catch (error) {
        if (error instanceof TargetError && (error.kind === 'conflict' || error.kind === 'row')) {
          // Nothing wrong with the server: the next rung sorts the rows out.
          assert.equal(rung, 'optimistic', 'the merge rung isolates rows itself');
          rung = 'merge';
          this.#ladder.failed();
          this.#link.drop();
          continue;
        }
        if ((await this.#failed(error, batch)) === 'reread') return;
        batch = { ...batch, epoch: shared.epoch, table: shared.table };
      }
    }
  }

  #done(rows: readonly LedgerRow[], commit: Commit): void {
    for (const { lane, last } of rows) this.#parts.division.staged[lane] = last;
    this.#suspects = [];
    this.#bound.passed(!this.#isAllTaken);
    this.#link.passed();
    this.#parts.route.sent(rows, commit);
  }

  async #failed(error: unknown, batch: Batch | undefined): Promise<After> {
    if (!(error instanceof TargetError) || error.code === lanesLost) throw error;
    const suspect = this.#link.id;
    this.#link.drop();
    this.#parts.events.onRetry(error.code === '' ? error.kind : error.code);
    switch (error.kind) {
      case 'ambiguous':
      case 'moved':
      case 'altered': {
        const after = await this.#lookAgain(error, batch, suspect);
        // It was not committed: what was in its way may be there again.
        if (after === 'again') await this.#link.failed(error);
        return after;
      }
      case 'fenced':
        throw replaced(error.message, error);
      case 'hold':
        await this.#link.failed(error);
        await this.#probe();
        return this.#divide();
      case 'lost':
        await this.#link.failed(error);
        if (!batch || suspect === '') return 'again';
        this.#suspects.push(suspect);
        if (this.#parts.division.mayShare(this.#parts.index)) await this.#endSuspect(batch);
        return this.#divide(batch);
      case 'transient':
        await this.#link.failed(error);
        if (!batch) return 'again';
        await this.#endSuspect(batch);
        return this.#divide(batch);
      case 'readonly':
      case 'conflict':
      case 'row':
        await this.#link.failed(error);
        return 'again';
    }
  }

  /**
   * What stands in the way may be a session of ours that was lost: behind a broken network its
   * server goes on waiting for its rows, and keeps the lanes locked, for hours (P1). The first one
   * lost is the likeliest. Whatever else becomes of it, the next attempt finds out; where nobody
   * could ask for the lanes' locks, or another one has them, it is a suspect still.
   */
  async #endSuspect(batch: Batch): Promise<void> {
    const suspect = this.#suspects.shift();
    if (suspect === undefined) return;
    try {
      const session = await this.#link.connected();
      await session.resolve(batch, suspect);
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      this.#suspects.push(suspect);
      this.#link.drop();
    }
  }

  /**
   * Of a batch that failed nothing was committed, so its lanes can be read again from where they
   * stand, in other portions. Should a server still have it, its guard keeps it out: it wants all
   * of its lanes to stand where it begins, and the first portion moves one of them (P1). What one
   * row meets must not keep the lanes of others: they get theirs.
   * `tooLarge`: what it met may be its size.
   */
  #divide(tooLarge?: Batch): After {
    const { division, index } = this.#parts;
    const { count = 0, undecoded = [] } = tooLarge ?? {};
    const isDivided = tooLarge !== undefined && this.#bound.failed(count + undecoded.length);
    if (!isDivided && !division.mayShare(index)) return 'again';
    this.#feed.seek(division.staged);
    return 'reread';
  }

  /** After a hold the table may be another one: look at it before the next attempt. */
  async #probe(): Promise<void> {
    try {
      await this.#describe(await this.#link.connected());
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      this.#link.drop();
    }
  }

  /** What the target says that the batch did not know: its fate, its lanes, its table. */
  #lookAgain({ kind }: TargetError, batch: Batch | undefined, suspect: string): Promise<After> {
    if (kind === 'altered') return this.#retrying((session) => this.#describe(session));
    if (kind === 'moved') return this.#retrying((session) => this.#reread(session));
    return batch ? this.#resolve(batch, suspect) : Promise.resolve('reread');
  }

  async #retrying(step: (session: Session) => Promise<After>): Promise<After> {
    return (await this.#link.retrying(step)) ?? 'reread';
  }

  async #describe(session: Session): Promise<After> {
    const { shared, settings, events } = this.#parts;
    const table = await session.describe(settings.table);
    if (table.fingerprint === shared.table.fingerprint) return 'again';
    shared.table = table;
    events.onTable(settings.id, shared.table);
    return 'again';
  }

  /**
   * The fate of a COMMIT that was not answered (P1): once its lanes' locks are had, the batch is in
   * the ledger or never will be. It may have been taken back before it is looked for: a merger
   * does that where an unlogged staging table was emptied.
   */
  async #resolve(batch: Batch, suspect: string): Promise<After> {
    return this.#retrying(async (session) => {
      requireOwner(await session.resolve(batch, suspect), batch.epoch);
      const rows: LedgerRow[] = [];
      for (const { lane, first, last } of batch.slices) {
        const range = { lane, first, last, isStagedToo: true };
        const booked = await session.ledger(this.#streamId(), range);
        if (booked.at(-1)?.last !== last) return this.#reread(session);
        rows.push(...booked);
      }
      this.#done(rows, { position: '', identity: session.identity });
      return 'reread';
    });
  }

  /** Takes the target's word for where the lanes stand; the journal supplies what it has not. */
  async #reread(session: Session): Promise<After> {
    const { shared, route, index, division } = this.#parts;
    const all = await session.lanes(this.#streamId());
    const own = all.filter(({ lane }) => division.serves(index, lane));
    requireOwner(own, shared.epoch);
    if (own.length < division.count(index) || own.some(({ epoch }) => epoch < shared.epoch)) {
      // A history before our claim (failover, restored backup): claim them again.
      throw new TargetError(
        'moved',
        lanesLost,
        'The target does not know that the lanes are ours.',
      );
    }
    const moved = own
      .map((state) => ({ state, from: division.staged[state.lane] ?? 0 }))
      .filter(({ state, from }) => state.staged !== from);
    if (moved.length === 0) return 'again';
    await route.moved(session, moved);
    this.#adopt(own);
    return 'reread';
  }
}
