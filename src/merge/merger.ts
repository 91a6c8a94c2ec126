// One merger of a staged stream: brings what waits in the staging table into the stream's table, of
// every writer, on its own schedule. It keeps nothing between two merges but how they went: what
// comes next is always the target's to say, so mergers may come, go, crash and be many.
import type { Table } from '../accept/columns.ts';
import { woken } from '../clock.ts';
import { limits } from '../limits.ts';
import { type Session, TargetError } from '../target/target.ts';
import { BatchBound } from './batch-bound.ts';
import { Ladder } from './ladder.ts';
import { Link, type LinkParts } from './link.ts';
import { stagedStream, stagingOf } from './staged.ts';

export interface MergerParts extends LinkParts {
  readonly shared: { table: Table };
  /** Something was merged, or sent back. */
  readonly onMerged: () => void;
}

export class Merger {
  readonly #parts: MergerParts;
  readonly #link: Link;
  readonly #ladder = new Ladder();
  readonly #bound = new BatchBound(limits.mergeRowsMax);
  readonly #stop = new AbortController();
  #wake: () => void = () => undefined;
  #isWanted = false;
  #everyMs: number;

  constructor(parts: MergerParts) {
    this.#parts = parts;
    this.#everyMs = parts.settings.mergeEveryMs;
    this.#link = new Link(parts, this.#stop.signal);
  }

  /** Begin the next round now: enough is waiting. */
  wake(): void {
    this.#isWanted = true;
    this.#wake();
  }

  /** The process drains: what waits is merged as it comes. */
  hurry(): void {
    this.#everyMs = limits.retryMsMin;
    this.wake();
  }

  /** Lets the running merge finish, then ends. */
  stop(): void {
    this.#stop.abort();
    this.#wake();
  }

  /** Rounds of merges until stopped; in each, all that waits and that no other merger has. */
  async run(): Promise<void> {
    const { clock } = this.#parts;
    try {
      while (!this.#stop.signal.aborted) {
        const nextMs = clock.monotonicMs() + this.#everyMs;
        this.#isWanted = false;
        await this.#round();
        await this.#sleepUntil(nextMs);
      }
    } finally {
      await this.#link.close();
    }
  }

  async #sleepUntil(dueMs: number): Promise<void> {
    const { clock } = this.#parts;
    const left = dueMs - clock.monotonicMs();
    if (left <= 0 || this.#isWanted || this.#stop.signal.aborted) return;
    const pause = new AbortController();
    this.#wake = () => pause.abort(woken);
    await clock.sleep(left, pause.signal);
    this.#wake = () => undefined;
  }

  async #round(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        if (!(await this.#merge(await this.#link.connected()))) return;
      } catch (error) {
        if (!(error instanceof TargetError)) throw error;
        await this.#failed(error);
      }
    }
  }

  /** One transaction; whether there was anything to merge. */
  async #merge(session: Session): Promise<boolean> {
    const { clock, settings, shared, events } = this.#parts;
    const begun = clock.monotonicMs();
    const turn = {
      stream: stagedStream(settings, shared.table),
      rowsMax: this.#bound.records,
      start: clock.random(),
      share: 1 / settings.mergers,
      isOptimistic: this.#ladder.next() === 'optimistic',
    };
    const merged = await stagingOf(session).merge(turn);
    this.#link.passed();
    if (!merged) return false;
    // It takes whole batches: a merge that is full ends somewhat before its bound.
    this.#bound.passed(merged.records * 2 > this.#bound.records);
    if (merged.optimistic === 'passed') this.#ladder.passed();
    if (merged.optimistic === 'failed') this.#ladder.failed();
    if (merged.lost > 0) events.onRetry('restaged');
    else events.onBatch(merged.records, (clock.monotonicMs() - begun) / 1000);
    this.#parts.onMerged();
    return true;
  }

  /** Nothing to resolve after a lost COMMIT: the next merge begins where `settled` stands. */
  async #failed(error: TargetError): Promise<void> {
    const wasConnected = this.#link.id !== '';
    this.#link.drop();
    // As a loader's batch: where one merge takes too long, the next one takes less.
    if (error.kind === 'transient' || (error.kind === 'lost' && wasConnected)) {
      this.#bound.failed(this.#bound.records);
    }
    this.#parts.events.onRetry(error.code === '' ? error.kind : error.code);
    await this.#link.failed(error);
    if (error.kind !== 'altered' && error.kind !== 'hold') return;
    const { shared, settings, events } = this.#parts;
    const table = await this.#link.retrying((session) => session.describe(settings.table));
    if (!table || table.fingerprint === shared.table.fingerprint) return;
    shared.table = table;
    events.onTable(settings.id, table);
  }
}
