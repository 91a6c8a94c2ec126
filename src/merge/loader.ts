// One loader: one session that brings the records of its lanes into the table, batch after batch,
// one transaction in flight. Its loop never gives a record up: a batch is left only when the
// target says that it is settled, or when the lanes have to be read again.
import assert from 'node:assert/strict';
import type { Table } from '../accept/columns.ts';
import type { Clock } from '../clock.ts';
import type { Confirming } from '../confirm.ts';
import type { Disk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import type { Position } from '../journal/block.ts';
import { limits } from '../limits.ts';
import { type LaneState, type Rung, type Session, TargetError } from '../target/target.ts';
import { Assembly } from './assemble.ts';
import { type Batch, rowEnd } from './batch.ts';
import { Feed } from './feed.ts';
import { Ladder } from './ladder.ts';
import { decodeEnds, type LedgerRow, ledgerRows } from './ledger.ts';
import type { LoadingEvents, Settled, StreamSettings } from './stream.ts';

export interface LoaderParts {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly directory: string;
  readonly writer: string;
  readonly settings: StreamSettings;
  readonly events: LoadingEvents;
  readonly confirming: Confirming;
  /** A new session, checked to be of the target's newest history. */
  connect(): Promise<Session>;
  /** The stream's epoch and table, shared by its loaders. */
  readonly shared: { epoch: number; table: Table };
  /** Which of the stream's loaders this is. */
  readonly index: number;
}

const confirmPollMs = 200;

/** What to do after an attempt failed. */
type After = 'again' | 'reread';

export class Loader {
  readonly #parts: LoaderParts;
  readonly #feed: Feed;
  readonly #settled: Float64Array;
  readonly #ladder = new Ladder();
  readonly #stop = new AbortController();
  #session: Session | undefined;
  #wake: () => void = () => undefined;
  #isHeld = false;
  #failures = 0;
  #pollAtMs = 0;
  /** A batch is about as large as the one before. */
  #bytesHint = 64 * 1024;

  constructor(parts: LoaderParts) {
    const { disk, directory, settings, index } = parts;
    this.#parts = parts;
    this.#settled = new Float64Array(settings.lanes);
    const serves = (lane: number) => lane % settings.loaders === index;
    this.#feed = new Feed({ disk, directory, stream: settings.id, serves }, settings.lanes);
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
   * Begins after what is settled; runs until stopped, fenced, or the journal turns out to be
   * damaged.
   */
  async run(lanes: readonly LaneState[]): Promise<void> {
    this.#adopt(lanes);
    try {
      while (!this.#stop.signal.aborted) {
        await this.#pollConfirming();
        const batch = this.#take();
        if (batch) await this.#settle(batch);
        else await this.#idle();
      }
    } finally {
      this.#feed.close();
      await this.#session?.close();
    }
  }

  /** Under steady load there is no idle moment: asks by time. */
  async #pollConfirming(): Promise<void> {
    const { clock, confirming } = this.#parts;
    if (confirming.isIdle || clock.monotonicMs() < this.#pollAtMs) return;
    this.#pollAtMs = clock.monotonicMs() + confirmPollMs;
    try {
      await this.#confirm(await this.#connected());
    } catch (error) {
      await this.#failed(error, undefined);
    }
  }

  #adopt(lanes: readonly LaneState[]): void {
    for (const { lane, settled } of lanes) this.#settled[lane] = settled;
    this.#feed.seek(this.#settled);
  }

  #take(): Batch | undefined {
    const { settings, writer, shared, clock } = this.#parts;
    const { batchRowsMax: rowsMax, batchBytesMax: bytesMax, rules } = settings;
    const assembly = new Assembly(this.#feed.dictionary, { rowsMax, bytesMax }, this.#bytesHint);
    this.#feed.read((block) => assembly.add(block));
    if (assembly.records === 0) return undefined;
    const { epoch, table } = shared;
    const batch = assembly.finish({ writer, epoch, rules, table, wallMs: clock.wallMs() });
    this.#bytesHint = Math.ceil(batch.bytes.length * 1.125);
    return batch;
  }

  async #idle(): Promise<void> {
    const { clock, confirming } = this.#parts;
    const pause = new AbortController();
    const signal = AbortSignal.any([pause.signal, this.#stop.signal]);
    this.#wake = () => pause.abort();
    await clock.sleep(confirming.isIdle ? limits.idleCheckMs : limits.retryMsMin, signal);
    this.#wake = () => undefined;
    if (signal.aborted) return;
    try {
      await this.#check();
    } catch (error) {
      await this.#failed(error, undefined);
    }
  }

  /** An idle stream looks whether the target went back, and what has been confirmed (DESIGN §6). */
  async #check(): Promise<void> {
    const session = await this.#connected();
    await this.#confirm(session);
    await this.#reread(session);
    // A column that was added can be written from now on, not only after the next batch.
    if (this.#parts.index === 0) await this.#describe(session);
  }

  async #confirm(session: Session): Promise<void> {
    const { confirming, settings, events } = this.#parts;
    const lanes = await confirming.poll(session, this.#streamId());
    if (lanes.length > 0) events.onConfirmed(settings.id, lanes);
  }

  #streamId() {
    return { writer: this.#parts.writer, stream: this.#parts.settings.rules.stream };
  }

  async #connected(): Promise<Session> {
    if (this.#session) return this.#session;
    const session = await this.#parts.connect();
    this.#session = session;
    return session;
  }

  #drop(): void {
    this.#session?.destroy();
    this.#session = undefined;
  }

  /** One batch, attempt after attempt, until it is settled or the lanes were read again. */
  async #settle(given: Batch): Promise<void> {
    let batch = given;
    let rung: Rung = this.#ladder.next();
    const { clock, events, shared } = this.#parts;
    while (!this.#stop.signal.aborted) {
      const begun = clock.monotonicMs();
      try {
        const session = await this.#connected();
        const { ends, position } = await session.merge(batch, rung);
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
          this.#drop();
          continue;
        }
        if ((await this.#failed(error, batch)) === 'reread') return;
        batch = { ...batch, epoch: shared.epoch, table: shared.table };
      }
    }
  }

  #done(rows: readonly LedgerRow[], commit: { position: string; identity: string }): void {
    const { settings, events, confirming } = this.#parts;
    for (const { lane, last } of rows) this.#settled[lane] = last;
    this.#running();
    events.onSettled(settings.id, rows.map(bare));
    const confirmed = confirming.add(
      rows.map(({ lane, last }) => ({ lane, last })),
      commit,
    );
    if (confirmed.length > 0) events.onConfirmed(settings.id, confirmed);
  }

  #running(): void {
    this.#failures = 0;
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#parts.events.onState(this.#parts.settings.id, { state: 'running' });
  }

  async #failed(error: unknown, batch: Batch | undefined): Promise<After> {
    if (!(error instanceof TargetError) || error.code === 'lanes') throw error;
    const { events, settings } = this.#parts;
    const suspect = this.#session?.id ?? '';
    this.#drop();
    events.onRetry(error.code === '' ? error.kind : error.code);
    switch (error.kind) {
      case 'ambiguous':
        return batch ? this.#resolve(batch, suspect) : 'reread';
      case 'moved':
        return this.#retrying(async (session) => this.#reread(session));
      case 'altered':
        return this.#retrying(async (session) => this.#describe(session));
      case 'fenced':
        throw new HoldfastError('HF_TARGET', error.message, { cause: error });
      case 'hold':
      case 'lost':
      case 'readonly':
        // A target that cannot be reached keeps the rows; say so once it lasts.
        if (error.kind === 'hold' || this.#failures > 0) {
          this.#isHeld = true;
          const code = error.code === '' ? '' : ` (${error.code})`;
          events.onState(settings.id, { state: 'held', reason: `${error.message}${code}` });
        }
        await this.#pause();
        return this.#isHeld && error.kind === 'hold' ? this.#probe() : 'again';
      case 'transient':
      case 'conflict':
      case 'row':
        await this.#pause();
        return 'again';
    }
  }

  /** After a hold the table may be another one: look at it before the next attempt. */
  async #probe(): Promise<After> {
    try {
      await this.#describe(await this.#connected());
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      this.#drop();
    }
    return 'again';
  }

  /** Jittered, growing, bounded; ends at once when stopped. */
  async #pause(): Promise<void> {
    const { clock } = this.#parts;
    const bound = Math.min(limits.retryMsMin * 2 ** this.#failures, limits.retryMsMax);
    this.#failures++;
    await clock.sleep(bound / 2 + (bound / 2) * clock.random(), this.#stop.signal);
  }

  /** Runs `step` on a working session, however long that takes; 'reread' where it says so. */
  async #retrying(step: (session: Session) => Promise<After>): Promise<After> {
    while (!this.#stop.signal.aborted) {
      try {
        return await step(await this.#connected());
      } catch (error) {
        if (!(error instanceof TargetError) || error.code === 'lanes') throw error;
        this.#drop();
        this.#parts.events.onRetry(error.code === '' ? error.kind : error.code);
        await this.#pause();
      }
    }
    return 'reread';
  }

  async #describe(session: Session): Promise<After> {
    const { shared, settings, events } = this.#parts;
    const table = await session.describe(settings.table);
    if (table.fingerprint === shared.table.fingerprint) return 'again';
    shared.table = table;
    events.onTable(settings.id, shared.table);
    return 'again';
  }

  /** The fate of a COMMIT that was not answered, under the lane rows' locks (P1). */
  async #resolve(batch: Batch, suspect: string): Promise<After> {
    return this.#retrying(async (session) => {
      const states = await session.resolve(batch, suspect);
      const settled = new Map(states.map((state) => [state.lane, state.settled]));
      const isSettled = batch.slices.every(({ lane, last }) => settled.get(lane) === last);
      if (!isSettled) {
        const isOpen = batch.slices.every(({ lane, first }) => settled.get(lane) === first - 1);
        return isOpen ? 'again' : this.#reread(session);
      }
      const rows: LedgerRow[] = [];
      for (const { lane, first, last } of batch.slices) {
        rows.push(...(await session.ledger(this.#streamId(), { lane, first, last })));
      }
      this.#done(rows, { position: '', identity: session.identity });
      return 'reread';
    });
  }

  /** Takes the target's word for where the lanes stand; the journal supplies what it has not. */
  async #reread(session: Session): Promise<After> {
    const { events, settings, confirming, shared } = this.#parts;
    const all = await session.lanes(this.#streamId());
    this.#running();
    const own = all.filter(({ lane }) => lane % settings.loaders === this.#parts.index);
    const wanted = Math.ceil((settings.lanes - this.#parts.index) / settings.loaders);
    if (own.length < wanted || own.some(({ epoch }) => epoch < shared.epoch)) {
      // A history before our claim (failover, restored backup): claim them again.
      throw new TargetError('moved', 'lanes', 'The target does not know that the lanes are ours.');
    }
    const moved = own.filter(({ lane, settled }) => settled !== this.#settled[lane]);
    if (moved.length === 0) return 'again';
    if (moved.some(({ lane, settled }) => settled < (this.#settled[lane] ?? 0))) {
      confirming.forget();
    }
    for (const { lane, settled } of moved) {
      const first = (this.#settled[lane] ?? 0) + 1;
      if (settled < first) continue;
      const rows = await session.ledger(this.#streamId(), { lane, first, last: settled });
      events.onSettled(settings.id, rows.map(bare));
    }
    events.onLanes(settings.id, moved);
    const ahead = moved.map(({ lane, settled }) => ({ lane, last: settled }));
    const confirmed = confirming.add(ahead, { position: '', identity: session.identity });
    if (confirmed.length > 0) events.onConfirmed(settings.id, confirmed);
    this.#adopt(own);
    return 'reread';
  }
}

const bare = ({ lane, first, last, rowCount, ends }: LedgerRow): Settled => {
  const own = { lane, first, last, rowCount, ends };
  assert(!ends || decodeEnds(own).some((end) => end !== rowEnd.merged), 'ends say something');
  return own;
};
