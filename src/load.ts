// Loads: inputs of any size, journaled part by part. Each part lies in one group together with
// its mark, so that a load that was killed goes on where its last durable part ended, without
// doubling, also into a table without a key (P15, P20).
import { createHash } from 'node:crypto';
import { RowBuffer } from './accept/row-buffer.ts';
import type { Clock } from './clock.ts';
import { HoldfastError, type Rejection } from './errors.ts';
import type { LoadMark } from './journal/notes.ts';
import { type KeptRequest, lastMark, type Requests, rejectionsOf } from './journal/requests.ts';
import { limits } from './limits.ts';
import {
  LoadReading,
  type LoadTaken,
  type Progress,
  type Sent,
  SourceBytes,
  Stop,
  unlessFailed,
} from './load-input.ts';
import { behindPrefix, RunningDigest } from './load-prefix.ts';
import { addCounts, type EndCounts, noCounts } from './merge/ledger.ts';
import type { OpenStream, Taken } from './stream.ts';
import type { LoadOptions, LoadResult, LoadState } from './types.ts';

export interface LoadParts {
  readonly clock: Clock;
  readonly requests: Requests;
  /** Whether the process waits for no input any more. */
  readonly closing: AbortSignal;
  /** Journals, waiting at bounds. */
  journal(stream: OpenStream, taken: Taken, part: LoadPart): Promise<unknown>;
}

/** What is kept of one part. */
interface LoadPart {
  readonly keep: { readonly load: LoadMark; readonly rejected?: readonly Rejection[] };
  /** Ends the wait for room. */
  readonly signal: AbortSignal | undefined;
}

/** The name of a load: same stream, options and content, same load. */
function loadName(stream: OpenStream, options: LoadOptions, clock: Clock): string {
  const { format, csv, source, invalid } = options;
  if (!source) return clock.uuid();
  const { delimiter, columns, nulls } = csv ?? {};
  const all = [stream.name, format, delimiter, columns, nulls, invalid, source.size, source.digest];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 32);
}

export class Loads {
  readonly #parts: LoadParts;
  /** Bytes of lines, of all loads, whose ends have not come. */
  #unread = 0;

  constructor(parts: LoadParts) {
    this.#parts = parts;
  }

  async begin(stream: OpenStream, options: LoadOptions): Promise<LoadState> {
    if (stream.hasFailed) throw failed();
    const load = loadName(stream, options, this.#parts.clock);
    const parts = this.#parts.requests.ofLoad(load);
    const mark = lastMark(parts);
    const accepted = parts.reduce((n, part) => n + part.rows, 0);
    const state = { load, stream: stream.name, offset: mark?.offset ?? 0, accepted };
    if (mark?.isLast && parts.every((part) => part.counts)) {
      const { signal } = options;
      return { ...state, result: await this.#result(stream, load, { refused: [], signal }) };
    }
    if (mark?.digest === undefined || mark.isLast) return state;
    const ends = parts.map((part) => part.load?.offset ?? 0);
    return { ...state, prefix: { ends, digest: mark.digest } };
  }

  async run(of: Sent, input: AsyncIterable<Uint8Array>): Promise<LoadResult> {
    const { load, stream, options } = of;
    const { loadsInHand } = this.#parts.requests;
    if (stream.hasFailed) throw failed();
    if (loadsInHand.has(load)) throw beingSent();
    loadsInHand.add(load);
    try {
      const refused = await this.#read(of, input);
      return await this.#result(stream, load, { refused, signal: options.signal });
    } catch (error) {
      throw this.#withOutcome(load, error);
    } finally {
      loadsInHand.delete(load);
    }
  }

  /** A load from its first byte to its last, gone on with where it stands. */
  async whole(
    stream: OpenStream,
    input: AsyncIterable<Uint8Array>,
    options: LoadOptions,
  ): Promise<LoadResult> {
    const state = await this.begin(stream, options);
    const sent = { ...state, stream, options };
    const result = state.result ?? (await this.run(sent, await behindPrefix(input, state)));
    // A load that stopped at a bad row goes on there once the row is corrected or the rules are.
    if (result.complete) this.#parts.requests.forgetLoad(state.load);
    return result;
  }

  /** What was journaled stays written, whatever ended the load. */
  #withOutcome(load: string, error: unknown): unknown {
    const isTold = error instanceof HoldfastError && error.outcome !== 'not written';
    if (isTold || !(error instanceof HoldfastError)) return error;
    if (this.#parts.requests.ofLoad(load).length === 0) return error;
    const { code, message, rejected, retryAfterSeconds } = error;
    const later = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
    const listed = rejected ? { rejected } : {};
    return new HoldfastError(code, message, {
      cause: error,
      outcome: 'unknown',
      ...later,
      ...listed,
    });
  }

  /** The result has arrived: the same input is a new load. Throws where there is none yet. */
  reported(load: string): void {
    const parts = this.#parts.requests.ofLoad(load);
    if (parts.length > 0 && !lastMark(parts)?.isLast) {
      throw new HoldfastError('HF_USAGE', 'The load has not come to its end; begin it again.');
    }
    this.#parts.requests.forgetLoad(load);
  }

  /** Journals the input to its end, or to the first refused row; returns what stopped it. */
  async #read(of: Sent, input: AsyncIterable<Uint8Array>): Promise<readonly Rejection[]> {
    const { stream, load, options } = of;
    const parts = this.#parts.requests.ofLoad(load);
    const mark = lastMark(parts);
    if (mark?.isLast) return [];
    const source = new SourceBytes(of, mark?.offset ?? 0);
    const progress: Progress = {
      offset: mark?.offset ?? 0,
      skipping: mark?.skipping ?? false,
      lines: mark?.lines ?? 0,
      accepted: parts.reduce((n, part) => n + part.rows, 0),
      milliseconds: mark?.milliseconds ?? 0,
      columns: mark?.columns,
      digest: mark && mark.digest === undefined ? undefined : new RunningDigest(mark?.digest),
    };
    const reading = new LoadReading(stream, options, progress);
    const { stop, leave } = this.#stopOf(options);
    let begun = this.#parts.clock.monotonicMs();
    let written = Promise.resolve();
    let counted = 0;
    // One part is read and decoded while the one before is on its way to the disk.
    const journal = async (taken: LoadTaken, isLast: boolean): Promise<void> => {
      await written;
      const now = this.#parts.clock.monotonicMs();
      progress.milliseconds += now - begun;
      begun = now;
      const { offset, lines, milliseconds, columns, skipping } = progress;
      const digest = progress.digest?.end();
      const known = {
        ...(columns && { columns }),
        ...(skipping && { skipping }),
        ...(digest !== undefined && { digest }),
      };
      const mark = { load: { load, offset, lines, milliseconds, isLast, ...known } };
      const { rejected } = taken;
      const keep = rejected.length > 0 ? { ...mark, rejected } : mark;
      const part = { keep, signal: options.signal };
      const count = taken.rows.count + taken.undecoded.length;
      // Journaled, or refused: the rows stand in the group, or nowhere.
      const done = this.#parts.journal(stream, taken, part).finally(() => reading.done(taken.rows));
      written = done.then(() => {
        progress.accepted += count;
        options.onProgress?.({ bytes: offset, accepted: progress.accepted });
      });
      // Whoever comes next, or the end, hears of it.
      written.catch(() => undefined);
    };
    try {
      for await (const chunk of unlessFailed(input, { work: () => written, stop })) {
        source.add(chunk);
        for (const taken of reading.take(chunk, false)) await journal(taken, false);
        if (reading.stoppedBy) return [reading.stoppedBy];
        this.#unread += reading.held - counted;
        counted = reading.held;
        if (this.#unread > limits.memoryBytesMax) throw overloaded();
      }
      source.end();
      for (const taken of reading.take(new Uint8Array(0), true)) await journal(taken, false);
      if (reading.stoppedBy) return [reading.stoppedBy];
      const { tableId: table } = stream;
      await journal({ rows: new RowBuffer(64, 1), table, undecoded: [], rejected: [] }, true);
      return [];
    } finally {
      leave();
      this.#unread -= counted;
      // Who sends the rest again must find what of it is written.
      await written;
    }
  }

  /** Ends the reading of an input when its sender or this process does; until `leave`. */
  #stopOf({ signal, source }: LoadOptions): { readonly stop: Stop; readonly leave: () => void } {
    const stop = new Stop();
    const { closing } = this.#parts;
    const onAbort = (): void => {
      const reason: unknown = signal?.reason;
      stop.stop(reason instanceof HoldfastError ? reason : interrupted());
    };
    // Without a source nobody can go on with it: sent again it is a new load.
    const onClosing = (): void => stop.stop(source ? draining() : interrupted());
    signal?.addEventListener('abort', onAbort);
    closing.addEventListener('abort', onClosing);
    if (signal?.aborted) onAbort();
    if (closing.aborted) onClosing();
    const leave = (): void => {
      signal?.removeEventListener('abort', onAbort);
      closing.removeEventListener('abort', onClosing);
    };
    return { stop, leave };
  }

  /** Waits until every part has its ends, and adds them up. */
  async #result(
    stream: OpenStream,
    load: string,
    { refused, signal }: { refused: readonly Rejection[]; signal: Signal },
  ): Promise<LoadResult> {
    const { clock, requests } = this.#parts;
    const begun = clock.monotonicMs();
    const parts = requests.ofLoad(load);
    let counts: EndCounts = noCounts;
    for (const part of parts) {
      counts = addCounts(counts, await this.#ends(stream, { load, part, signal }));
    }
    const milliseconds = (lastMark(parts)?.milliseconds ?? 0) + clock.monotonicMs() - begun;
    return {
      accepted: parts.reduce((n, part) => n + part.rows, 0),
      ...counts,
      rejected: [...rejectionsOf(parts), ...refused],
      seconds: Math.round(milliseconds) / 1000,
      complete: refused.length === 0,
    };
  }

  async #ends(
    stream: OpenStream,
    of: { readonly load: string; readonly part: KeptRequest; readonly signal: Signal },
  ): Promise<EndCounts> {
    try {
      return await stream.pending.settled(of.part, of.signal);
    } catch (error) {
      // There will be no result: the same input is a new load from now on.
      const isOver = error instanceof HoldfastError && error.code === 'HF_NOT_FOUND';
      if (isOver) this.#parts.requests.forgetLoad(of.load);
      throw error;
    }
  }
}

type Signal = AbortSignal | undefined;

const overloaded = (): HoldfastError =>
  new HoldfastError('HF_OVERLOADED', 'Too many loads are in the middle of a long line.', {
    retryAfterSeconds: 1,
  });

/** Only who begins it again takes a load over from who sends it. */
export const beingSent = (): HoldfastError =>
  new HoldfastError('HF_LOAD_MOVED', 'The load is being sent already; begin it again.');

/** What the disk has of its last part, only recovery can tell. */
const failed = (): HoldfastError =>
  new HoldfastError(
    'HF_JOURNAL_FAILED',
    'The journal has failed; the next process says where the load stands.',
  );

export const draining = (): HoldfastError =>
  new HoldfastError('HF_DRAINING', 'This process is shutting down; begin the load again.');

const interrupted = (): HoldfastError =>
  new HoldfastError('HF_ABORTED', 'The load was interrupted; what it accepted is written.', {
    outcome: 'written',
  });
