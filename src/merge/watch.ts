// What became of a staged stream's own records, whoever merged them: reads how far each lane is
// settled, tells how its records ended, and what has been confirmed. Beside that it keeps the days
// of the staging table: those to come are made, those that are done with go.
import type { Table } from '../accept/columns.ts';
import { woken } from '../clock.ts';
import type { ConfirmedLanes, Confirming } from '../confirm.ts';
import { limits } from '../limits.ts';
import { type LaneState, type Session, type StreamId, TargetError } from '../target/target.ts';
import { Link, type LinkParts, requireOwner } from './link.ts';
import { stagedStream, stagingOf } from './staged.ts';
import { bare } from './stream.ts';

export interface WatchParts extends LinkParts {
  readonly stream: StreamId;
  readonly confirming: Confirming;
  /** What was confirmed at the takeover already. */
  readonly confirmed: ConfirmedLanes;
  readonly shared: { epoch: number; table: Table };
}

export class Watch {
  readonly #parts: WatchParts;
  readonly #link: Link;
  readonly #stop = new AbortController();
  readonly #settled: number[] = [];
  readonly #confirmed: number[] = [];
  #wake: () => void = () => undefined;
  #isWanted = false;
  #upkeepAtMs = 0;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.#link = new Link(parts, this.#stop.signal);
    this.#remember(parts.confirmed);
  }

  /** Look now: something was merged. */
  wake(): void {
    this.#isWanted = true;
    this.#wake();
  }

  stop(): void {
    this.#stop.abort();
    this.#wake();
  }

  async run(lanes: readonly LaneState[]): Promise<void> {
    for (const { lane, settled } of lanes) this.#settled[lane] = settled;
    try {
      while (!this.#stop.signal.aborted) {
        this.#isWanted = false;
        try {
          await this.#look(await this.#link.connected());
          this.#link.passed();
          await this.#sleep();
        } catch (error) {
          if (!(error instanceof TargetError)) throw error;
          this.#link.drop();
          this.#parts.events.onRetry(error.code === '' ? error.kind : error.code);
          await this.#link.failed(error);
        }
      }
      // A process that was short-lived leaves its days to be archived, too.
      if (this.#link.id !== '') await this.#tellConfirmed(await this.#link.connected());
    } finally {
      await this.#link.close();
    }
  }

  async #sleep(): Promise<void> {
    if (this.#isWanted || this.#stop.signal.aborted) return;
    const { clock, settings, confirming } = this.#parts;
    const pause = new AbortController();
    this.#wake = () => pause.abort(woken);
    const idleMs = Math.min(settings.mergeEveryMs, limits.idleCheckMs);
    const confirmMs = limits.confirmPollMs;
    await clock.sleep(confirming.isIdle ? idleMs : Math.min(idleMs, confirmMs), pause.signal);
    this.#wake = () => undefined;
  }

  async #look(session: Session): Promise<void> {
    await this.#settle(session);
    const { confirming, stream } = this.#parts;
    this.#confirm(await confirming.poll(session, stream));
    const now = this.#parts.clock.monotonicMs();
    if (now < this.#upkeepAtMs) return;
    await this.#keepDays(session);
    this.#upkeepAtMs = now + limits.stagingUpkeepMs;
  }

  async #settle(session: Session): Promise<void> {
    const { events, settings, stream, confirming, shared } = this.#parts;
    const lanes = await session.lanes(stream);
    requireOwner(lanes, shared.epoch);
    const back = lanes.filter(({ lane, settled }) => settled < (this.#settled[lane] ?? 0));
    // A history that lacks our last merges: what waits there is merged again (P3).
    if (back.length > 0) this.#adopt(back);
    const isAhead = lanes.some(({ lane, settled }) => settled > (this.#settled[lane] ?? 0));
    if (!isAhead) return;
    const after = Array.from(lanes, ({ lane }) => this.#settled[lane] ?? 0);
    const rows = await stagingOf(session).mergedAfter(stream, after);
    const staged = new Map(lanes.map((state) => [state.lane, state.staged]));
    // The ledger was read later than the lanes and may know more, a successor's rows even; it has
    // no gaps.
    const next = rows.filter(({ lane, first, last }) => {
      if (first !== (this.#settled[lane] ?? 0) + 1 || last > (staged.get(lane) ?? 0)) return false;
      this.#settled[lane] = last;
      return true;
    });
    events.onSettled(settings.id, next.map(bare));
    const ends = next.map(({ lane, last }) => ({ lane, last }));
    // Such a history may have come past us already, its batches cut elsewhere.
    const strange = lanes.filter(({ lane, settled }) => settled > (this.#settled[lane] ?? 0));
    if (strange.length > 0) this.#adopt(strange);
    const all = [...ends, ...strange.map(({ lane, settled }) => ({ lane, last: settled }))];
    this.#confirm(confirming.add(all, { position: '', identity: session.identity }));
  }

  /** Takes the target's word for where these lanes stand; the ledger knows how records ended. */
  #adopt(lanes: readonly LaneState[]): void {
    const { confirming, events, settings } = this.#parts;
    confirming.rewind(lanes.map(({ lane, settled }) => ({ lane, last: settled })));
    for (const { lane, settled } of lanes) {
      this.#settled[lane] = settled;
      this.#confirmed[lane] = Math.min(this.#confirmed[lane] ?? 0, settled);
    }
    events.onLanes(settings.id, lanes);
  }

  #confirm(lanes: ConfirmedLanes): void {
    if (lanes.length === 0) return;
    this.#remember(lanes);
    this.#parts.events.onConfirmed(this.#parts.settings.id, lanes);
  }

  #remember(confirmed: ConfirmedLanes): void {
    for (const { lane, last } of confirmed) {
      this.#confirmed[lane] = Math.max(this.#confirmed[lane] ?? 0, last);
    }
  }

  async #tellConfirmed(session: Session): Promise<void> {
    const confirmed = this.#confirmed.flatMap((last, lane) => ({ lane, last }));
    await stagingOf(session).confirm(this.#parts.stream, confirmed);
  }

  async #keepDays(session: Session): Promise<void> {
    const { settings, shared, stream, clock } = this.#parts;
    const staging = stagingOf(session);
    await staging.createAhead(stagedStream(settings, shared.table));
    await this.#tellConfirmed(session);
    // A day whose last moment is longer ago than the retention.
    const before = new Date(clock.wallMs() - settings.stagingRetentionMs)
      .toISOString()
      .slice(0, 10);
    for (const { name, day } of await staging.days(stream.stream)) {
      if (day < before) await staging.dropPartition(stream.stream, name);
    }
  }
}
