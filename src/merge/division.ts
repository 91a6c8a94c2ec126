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

/** So long the lanes of some may be nobody's. */
const gatherMsMax = 100;

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
  /** Called when the last of the others begins to wait. */
  onCanGather: () => void = () => undefined;

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

  /** Whether a loader's lanes may be given to others, where it asks for that. */
  mayShare(index: number): boolean {
    return this.#state === 'whole' && index === 0 && this.#loaders > 1;
  }

  /**
   * To be asked by a loader between batches, which says whether its last one left something, and
   * whether it is in trouble, which it must not leave to others: may it go on, or does it have to
   * wait?
   */
  mayGoOn(
    index: number,
    { hasMore, isTroubled }: { readonly hasMore: boolean; readonly isTroubled: boolean },
  ): boolean {
    if (hasMore) this.#share(index);
    if (index > 0) return this.#state === 'shared' || (this.#state === 'gathering' && isTroubled);
    const isCalm = this.#clock.monotonicMs() - this.#fullAtMs >= limits.loadersCalmMs;
    if (this.#state === 'shared' && isCalm) this.#state = 'gathering';
    if (this.canGather) this.#gather();
    return true;
  }

  /** All others wait for the first loader to take their lanes: it has no time to be idle. */
  get canGather(): boolean {
    return this.#state === 'gathering' && this.#waiting.size === this.#loaders - 1;
  }

  /**
   * Resolves when that may be asked again. Nobody has the lanes of who waits while they are
   * gathered: that must not last.
   */
  async wait(index: number, signal: AbortSignal): Promise<void> {
    const pause = new AbortController();
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const end = () => {
      pause.abort();
      resolve();
    };
    signal.addEventListener('abort', end);
    void this.#changed.promise.then(end);
    this.#waiting.add(index);
    if (this.canGather) this.onCanGather();
    await this.#clock.sleep(gatherMsMax, pause.signal);
    if (this.#state === 'gathering' && !signal.aborted) this.#share(index);
    await over;
    this.#waiting.delete(index);
    signal.removeEventListener('abort', end);
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
