// Loads as the servers in front of one Holdfast know them. A client may begin a load with one
// accept worker and send its bytes to another, or send them anew while its dead connection still
// hangs somewhere: so what concerns all of them stands here, beside the Holdfast.
//
// Of a load without a request in hand only stream and options are kept, bounded in number and in
// bytes: whoever has begun one and does not come back costs nothing for long, and whoever comes
// back too late begins it again, which resumes it.
import { HoldfastError } from '../errors.ts';
import { beingSent } from '../load.ts';
import type { Holdfast, LoadOptions, LoadResult, LoadState } from '../types.ts';

/** A load that was begun, and how. */
export interface BegunLoad {
  readonly stream: string;
  readonly options: LoadOptions;
  /** Absent while its bytes are being sent. */
  readonly state?: LoadState;
}

interface Kept extends BegunLoad {
  readonly bytes: number;
}

interface Sending {
  readonly stop: AbortController;
  readonly ended: Promise<unknown>;
}

const loadsMax = 1024;
/** Of the options of all of them, as JSON: lists of columns and of spellings of null. */
const optionsBytesMax = 8 * 1024 * 1024;

export class BegunLoads {
  readonly #holdfast: Holdfast;
  /** The one begun last is the last one. */
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;
  /** Those with a request in hand that sends their bytes. */
  readonly #sending = new Map<string, Sending>();

  constructor(holdfast: Holdfast) {
    this.#holdfast = holdfast;
  }

  async begin(stream: string, options: LoadOptions): Promise<LoadState> {
    const state = await this.#holdfast.beginLoad(stream, options);
    const { load } = state;
    this.#keep(load, { stream, options });
    const sending = this.#sending.get(load);
    if (!sending) return state;
    // The sender of before has died and its connection has not been missed yet: what it sent is
    // still being written, so where to go on is known only once it has stopped.
    sending.stop.abort(new HoldfastError('HF_ABORTED', 'Another sender took this load over.'));
    await sending.ended;
    return this.#holdfast.beginLoad(stream, options);
  }

  /** A load that was begun with any server, as it stands now. */
  async find(load: string): Promise<BegunLoad | undefined> {
    const kept = this.#kept.get(load);
    if (!kept) return undefined;
    const { stream, options } = kept;
    if (this.#sending.has(load)) return { stream, options };
    return { stream, options, state: await this.#holdfast.beginLoad(stream, options) };
  }

  async run(
    state: LoadState,
    input: AsyncIterable<Uint8Array>,
    options: LoadOptions,
  ): Promise<LoadResult> {
    const { load } = state;
    // To take the load over it must be begun again.
    if (this.#sending.has(load)) throw beingSent();
    const stop = new AbortController();
    const signal = AbortSignal.any(options.signal ? [options.signal, stop.signal] : [stop.signal]);
    const running = this.#holdfast.continueLoad(state, input, { ...options, signal });
    this.#sending.set(load, { stop, ended: running.catch(() => undefined) });
    try {
      return await running;
    } finally {
      this.#sending.delete(load);
    }
  }

  reported(load: string): void {
    this.#holdfast.reportedLoad(load);
    this.#forget(load);
  }

  #keep(load: string, begun: BegunLoad): void {
    this.#forget(load);
    const bytes = JSON.stringify(begun.options).length;
    this.#kept.set(load, { ...begun, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= loadsMax && this.#bytes <= optionsBytesMax) break;
      this.#forget(oldest);
    }
  }

  #forget(load: string): void {
    this.#bytes -= this.#kept.get(load)?.bytes ?? 0;
    this.#kept.delete(load);
  }
}
