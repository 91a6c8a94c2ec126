// How a stream's lanes are divided among its loaders. A loader that keeps up has them all: what
// could be one transaction is one. Where it finds more than a batch, each loader has its share,
// until none has found so much for a while. Lanes change hands only between batches: whoever gets
// one begins behind all that is there, and the target's guard would refuse anything else.
//
// States. whole: the first loader has all lanes, the others wait. shared: each has its own.
// gathering: the others wait, each from its next pause between batches on; then it is whole again.
import type { Clock } from '../clock.ts';
import type { Disk } from '../disk.ts';
import { limits } from '../limits.ts';
import { Feed } from './feed.ts';
import type { StreamSettings } from './stream.ts';

export interface DivisionParts {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly directory: string;
  readonly settings: StreamSettings;
}

type State = 'whole' | 'shared' | 'gathering';

export class Division {
  /** Per lane, what the target has. */
  readonly staged: Float64Array;
  readonly #clock: Clock;
  readonly #loaders: number;
  readonly #feeds: readonly Feed[];
  readonly #waiting = new Set<number>();
  #state: State = 'whole';
  /** When a loader last found more than a batch. */
  #fullAtMs = 0;
  #changed = Promise.withResolvers<void>();

  constructor({ clock, disk, directory, settings }: DivisionParts) {
    this.#clock = clock;
    this.#loaders = settings.loaders;
    this.staged = new Float64Array(settings.lanes);
    this.#feeds = Array.from({ length: settings.loaders }, (_, index) => {
      const serves = (lane: number) => this.serves(index, lane);
      return new Feed({ disk, directory, stream: settings.id, serves }, settings.lanes);
    });
  }

  /** What the journal has for a loader. */
  feed(index: number): Feed {
    const feed = this.#feeds[index];
    if (!feed) throw new RangeError(`there is no loader ${index}`);
    return feed;
  }

  /** Whether the lane is the loader's. It stays so until that loader asks whether it may go on. */
  serves(index: number, lane: number): boolean {
    return this.#state === 'whole' ? index === 0 : lane % this.#loaders === index;
  }

  /** How many lanes are the loader's. */
  count(index: number): number {
    return this.staged.reduce((sum, _, lane) => sum + (this.serves(index, lane) ? 1 : 0), 0);
  }

  /**
   * To be asked by a loader between batches, which says whether its last one left something: may it
   * go on, or does it have to wait?
   */
  mayGoOn(index: number, hasMore: boolean): boolean {
    if (hasMore) this.#share(index);
    if (index > 0) return this.#state === 'shared';
    const isCalm = this.#clock.monotonicMs() - this.#fullAtMs >= limits.loadersCalmMs;
    if (this.#state === 'shared' && isCalm) this.#state = 'gathering';
    if (this.#state === 'gathering' && this.#waiting.size === this.#loaders - 1) this.#gather();
    return true;
  }

  /** Resolves when that may be asked again. */
  async wait(index: number, signal: AbortSignal): Promise<void> {
    // It may have been given its share since it asked.
    if (this.#state === 'shared' || signal.aborted) return;
    const { promise: stopped, resolve } = Promise.withResolvers<void>();
    const stop = () => resolve();
    signal.addEventListener('abort', stop);
    this.#waiting.add(index);
    await Promise.race([this.#changed.promise, stopped]);
    this.#waiting.delete(index);
    signal.removeEventListener('abort', stop);
  }

  /** Of the whole only the first loader can give others their share: it is between batches. */
  #share(index: number): void {
    this.#fullAtMs = this.#clock.monotonicMs();
    const isLeftToOthers = this.#state === 'whole' && index > 0;
    if (this.#state === 'shared' || isLeftToOthers || this.#loaders === 1) return;
    const wasWhole = this.#state === 'whole';
    this.#state = 'shared';
    if (wasWhole) for (const feed of this.#feeds.slice(1)) feed.seek(this.staged);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #gather(): void {
    this.#state = 'whole';
    for (const feed of this.#feeds.slice(1)) feed.close();
    this.feed(0).seek(this.staged);
  }
}
