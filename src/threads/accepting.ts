// The accept workers of a server, as the core has them: threads that take requests on one port,
// each with a ring through which its rows come. One that dies takes the process with it: what it
// had not been answered for was not acknowledged, and the next process serves its clients.
import { Worker } from 'node:worker_threads';
import type { Readable } from '../accept-desk.ts';
import { HoldfastError } from '../errors.ts';
import type { Opened } from '../holdfast.ts';
import { defaults } from '../options.ts';
import type { Answered } from '../server/served.ts';
import type { RunningServer, StartOptions } from '../server/server.ts';
import type { LoadOptions, LoadState } from '../types.ts';
import type { AcceptStart } from './accept.ts';
import { Calls, type Message } from './calls.ts';
import { type Parcel, readParcel } from './parcel.ts';
import { ParcelReceiver } from './parcel-receiver.ts';
import { createRing } from './ring.ts';
import { failRing } from './ring-side.ts';
import { SharedLoads } from './shared-loads.ts';

const ringBytes = 4 * 1024 * 1024;

/** Starts a server of `workers` threads. Rejects as `startServer` does. */
export async function startAccepting(
  holdfast: Opened,
  { workers: count, onClose, ...options }: StartOptions & { readonly workers: number },
): Promise<RunningServer> {
  const workers: AcceptWorker[] = [];
  const observe = async (asking: AcceptWorker, own: Answered): Promise<Answered> => {
    const others = workers.filter((worker) => worker !== asking);
    return [own, ...(await Promise.all(others.map((worker) => worker.answered())))].reduce(added);
  };
  const shared = { holdfast, loads: new SharedLoads(holdfast), observe };
  for (let i = 0; i < count; i++) workers.push(new AcceptWorker(shared));
  holdfast.onReadable((readable) => {
    for (const worker of workers) worker.read(readable);
  });
  const closeAll = async (by?: { readonly drainMs?: number }): Promise<void> => {
    await Promise.all(workers.map((worker) => worker.close(by)));
  };
  const connectionsMax = options.connectionsMax ?? defaults.server.connectionsMax;
  const each = { ...options, connectionsMax: Math.ceil(connectionsMax / count), many: count };
  let url = '';
  try {
    for (const worker of workers) {
      const port = url === '' ? options.port : Number(new URL(url).port);
      url = await worker.start({ ...each, ...(port !== undefined && { port }) });
    }
  } catch (error) {
    await Promise.all(workers.map((worker) => worker.stop()));
    throw error;
  }
  let ending: Promise<void> | undefined;
  return {
    url,
    answered: async () =>
      (await Promise.all(workers.map((worker) => worker.answered()))).reduce(added),
    close: (by) => {
      ending ??= closeAll(by).then(() => onClose?.());
      return ending;
    },
  };
}

function added(a: Answered, b: Answered): Answered {
  const answers = new Map(a.answers);
  for (const [answer, count] of b.answers) answers.set(answer, (answers.get(answer) ?? 0) + count);
  return { answers, bodyBytes: a.bodyBytes + b.bodyBytes };
}

/** What all workers of a server have in common. */
interface Shared {
  readonly holdfast: Opened;
  readonly loads: SharedLoads;
  readonly observe: (asking: AcceptWorker, own: Answered) => Promise<Answered>;
}

class AcceptWorker {
  readonly #holdfast: Opened;
  readonly #shared: SharedLoads;
  readonly #worker: Worker;
  readonly #calls: Calls;
  /** Loads whose bytes come from this worker's clients. */
  readonly #loads = new Map<number, AbortController>();
  #isStopping = false;
  #isDead = false;

  constructor({ holdfast, loads, observe }: Shared) {
    this.#holdfast = holdfast;
    this.#shared = loads;
    const ring = createRing({ capacityBytes: ringBytes });
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const start: AcceptStart = { ring, readables: holdfast.desk.readables };
    this.#worker = new Worker(new URL(`./accept.${extension}`, import.meta.url), {
      workerData: start,
    });
    const { metrics } = holdfast;
    const methods = {
      ...this.#methods(),
      observe: async (own: Answered) => ({ ...(await observe(this, own)), metrics }),
    };
    this.#calls = new Calls(this.#worker, methods, (error) => holdfast.fail(asError(error)));
    const die = (why: string): void => {
      failRing(ring, 'producer');
      this.#die(why);
    };
    this.#worker.on('message', (messages: readonly Message[]) => void this.#calls.take(messages));
    this.#worker.on('error', (error) => die(asError(error).message));
    this.#worker.on('exit', (code) => die(`exit code ${code}`));
    const receiver = new ParcelReceiver(ring, (parcel) => this.#write(parcel));
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
    await this.#worker.terminate();
  }

  #die(why: string): void {
    if (this.#isDead) return;
    this.#isDead = true;
    const death = new HoldfastError('HF_BUG', `An accept worker ended: ${why}.`);
    this.#calls.end(death);
    for (const stop of this.#loads.values()) stop.abort(death);
    if (!this.#isStopping) this.#holdfast.fail(death);
  }

  async #write({ id, stream, decoded }: Parcel): Promise<void> {
    await this.#calls.reply(id, this.#holdfast.desk.write(stream, decoded));
  }

  /** What the worker may call. */
  #methods() {
    const { desk, deadLetters } = this.#holdfast;
    const holdfast = this.#holdfast;
    return {
      parcel: (bytes: Uint8Array) => void this.#write(readParcel(bytes, 0)),
      known: (...args: Parameters<typeof desk.known>) => desk.known(...args),
      reached: (...args: Parameters<typeof desk.reached>) => desk.reached(...args),
      refused: (...args: Parameters<typeof desk.refused>) => desk.refused(...args),
      receipt: (id: string) => holdfast.receipt(id),
      status: () => holdfast.status(),
      health: () => holdfast.health(),
      verify: (options: { readonly stream?: string }) => holdfast.verify(options),
      passOver: (...args: Parameters<typeof holdfast.passOver>) => holdfast.passOver(...args),
      deadLetters: (method: keyof typeof deadLetters, argument: never) =>
        deadLetters[method](argument),
      beginLoad: (stream: string, options: LoadOptions) => this.#shared.begin(stream, options),
      begunLoad: (load: string) => this.#shared.begun(load),
      continueLoad: (...args: Parameters<AcceptWorker['continueLoad']>) =>
        this.continueLoad(...args),
      stopLoad: (sending: number) => this.#loads.get(sending)?.abort(),
      reportedLoad: (load: string) => this.#shared.reported(load),
    };
  }

  /** A load whose bytes are asked of the worker, chunk after chunk. */
  async continueLoad(sending: number, load: LoadState, options: LoadOptions) {
    const stop = new AbortController();
    this.#loads.set(sending, stop);
    const calls = this.#calls;
    // Who takes the load over must not wait for a sender that hangs; where the worker itself stops
    // it, its bytes end with the reason.
    const takenOver = new Promise<never>((_, reject) => {
      stop.signal.addEventListener('abort', () => {
        const reason: unknown = stop.signal.reason;
        if (reason instanceof HoldfastError) reject(reason);
      });
    });
    takenOver.catch(() => undefined);
    async function* input(): AsyncGenerator<Uint8Array> {
      for (;;) {
        const next = calls.call('nextChunk', sending);
        const chunk = (await Promise.race([next, takenOver])) as Uint8Array | undefined;
        if (!chunk) return;
        yield chunk;
      }
    }
    const onProgress: LoadOptions['onProgress'] = (done) => calls.tell('progress', sending, done);
    try {
      const by = { stop, options: { ...options, onProgress } };
      return await this.#shared.run(load, input(), by);
    } finally {
      this.#loads.delete(sending);
    }
  }
}

const asError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(String(thrown));
