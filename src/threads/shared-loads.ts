// Loads of a server of several accept workers. A client may begin a load with one worker and send
// its bytes to another, or send them anew while its dead connection still hangs at a third: what a
// server on one thread knows by itself stands here.
import { HoldfastError } from '../errors.ts';
import { beingSent } from '../load.ts';
import type { BegunLoad } from '../server/served.ts';
import type { Holdfast, LoadOptions, LoadResult, LoadState } from '../types.ts';

interface Sending {
  readonly stop: AbortController;
  readonly ended: Promise<unknown>;
}

/** As many as one server remembers. */
const loadsMax = 1024;

export class SharedLoads {
  readonly #holdfast: Holdfast;
  readonly #begun = new Map<string, Pick<BegunLoad, 'stream' | 'options'>>();
  readonly #sending = new Map<string, Sending>();

  constructor(holdfast: Holdfast) {
    this.#holdfast = holdfast;
  }

  async begin(stream: string, options: LoadOptions): Promise<LoadState> {
    const state = await this.#holdfast.beginLoad(stream, options);
    const { load } = state;
    this.#begun.delete(load);
    this.#begun.set(load, { stream, options });
    for (const oldest of this.#begun.keys()) {
      if (this.#begun.size <= loadsMax) break;
      this.#begun.delete(oldest);
    }
    const sending = this.#sending.get(load);
    if (!sending) return state;
    // Where to go on is known only once the sender of before has stopped.
    sending.stop.abort(new HoldfastError('HF_ABORTED', 'Another sender took this load over.'));
    await sending.ended;
    return this.#holdfast.beginLoad(stream, options);
  }

  /** A load that was begun with any worker, as it stands now. */
  async begun(load: string): Promise<BegunLoad | undefined> {
    const known = this.#begun.get(load);
    if (!known || this.#sending.has(load)) return undefined;
    return { ...known, state: await this.#holdfast.beginLoad(known.stream, known.options) };
  }

  async run(
    state: LoadState,
    input: AsyncIterable<Uint8Array>,
    by: { readonly options: LoadOptions; readonly stop: AbortController },
  ): Promise<LoadResult> {
    const { options, stop } = by;
    // Another worker's client: to take the load over it must begin it again.
    if (this.#sending.has(state.load)) throw beingSent();
    const running = this.#holdfast.continueLoad(state, input, { ...options, signal: stop.signal });
    const own = { stop, ended: running.catch(() => undefined) };
    this.#sending.set(state.load, own);
    try {
      return await running;
    } finally {
      if (this.#sending.get(state.load) === own) this.#sending.delete(state.load);
    }
  }

  reported(load: string): void {
    this.#holdfast.reportedLoad(load);
    this.#begun.delete(load);
  }
}
