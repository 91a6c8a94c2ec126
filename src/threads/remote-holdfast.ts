// The core, seen from an accept worker: bodies are decoded here, everything else is asked there.
import { compileRows } from '../accept/compile.ts';
import { decodeBytes, type OnRefused } from '../accept/decode.ts';
import type { RowReader } from '../accept/rows.ts';
import { SpareRows } from '../accept/spare-rows.ts';
import type { Accepted, Readable } from '../accept-desk.ts';
import { HoldfastError } from '../errors.ts';
import type { EndCounts } from '../merge/ledger.ts';
import { digestOfBytes } from '../request-digest.ts';
import type { Answered, Served } from '../server/served.ts';
import type { Holdfast, LoadOptions, LoadResult, LoadState } from '../types.ts';
import type { WaitingReceipt } from '../writing.ts';
import type { Calls } from './calls.ts';
import type { ParcelSender } from './parcel-sender.ts';

interface Reading {
  readonly reader: RowReader;
  readonly table: number;
}

interface Sending {
  readonly input: AsyncIterator<Uint8Array>;
  readonly options: LoadOptions;
}

const letInMax = 10_000;

/** Of a load's options, what can cross a thread. */
const plain = ({ signal: _signal, onProgress: _onProgress, ...others }: LoadOptions): LoadOptions =>
  others;

export class RemoteHoldfast implements Served {
  readonly #calls: Calls;
  readonly #sender: ParcelSender;
  readonly #spares = new SpareRows();
  readonly #readings = new Map<string, Reading>();
  readonly #sendings = new Map<number, Sending>();
  /** Who came with which token and was let in: the core is asked once for all their requests. */
  readonly #letIn = new Set<string>();
  #nextSending = 1;
  #nextWait = 1;
  readonly #onRefused: OnRefused = (code, count) => this.#calls.tell('refused', code, count);

  constructor(calls: Calls, sender: ParcelSender) {
    this.#calls = calls;
    this.#sender = sender;
  }

  /** Rows of that stream are decoded so from now on. */
  read({ stream, table, tableId, rules }: Readable): void {
    this.#readings.set(stream, { reader: compileRows(table, rules), table: tableId });
  }

  async writeBytes(...[stream, bytes, options]: Parameters<Holdfast['writeBytes']>) {
    const { reader, table } = this.#reading(stream);
    const { idempotencyKey: key } = options;
    const by = key === undefined ? undefined : { key, digest: digestOfBytes(bytes, options) };
    // Known rows are not decoded again: the table may have changed since.
    const known = by && ((await this.#calls.call('known', stream, by)) as Accepted | undefined);
    if (known) return this.#receipt(stream, known);
    const how = { ...options, onRefused: this.#onRefused, spares: this.#spares };
    const decoded = decodeBytes(reader, bytes, how);
    try {
      const { id, answer } = this.#calls.expect();
      this.#sender.send({ id, stream, decoded: { ...decoded, table, ...by } });
      return this.#receipt(stream, (await answer) as Accepted);
    } finally {
      // Answered, so it is in no queue any more.
      this.#spares.give(decoded.rows);
    }
  }

  #reading(stream: string): Reading {
    const reading = this.#readings.get(stream);
    if (reading) return reading;
    const known = [...this.#readings.keys()].join(', ');
    throw new HoldfastError('HF_UNKNOWN_STREAM', `No stream "${stream}"; there are: ${known}.`);
  }

  #receipt(stream: string, accepted: Accepted): WaitingReceipt {
    const reached = async (
      level: 'settled' | 'confirmed',
      signal?: AbortSignal,
    ): Promise<EndCounts> => {
      const wait = this.#nextWait++;
      const answer = this.#calls.call('reached', wait, accepted.id, level) as Promise<EndCounts>;
      const leave = (): void => this.#calls.tell('leave', wait);
      signal?.addEventListener('abort', leave);
      if (signal?.aborted) leave();
      return answer.finally(() => signal?.removeEventListener('abort', leave));
    };
    return {
      ...accepted,
      stream,
      get settled() {
        return reached('settled');
      },
      get confirmed() {
        return reached('confirmed');
      },
      reached,
    };
  }

  beginLoad(stream: string, options: LoadOptions) {
    const begun = this.#calls.call('beginLoad', stream, plain(options));
    return begun as ReturnType<Holdfast['beginLoad']>;
  }

  async continueLoad(
    load: LoadState,
    input: AsyncIterable<Uint8Array>,
    options: LoadOptions,
  ): Promise<LoadResult> {
    const { signal } = options;
    const sending = this.#nextSending++;
    this.#sendings.set(sending, { input: input[Symbol.asyncIterator](), options });
    const stop = (): void => this.#calls.tell('stopLoad', sending);
    signal?.addEventListener('abort', stop);
    if (signal?.aborted) stop();
    try {
      return (await this.#calls.call('continueLoad', sending, load, plain(options))) as LoadResult;
    } finally {
      signal?.removeEventListener('abort', stop);
      this.#sendings.delete(sending);
    }
  }

  /** The next bytes of a load that the core reads; undefined at its end. */
  async nextChunk(sending: number): Promise<Uint8Array | undefined> {
    const next = await this.#sendings.get(sending)?.input.next();
    return next?.done === false ? next.value : undefined;
  }

  progress(sending: number, done: Parameters<NonNullable<LoadOptions['onProgress']>>[0]): void {
    this.#sendings.get(sending)?.options.onProgress?.(done);
  }

  async reportedLoad(load: string): Promise<void> {
    await this.#calls.call('reportedLoad', load);
  }

  begunLoad(load: string) {
    return this.#calls.call('begunLoad', load) as ReturnType<Served['begunLoad']>;
  }

  async tryToken(address: string, token: number | undefined): Promise<number> {
    const name = `${token} ${address}`;
    if (this.#letIn.has(name)) return 0;
    const waitSeconds = (await this.#calls.call('tryToken', address, token)) as number;
    const isKnown = waitSeconds === 0 && token !== undefined;
    if (isKnown && this.#letIn.size < letInMax) this.#letIn.add(name);
    return waitSeconds;
  }

  receipt(id: string) {
    return this.#calls.call('receipt', id) as ReturnType<Holdfast['receipt']>;
  }

  status() {
    return this.#calls.call('status') as ReturnType<Holdfast['status']>;
  }

  verify(options: { readonly stream?: string } = {}) {
    return this.#calls.call('verify', options) as ReturnType<Holdfast['verify']>;
  }

  passOver(...args: Parameters<Holdfast['passOver']>) {
    return this.#calls.call('passOver', ...args) as ReturnType<Holdfast['passOver']>;
  }

  health() {
    return this.#calls.call('health') as ReturnType<Served['health']>;
  }

  observe(own: Answered) {
    return this.#calls.call('observe', own) as ReturnType<Served['observe']>;
  }

  readonly deadLetters: Holdfast['deadLetters'] = {
    list: (filter) => this.#letters('list', filter) as ReturnType<Holdfast['deadLetters']['list']>,
    show: (id) => this.#letters('show', id) as ReturnType<Holdfast['deadLetters']['show']>,
    replay: (id) => this.#letters('replay', id) as ReturnType<Holdfast['deadLetters']['replay']>,
    drop: (id) => this.#letters('drop', id) as Promise<void>,
  };

  #letters(method: keyof Holdfast['deadLetters'], argument: unknown): Promise<unknown> {
    return this.#calls.call('deadLetters', method, argument);
  }
}
