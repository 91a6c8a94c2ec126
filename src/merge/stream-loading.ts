// A stream on the loaders' side: takes its lanes over in the target, then runs its loaders until
// stopped. It never starts them where the target knows more than the journal (P4).
import type { Table } from '../accept/columns.ts';
import type { Clock } from '../clock.ts';
import { Confirming } from '../confirm.ts';
import type { Disk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import type { Position } from '../journal/block.ts';
import { isShortage } from '../journal/disk-failure.ts';
import { limits } from '../limits.ts';
import {
  type Claim,
  type LaneState,
  type Session,
  type StreamId,
  TargetError,
} from '../target/target.ts';
import { findStrangeLane } from './age.ts';
import { DirectRoute } from './direct.ts';
import { Division } from './division.ts';
import { findGaps } from './gaps.ts';
import type { JournaledStream } from './journaled.ts';
import { replaced, requireOwner } from './link.ts';
import { Loader } from './loader.ts';
import type { LostRange } from './lost.ts';
import { Merger } from './merger.ts';
import { giveUp, mergeStaged } from './pass-over.ts';
import { StagedRoute, stagedStream, stagingOf } from './staged.ts';
import type { LoadingEvents, StreamSettings } from './stream.ts';
import { Watch, type WatchParts } from './watch.ts';

/** What the loaders and mergers of a stream know together. */
interface Shared {
  epoch: number;
  table: Table;
}

export interface StreamLoadingParts {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly directory: string;
  readonly writer: string;
  readonly owner: string;
  readonly settings: StreamSettings;
  readonly events: LoadingEvents;
  connect(): Promise<Session>;
}

export class StreamLoading {
  readonly #parts: StreamLoadingParts;
  readonly #stop = new AbortController();
  #loaders: Loader[] = [];
  #mergers: Merger[] = [];
  #watch: Watch | undefined;
  /** Records staged since the mergers were last woken. */
  #waiting = 0;
  #end: Position = { segment: 0, offset: 0 };
  #failures = 0;
  /** Of the last claim that was answered. */
  #epoch: number | undefined;
  #isAgeChecked = false;
  #isHurried = false;
  /** While the stream is held for good: takes its lanes over once more. */
  #resume: (() => void) | undefined;

  constructor(parts: StreamLoadingParts) {
    this.#parts = parts;
  }

  extend(end: Position): void {
    this.#end = end;
    for (const loader of this.#loaders) loader.extend(end);
  }

  stop(): void {
    this.#stop.abort();
    for (const runner of this.#runners()) runner.stop();
    this.#resume?.();
  }

  hurry(): void {
    this.#isHurried = true;
    for (const merger of this.#mergers) merger.hurry();
  }

  #runners() {
    return [...this.#loaders, ...this.#mergers, ...(this.#watch ? [this.#watch] : [])];
  }

  /** Runs until stopped. Never rejects for what the target or its administrator can repair. */
  async run(): Promise<void> {
    const { events, settings } = this.#parts;
    while (!this.#stop.signal.aborted) {
      try {
        await this.#takeOver();
      } catch (error) {
        if (error instanceof HoldfastError) {
          // Fenced, or the journal and the target disagree: only a person can decide.
          if (error.code === 'HF_CORRUPT') await this.#tellLanes();
          events.onState(settings.id, { state: 'held', reason: error.message, isFinal: true });
          await this.#order(error);
          continue;
        }
        const obstacle = obstacleOf(error);
        events.onRetry(obstacle.code);
        const state = obstacle.isHold || this.#failures > 0 ? 'held' : 'connecting';
        events.onState(settings.id, { state, reason: obstacle.reason });
        await this.#pause();
      }
    }
  }

  get #isWaiting(): boolean {
    return this.#resume !== undefined;
  }

  /** Held until an operator has given an order, or the stream is stopped. */
  async #order({ code }: HoldfastError): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const over = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resume = () => {
      over.abort();
      resolve();
    };
    while (code === 'HF_CORRUPT' && !over.signal.aborted) {
      await this.#parts.clock.sleep(limits.idleCheckMs, over.signal);
      // None of it while an order is carried out.
      if (this.#isWaiting) await this.#tellLanes();
    }
    await promise;
    this.#resume = undefined;
  }

  /**
   * Nobody else looks at the lanes of a stream that is held, and its loaders may have told of some
   * only: what a failover took back the journal must keep, and copy aside, from there on (P3).
   */
  async #tellLanes(): Promise<void> {
    const { events, settings } = this.#parts;
    // Of lanes that were never seen to be this journal's nothing is told (P4).
    if (this.#epoch === undefined || !this.#isAgeChecked) return;
    let session: Session | undefined;
    try {
      session = await this.#parts.connect();
      const lanes = await session.lanes(this.#streamId);
      requireOwner(lanes, this.#epoch);
      events.onLanes(settings.id, lanes);
      await session.close();
    } catch (error) {
      session?.destroy();
      // The target does not say, or they are another one's: looked at again later.
      if (!(error instanceof TargetError || error instanceof HoldfastError)) throw error;
    }
  }

  /**
   * See LoadingCalls.passOver. What is passed over is told by the lanes as a claim of ours has
   * found them; whatever comes of it, the stream takes its lanes over anew, and runs or is held.
   */
  async passOver(
    session: Session,
    agreed: readonly LostRange[] | undefined,
  ): Promise<readonly LostRange[]> {
    if (!agreed) {
      const seen = findGaps(await session.lanes(this.#streamId), this.#journaled);
      if (seen.length === 0) throw nothingLost(this.#streamId.stream);
      return seen;
    }
    const resume = await this.#held();
    try {
      const { shared } = await this.#claim(await this.#parts.connect());
      const { clock, settings } = this.#parts;
      const { signal } = this.#stop;
      const staged = { stream: this.#streamId, settings, shared, clock, signal };
      const lanes = await mergeStaged(session, staged);
      const ranges = findGaps(lanes, this.#journaled);
      if (JSON.stringify(ranges) !== JSON.stringify(agreed)) throw otherLost();
      await giveUp(session, { ...this.#streamId, epoch: shared.epoch, ranges }, async () => {
        return (await this.#claim(await this.#parts.connect())).lanes;
      });
      // Before the order is answered: who writes then is not refused any more.
      this.#parts.events.onState(settings.id, { state: 'connecting' });
      return ranges;
    } finally {
      resume();
    }
  }

  /** Waits until the stream is held: its loaders come to a gap when they get there. */
  async #held(): Promise<() => void> {
    const { clock } = this.#parts;
    const untilMs = clock.monotonicMs() + heldMsMax;
    while (clock.monotonicMs() < untilMs && !this.#stop.signal.aborted) {
      const resume = this.#resume;
      // One order at a time.
      this.#resume = undefined;
      if (resume) return resume;
      await clock.sleep(limits.retryMsMin, this.#stop.signal);
    }
    const message = 'The stream does not wait for such an order now; its status says why.';
    throw new HoldfastError('HF_TARGET', message, { retryAfterSeconds: 1 });
  }

  async #pause(): Promise<void> {
    const { clock } = this.#parts;
    const bound = Math.min(limits.retryMsMin * 2 ** this.#failures, limits.retryMsMax);
    this.#failures++;
    await clock.sleep(bound / 2 + (bound / 2) * clock.random(), this.#stop.signal);
  }

  async #takeOver(): Promise<void> {
    const { settings, events, clock } = this.#parts;
    const { shared, lanes } = await this.#claim(await this.#parts.connect());
    events.onLanes(settings.id, lanes);
    // What an earlier process settled is confirmed by this one's own looking.
    const settled = lanes.map(({ lane, settled: last }) => ({ lane, last }));
    const confirming = new Confirming(settings.confirm, clock);
    const confirmed = confirming.add(settled, { position: '', identity: '' });
    if (confirmed.length > 0) events.onConfirmed(settings.id, confirmed);
    events.onState(settings.id, { state: 'running' });
    this.#make(shared, { confirming, confirmed });
    if (this.#stop.signal.aborted) return;
    const begunMs = clock.monotonicMs();
    try {
      await this.#runAll(lanes);
    } finally {
      // Lanes that are lost again at once are taken over less and less often.
      if (clock.monotonicMs() - begunMs > limits.retryMsMax) this.#failures = 0;
    }
  }

  #make(
    shared: Shared,
    { confirming, confirmed }: Pick<WatchParts, 'confirming' | 'confirmed'>,
  ): void {
    const { settings, events } = this.#parts;
    const stream = this.#streamId;
    const isStaged = settings.route === 'staged';
    const route = isStaged
      ? new StagedRoute(settings, events, (records) => this.#staged(records))
      : new DirectRoute({ stream, settings, events, confirming });
    const division = new Division(this.#parts);
    this.#loaders = Array.from({ length: settings.loaders }, (_, index) => {
      const loader = new Loader({ ...this.#parts, route, shared, index, division });
      loader.extend(this.#end);
      return loader;
    });
    if (!isStaged) return;
    this.#watch = new Watch({ ...this.#parts, stream, confirming, confirmed, shared });
    const onMerged = (): void => this.#watch?.wake();
    this.#mergers = Array.from(
      { length: settings.mergers },
      () => new Merger({ ...this.#parts, shared, onMerged }),
    );
    // The process may drain before its lanes are its own.
    if (this.#isHurried) this.hurry();
  }

  /** Enough for a merge before its time wakes the mergers. */
  #staged(records: number): void {
    this.#waiting += records;
    if (this.#waiting < this.#parts.settings.mergeRows) return;
    this.#waiting = 0;
    for (const merger of this.#mergers) merger.wake();
  }

  /** All end together: where one cannot go on, the lanes are taken over anew. */
  async #runAll(lanes: readonly LaneState[]): Promise<void> {
    const running = this.#runners().map(async (runner) => {
      try {
        await runner.run(lanes);
      } finally {
        for (const other of this.#runners()) other.stop();
      }
    });
    const ends = await Promise.allSettled(running);
    this.#loaders = [];
    this.#mergers = [];
    this.#watch = undefined;
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed) throw failed.reason;
  }

  get #streamId(): StreamId {
    return { writer: this.#parts.writer, stream: this.#parts.settings.rules.stream };
  }

  get #journaled(): JournaledStream & { readonly lanes: number } {
    const { disk, directory, settings } = this.#parts;
    return { disk, directory, id: settings.id, lanes: settings.lanes };
  }

  /** Ends the session. */
  async #claim(session: Session) {
    const { settings, events, owner } = this.#parts;
    const { lanes: count, route } = settings;
    // The lanes are ours until somebody claims them: never from a successor's hand. Of a first
    // claim that was not answered nobody knows since when; there the age check decides (P4).
    const claim: Claim = { ...this.#streamId, lanes: count, owner, route, after: this.#epoch };
    try {
      const table = await session.describe(settings.table);
      events.onTable(settings.id, table);
      if (settings.route === 'staged') {
        await stagingOf(session).open(stagedStream(settings, table));
      }
      const { epoch, lanes } = await session.claim(claim);
      this.#epoch = epoch;
      const parts = { ...this.#journaled, stream: claim };
      const strange = await findStrangeLane(session, lanes, parts);
      if (strange !== undefined) throw olderJournal(`lane ${strange} has other records`);
      // Later the journal has grown; what it knew at open says nothing any more.
      if (!this.#isAgeChecked) this.#checkAge(lanes);
      this.#isAgeChecked = true;
      await session.close();
      return { shared: { epoch, table }, lanes };
    } catch (error) {
      session.destroy();
      const isReplaced = error instanceof TargetError && error.kind === 'fenced';
      throw isReplaced ? replaced(error.message, error) : error;
    }
  }

  /** P4: a target that is ahead of the journal means that the journal is an older copy. */
  #checkAge(lanes: readonly LaneState[]): void {
    const { settings } = this.#parts;
    const ahead = lanes.find(({ lane, staged }) => staged > (settings.last[lane] ?? 0));
    if (!ahead) return;
    const { lane, staged } = ahead;
    const end = settings.last[lane] ?? 0;
    throw olderJournal(`lane ${lane} reaches ${staged} there and ends at ${end} here`);
  }
}

/** The loaders of an idle stream look at the target so often. */
const heldMsMax = 2 * limits.idleCheckMs;

const otherLost = (): TargetError =>
  new TargetError('transient', '', 'Other records are lost than a moment ago: look once more.');

const nothingLost = (stream: string): HoldfastError =>
  new HoldfastError(
    'HF_USAGE',
    `Nothing to pass over: the journal has all records of stream "${stream}" that its target lacks.`,
  );

const olderJournal = (how: string): HoldfastError =>
  new HoldfastError(
    'HF_TARGET',
    `The journal is older than its target: ${how}. Restore the newer journal, or begin with ` +
      'a new journal directory.',
  );

/** What passes, or can be repaired outside of the process; throws what cannot. */
function obstacleOf(error: unknown) {
  if (error instanceof TargetError) {
    const { code, kind, message } = error;
    const reason = code === '' ? message : `${message} (${code})`;
    return { code: code === '' ? kind : code, isHold: kind === 'hold', reason };
  }
  // No descriptor for the next segment, say: what is journaled stays readable.
  if (!isShortage(error)) throw error;
  const { code, message } = error;
  return { code, isHold: false, reason: `The journal cannot be read now: ${message}` };
}
