// Everything is bounded (I8): a write that would pass a bound waits, or is refused as not written.
import type { Clock } from './clock.ts';
import { HoldfastError } from './errors.ts';
import type { Journal } from './journal/journal.ts';
import type { OpenStream } from './stream.ts';

export interface Bounds {
  readonly memoryBytesMax: number;
  /** Bytes of the journal that one stream may pin. */
  readonly streamBytesMax: number;
}

const recheckMs = 250;
const waitMs = 10;

export class Admission {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #bounds: Bounds;
  readonly #pinned = new Map<number, { atMs: number; bytes: number }>();

  constructor(journal: Journal, clock: Clock, bounds: Bounds) {
    this.#journal = journal;
    this.#clock = clock;
    this.#bounds = bounds;
  }

  /** Why `bytes` more of the stream cannot be taken now; undefined where they can. */
  refusal(stream: OpenStream, bytes: number): HoldfastError | undefined {
    const { memoryBytesMax, streamBytesMax } = this.#bounds;
    const { pendingBytes } = this.#journal;
    if (pendingBytes > 0 && pendingBytes + bytes > memoryBytesMax) {
      const message = `${pendingBytes} bytes wait for the journal; ${memoryBytesMax} may.`;
      return new HoldfastError('HF_OVERLOADED', message, { retryAfterSeconds: 1 });
    }
    const pinned = this.#pinnedBytes(stream.id);
    if (pinned + bytes <= streamBytesMax) return undefined;
    const why = stream.state.reason === undefined ? '' : ` (${stream.state.reason})`;
    const message = `Stream "${stream.name}" keeps ${pinned} bytes in the journal${why}.`;
    return new HoldfastError('HF_JOURNAL_FULL', message, { retryAfterSeconds: 5 });
  }

  /**
   * Runs `attempt` when there is room; where it finds none, waits and tries again until aborted.
   */
  async waiting<T>(
    stream: OpenStream,
    bytes: number,
    attempt: { readonly signal?: AbortSignal | undefined; run(): Promise<T> },
  ): Promise<T> {
    for (;;) {
      // Closed or failed: the journal itself says so.
      if (this.#journal.state !== 'running') return attempt.run();
      if (attempt.signal?.aborted) {
        const message = 'The caller gave up waiting for room.';
        throw new HoldfastError('HF_ABORTED', message, { outcome: 'not written' });
      }
      if (!this.refusal(stream, bytes)) {
        try {
          return await attempt.run();
        } catch (error) {
          if (!(error instanceof HoldfastError) || error.code !== 'HF_JOURNAL_FULL') throw error;
          await this.#journal.relieve();
        }
      }
      await this.#clock.sleep(waitMs, attempt.signal);
    }
  }

  #pinnedBytes(stream: number): number {
    const known = this.#pinned.get(stream);
    const now = this.#clock.monotonicMs();
    if (known && now - known.atMs < recheckMs) return known.bytes;
    const bytes = this.#journal.retention.unconfirmedBytes(stream);
    this.#pinned.set(stream, { atMs: now, bytes });
    return bytes;
  }
}
