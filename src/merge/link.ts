// A session that is made anew whenever it was lost, and what the stream is told meanwhile. One step
// at a time goes over it.
import type { Clock } from '../clock.ts';
import { HoldfastError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type LaneState, type Session, TargetError } from '../target/target.ts';
import type { LoadingEvents, StreamSettings } from './stream.ts';

export interface LinkParts {
  readonly clock: Clock;
  readonly settings: StreamSettings;
  readonly events: LoadingEvents;
  /** A new session, checked to be of the target's newest history. */
  connect(): Promise<Session>;
}

export class Link {
  readonly #parts: LinkParts;
  readonly #stop: AbortSignal;
  #session: Session | undefined;
  #isHeld = false;
  #failures = 0;
  /** The first failure since a step went through, by the monotonic clock. */
  #failingSinceMs: number | undefined;

  constructor(parts: LinkParts, stop: AbortSignal) {
    this.#parts = parts;
    this.#stop = stop;
  }

  async connected(): Promise<Session> {
    if (this.#session) return this.#session;
    const session = await this.#parts.connect();
    this.#session = session;
    return session;
  }

  /** Whether no step has gone through since one failed. */
  get isFailing(): boolean {
    return this.#failingSinceMs !== undefined;
  }

  /** The session's id, '' where there is none. */
  get id(): string {
    return this.#session?.id ?? '';
  }

  drop(): void {
    this.#session?.destroy();
    this.#session = undefined;
  }

  /** The next step has a session of its own, however long this one takes to close. */
  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }

  /** A step went through. */
  passed(): void {
    this.#failures = 0;
    this.#failingSinceMs = undefined;
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#parts.events.onState(this.#parts.settings.id, { state: 'running' });
  }

  /**
   * Waits after an error, and says so once it lasts: a target that cannot be reached, or that
   * somebody must repair, keeps the rows waiting. So does what passes by itself and never does:
   * nobody would hear of it, and what waits would pin everybody's segments (P18).
   */
  async failed(error: TargetError): Promise<void> {
    const { events, settings, clock } = this.#parts;
    const nowMs = clock.monotonicMs();
    this.#failingSinceMs ??= nowMs;
    const isLasting = nowMs - this.#failingSinceMs >= limits.heldAfterMs;
    const isAway = error.kind === 'lost' || error.kind === 'readonly';
    if (error.kind === 'hold' || isLasting || (isAway && this.#failures > 0)) {
      this.#isHeld = true;
      const code = error.code === '' ? '' : ` (${error.code})`;
      events.onState(settings.id, { state: 'held', reason: `${error.message}${code}` });
    }
    await this.#pause();
  }

  /** Jittered, growing, bounded; ends at once when stopped. */
  async #pause(): Promise<void> {
    const { clock } = this.#parts;
    const bound = Math.min(limits.retryMsMin * 2 ** this.#failures, limits.retryMsMax);
    this.#failures++;
    await clock.sleep(bound / 2 + (bound / 2) * clock.random(), this.#stop);
  }

  /** Runs `step` on a working session, however long that takes; undefined where stopped first. */
  async retrying<T>(step: (session: Session) => Promise<T>): Promise<T | undefined> {
    while (!this.#stop.aborted) {
      try {
        return await step(await this.connected());
      } catch (error) {
        if (!(error instanceof TargetError) || error.code === lanesLost) throw error;
        this.drop();
        this.#parts.events.onRetry(error.code === '' ? error.kind : error.code);
        await this.failed(error);
      }
    }
    return undefined;
  }
}

/** The code of a TargetError of ours: the lanes must be claimed again. */
export const lanesLost = 'lanes';

/** A process that was replaced: only a person knows which of the two is to go on. */
export const replaced = (how: string, cause?: unknown): HoldfastError =>
  new HoldfastError(
    'HF_TARGET',
    `${how} Another process has taken the stream over. Where that one is gone, start this one again.`,
    { cause },
  );

/**
 * Throws where a later claim has raised the epoch (I6): from then on these lanes speak of the
 * records of another process, under the sequences that this one gives to its own.
 */
export function requireOwner(lanes: readonly LaneState[], epoch: number): void {
  const lost = lanes.find((lane) => lane.epoch > epoch);
  if (lost) throw replaced(`Lane ${lost.lane} belongs to epoch ${lost.epoch} now.`);
}
