// One accept worker, as the core has it: its parcels are journaled from where they lie, and what it
// asks is answered.
import type { Readable } from '../accept-desk.ts';
import { HoldfastError } from '../errors.ts';
import type { Opened } from '../holdfast.ts';
import { draining } from '../load.ts';
import type { Answered, Served } from '../server/served.ts';
import type { LoadOptions, LoadState } from '../types.ts';
import { Calls } from './calls.ts';
import { type Parcel, readParcel } from './parcel.ts';
import { ParcelReceiver } from './parcel-receiver.ts';
import type { AcceptStart } from './reach-core.ts';
import { createRing } from './ring.ts';
import { failRing, type RingTurns } from './ring-side.ts';
import type { Thread } from './thread.ts';

/** What a simulator puts in the place of the real thing. */
export interface AcceptPorts {
  readonly startWorker: (start: AcceptStart) => Thread;
  /** Of the ring of each worker, a power of two. */
  readonly ringBytes: number;
  readonly turns?: RingTurns;
}

/** What all workers of a server have in common. */
interface Shared {
  readonly holdfast: Opened;
  readonly served: Served;
  readonly ports: AcceptPorts;
  readonly observe: (asking: AcceptWorker, own: Answered) => Promise<Answered>;
}

export class AcceptWorker {
  readonly #holdfast: Opened;
  readonly #served: Served;
  readonly #thread: Thread;
  readonly #calls: Calls;
  /** Loads whose bytes come from this worker's clients. */
  readonly #loads = new Map<number, AbortController>();
  /** What its clients wait for. */
  readonly #waits = new Map<number, AbortController>();
  #isStopping = false;
  #isDead = false;

  constructor({ holdfast, served, observe, ports }: Shared) {
    this.#holdfast = holdfast;
    this.#served = served;
    const ring = createRing({ capacityBytes: ports.ringBytes });
    this.#thread = ports.startWorker({ ring, readables: holdfast.desk.readables });
    const { metrics } = holdfast;
    const methods = {
      ...this.#methods(),
      observe: async (own: Answered) => ({ ...(await observe(this, own)), metrics }),
    };
    this.#calls = new Calls(this.#thread, methods, (error) => holdfast.fail(asError(error)));
    const die = (why: string): void => {
      failRing(ring, 'producer');
      this.#die(why);
    };
    this.#thread.on('message', (messages) => void this.#calls.take(messages));
    this.#thread.on('error', (error) => die(asError(error).message));
    this.#thread.on('exit', (code) => die(`exit code ${code}`));
    const receiver = new ParcelReceiver(ring, (parcel) => this.#write(parcel), ports.turns);
    receiver.run().catch((error: unknown) => holdfast.fail(asError(error)));
  }

  async start(options: object): Promise<string> {
    return (await this.#calls.call('start', options)) as string;
  }

  read(readable: Readable): void {
    this.#calls.tell('read', readable);
  }

  async answered(): Promise<Answered> {
    return (await this.#calls.call('answered')) as Answered;
  }

  async close(options?: { readonly drainMs?: number }): Promise<void> {
    this.#isStopping = true;
    // One that is dead has nothing in hand any more.
    if (!this.#isDead) await this.#calls.call('close', options);
    await this.stop();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#thread.terminate();
  }

  #die(why: string): void {
    if (this.#isDead) return;
    this.#isDead = true;
    const death = new HoldfastError('HF_BUG', `An accept worker ended: ${why}.`);
    this.#calls.end(death);
    for (const stop of this.#loads.values()) stop.abort(death);
    for (const stop of this.#waits.values()) stop.abort(death);
    if (!this.#isStopping) this.#holdfast.fail(death);
  }

  async #write({ id, stream, decoded }: Parcel): Promise<void> {
    await this.#calls.reply(id, this.#holdfast.desk.write(stream, decoded));
  }

  /** What the worker may call. */
  #methods() {
    const { desk } = this.#holdfast;
    const served = this.#served;
    const { deadLetters } = served;
    return {
      parcel: (bytes: Uint8Array) => void this.#write(readParcel(bytes, 0)),
      known: (...args: Parameters<typeof desk.known>) => desk.known(...args),
      reached: (wait: number, receipt: string, level: 'settled' | 'confirmed') =>
        this.#reach(wait, receipt, level),
      leave: (wait: number) => this.#waits.get(wait)?.abort(),
      refused: (...args: Parameters<typeof desk.refused>) => desk.refused(...args),
      receipt: (id: string) => served.receipt(id),
      status: () => served.status(),
      health: () => served.health(),
      verify: (...args: Parameters<Served['verify']>) => served.verify(...args),
      passOver: (...args: Parameters<Served['passOver']>) => served.passOver(...args),
      tryToken: (...args: Parameters<Served['tryToken']>) => served.tryToken(...args),
      deadLetters: (method: keyof typeof deadLetters, argument: never) =>
        deadLetters[method](argument),
      beginLoad: (stream: string, options: LoadOptions) => served.beginLoad(stream, options),
      begunLoad: (load: string) => served.begunLoad(load),
      continueLoad: (...args: Parameters<AcceptWorker['continueLoad']>) =>
        this.continueLoad(...args),
      stopLoad: (sending: number) => this.#loads.get(sending)?.abort(draining()),
      reportedLoad: (load: string) => served.reportedLoad(load),
    };
  }

  /** Waits for a level, until the worker's client has given that up. */
  async #reach(wait: number, receipt: string, level: 'settled' | 'confirmed') {
    const stop = new AbortController();
    this.#waits.set(wait, stop);
    try {
      return await this.#holdfast.desk.reached(receipt, level, stop.signal);
    } finally {
      this.#waits.delete(wait);
    }
  }

  /** A load whose bytes are asked of the worker, chunk after chunk. */
  async continueLoad(sending: number, load: LoadState, options: LoadOptions) {
    const stop = new AbortController();
    this.#loads.set(sending, stop);
    const calls = this.#calls;
    async function* input(): AsyncGenerator<Uint8Array> {
      for (;;) {
        const chunk = (await calls.call('nextChunk', sending)) as Uint8Array | undefined;
        if (!chunk) return;
        yield chunk;
      }
    }
    const onProgress: LoadOptions['onProgress'] = (done) => calls.tell('progress', sending, done);
    try {
      const own = { ...options, signal: stop.signal, onProgress };
      return await this.#served.continueLoad(load, input(), own);
    } finally {
      this.#loads.delete(sending);
    }
  }
}

const asError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(String(thrown));
