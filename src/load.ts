// Loads: inputs of any size, journaled part by part. Each part lies in one group together with
// its mark, so that a load that was killed goes on where its last durable part ended, without
// doubling, also into a table without a key (P15, P20).
import { createHash } from 'node:crypto';
import { RowBuffer } from './accept/row-buffer.ts';
import type { CsvReader, ReadOptions, ReadResult, RejectedLine, RowReader } from './accept/rows.ts';
import type { Clock } from './clock.ts';
import { HoldfastError, type Rejection } from './errors.ts';
import type { LoadMark } from './journal/notes.ts';
import { type KeptRequest, lastMark, type Requests, rejectionsOf } from './journal/requests.ts';
import type { UndecodedRow } from './journal/undecoded.ts';
import { limits } from './limits.ts';
import { addCounts, type EndCounts, noCounts } from './merge/ledger.ts';
import type { OpenStream, Taken } from './stream.ts';
import type { LoadOptions, LoadResult, LoadState } from './types.ts';
import { unlessAborted } from './waiting.ts';

export interface LoadParts {
  readonly clock: Clock;
  readonly requests: Requests;
  /** Journals, waiting at bounds. */
  journal(stream: OpenStream, taken: Taken, part: LoadPart): Promise<unknown>;
}

/** What is kept of one part. */
interface LoadPart {
  readonly keep: { readonly load: LoadMark; readonly rejected?: readonly Rejection[] };
  /** Ends the wait for room. */
  readonly signal: AbortSignal | undefined;
}

/** Bytes of tuples that one part may hold. */
const partBytesMax = 1024 * 1024;

interface Progress {
  offset: number;
  lines: number;
  accepted: number;
  milliseconds: number;
  columns: readonly string[] | undefined;
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
  /** Loads that are being continued; one at a time each. */
  readonly #active = new Set<string>();
  readonly #streams = new Map<string, OpenStream>();

  constructor(parts: LoadParts) {
    this.#parts = parts;
  }

  async begin(stream: OpenStream, options: LoadOptions): Promise<LoadState> {
    const load = loadName(stream, options, this.#parts.clock);
    this.#streams.set(load, stream);
    const parts = this.#parts.requests.ofLoad(load);
    const mark = lastMark(parts);
    const accepted = parts.reduce((n, part) => n + part.rows, 0);
    const state = { load, offset: mark?.offset ?? 0, accepted };
    const isDone = mark?.isLast && parts.every((part) => part.counts);
    return isDone
      ? {
          ...state,
          result: await this.#result(stream, load, { refused: [], signal: options.signal }),
        }
      : state;
  }

  async run(
    load: string,
    input: AsyncIterable<Uint8Array>,
    options: LoadOptions,
  ): Promise<LoadResult> {
    const stream = this.#streams.get(load);
    if (!stream) throw new HoldfastError('HF_NOT_FOUND', 'Begin the load first.');
    if (this.#active.has(load)) {
      throw new HoldfastError('HF_USAGE', 'This load is running already.');
    }
    this.#active.add(load);
    try {
      const refused = await this.#read({ stream, load, options }, input);
      return await this.#result(stream, load, { refused, signal: options.signal });
    } finally {
      this.#active.delete(load);
    }
  }

  report(load: string): void {
    this.#parts.requests.forgetLoad(load);
    this.#streams.delete(load);
  }

  /** Journals the input to its end, or to the first refused row; returns what stopped it. */
  async #read(
    { stream, load, options }: { stream: OpenStream; load: string; options: LoadOptions },
    input: AsyncIterable<Uint8Array>,
  ): Promise<readonly Rejection[]> {
    const parts = this.#parts.requests.ofLoad(load);
    const mark = lastMark(parts);
    if (mark?.isLast) return [];
    const progress: Progress = {
      offset: mark?.offset ?? 0,
      lines: mark?.lines ?? 0,
      accepted: parts.reduce((n, part) => n + part.rows, 0),
      milliseconds: mark?.milliseconds ?? 0,
      columns: mark?.columns,
    };
    const reading = new LoadReading(stream, options, progress);
    let begun = this.#parts.clock.monotonicMs();
    let written = Promise.resolve();
    // One part is read and decoded while the one before is on its way to the disk.
    const journal = async (taken: LoadTaken, isLast: boolean): Promise<void> => {
      await written;
      const now = this.#parts.clock.monotonicMs();
      progress.milliseconds += now - begun;
      begun = now;
      const { columns, ...at } = { ...progress, columns: progress.columns };
      const known = columns ? { columns } : {};
      const { offset, lines, milliseconds } = at;
      const mark = { load: { load, offset, lines, milliseconds, isLast, ...known } };
      const { rejected } = taken;
      const keep = rejected.length > 0 ? { ...mark, rejected } : mark;
      const part = { keep, signal: options.signal };
      written = this.#parts.journal(stream, taken, part).then(() => {
        progress.accepted += taken.rows.count + taken.undecoded.length;
        options.onProgress?.({ bytes: offset, accepted: progress.accepted });
      });
      // Whoever comes next, or the end, hears of it.
      written.catch(() => undefined);
    };
    try {
      for await (const chunk of unlessFailed(input, () => written)) {
        if (options.signal?.aborted) throw interrupted();
        for (const taken of reading.take(chunk, false)) await journal(taken, false);
        if (reading.stoppedBy) return [reading.stoppedBy];
      }
      for (const taken of reading.take(new Uint8Array(0), true)) await journal(taken, false);
      if (reading.stoppedBy) return [reading.stoppedBy];
      const { tableId: table } = stream;
      await journal({ rows: new RowBuffer(64, 1), table, undecoded: [], rejected: [] }, true);
      return [];
    } finally {
      // Who sends the rest again must find what of it is written.
      await written;
    }
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
      return await unlessAborted(stream.pending.settled(of.part), of.signal);
    } catch (error) {
      // There will be no result: the same input is a new load from now on.
      const isOver = error instanceof HoldfastError && error.code === 'HF_NOT_FOUND';
      if (isOver) this.report(of.load);
      throw error;
    }
  }
}

type Signal = AbortSignal | undefined;

const interrupted = (): HoldfastError =>
  new HoldfastError('HF_ABORTED', 'The load was interrupted; what it accepted is written.', {
    outcome: 'written',
  });

interface LoadTaken extends Taken {
  readonly rejected: readonly Rejection[];
}

/** Turns chunks of input into parts; keeps what is unfinished of a line between chunks. */
class LoadReading {
  readonly #stream: OpenStream;
  readonly #options: LoadOptions;
  readonly #progress: Progress;
  #reader: RowReader;
  #csv: CsvReader | undefined;
  #rest: Uint8Array = new Uint8Array(0);
  #isSkipping = false;
  /** The row that stopped a load that refuses bad rows. */
  stoppedBy: Rejection | undefined;

  constructor(stream: OpenStream, options: LoadOptions, progress: Progress) {
    this.#stream = stream;
    this.#options = options;
    this.#progress = progress;
    this.#reader = stream.reader;
    this.#csv = this.#csvReader();
  }

  #csvReader(): CsvReader | undefined {
    const { format, csv = {} } = this.#options;
    const { columns } = this.#progress;
    if (format !== 'csv') return undefined;
    return this.#reader.csv(columns ? { ...csv, columns } : csv);
  }

  /** The table may be another one since the last chunk. */
  #refresh(): void {
    if (this.#reader === this.#stream.reader) return;
    this.#reader = this.#stream.reader;
    this.#csv = this.#csvReader();
  }

  *take(chunk: Uint8Array, isLast: boolean): Generator<LoadTaken> {
    let input = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (!this.stoppedBy) {
      const before = input.length;
      this.#refresh();
      const { tableId: table } = this.#stream;
      const rows = new RowBuffer(partBytesMax / 4, 4096);
      const result = this.#readSome(input, rows, isLast);
      this.#progress.offset += result.consumed;
      this.#progress.lines += result.lines;
      this.#progress.columns = this.#csv?.columns;
      const { undecoded, rejected } = this.#sort(result.rejected, input);
      input = input.subarray(result.consumed);
      if (rows.count + undecoded.length > 0) yield { rows, table, undecoded, rejected };
      if (input.length === before || input.length === 0) break;
    }
    this.#rest = input.slice();
  }

  #readSome(input: Uint8Array, rows: RowBuffer, isLast: boolean): ReadResult {
    const options: ReadOptions = {
      firstLine: this.#progress.lines + 1,
      isLast,
      stopAtFirst: this.#options.invalid !== 'dead-letter',
      bytesMax: partBytesMax,
      skipping: this.#isSkipping,
    };
    const result = this.#csv
      ? this.#csv.read(input, rows, options)
      : this.#reader.ndjson(input, rows, options);
    this.#isSkipping = result.skipping;
    return result;
  }

  #sort(lines: readonly RejectedLine[], input: Uint8Array) {
    const undecoded: UndecodedRow[] = [];
    const rejected: Rejection[] = [];
    for (const { rejection, start, end } of lines) {
      if (this.#options.invalid !== 'dead-letter') {
        this.stoppedBy = rejection;
        break;
      }
      const { code, message } = rejection;
      undecoded.push({ raw: input.slice(start, end), code, message });
      if (rejected.length < limits.rejectionsListedMax) rejected.push(rejection);
    }
    return { undecoded, rejected };
  }
}

/** The input's chunks; throws what `work` rejects with, also while no chunk comes. */
async function* unlessFailed(input: AsyncIterable<Uint8Array>, work: () => Promise<void>) {
  const chunks = input[Symbol.asyncIterator]();
  try {
    for (;;) {
      const failed = new Promise<never>((_, reject) => {
        work().catch(reject);
      });
      const { done, value } = await Promise.race([chunks.next(), failed]);
      if (done) return;
      yield value;
    }
  } finally {
    // Not waited for: who is asked for a chunk and has none does not hear of it.
    void Promise.resolve(chunks.return?.()).catch(() => undefined);
  }
}

/** The input behind its first `count` bytes, which an earlier run has journaled. */
export async function* skipBytes(input: AsyncIterable<Uint8Array>, count: number) {
  let left = count;
  for await (const chunk of input) {
    if (left >= chunk.length) left -= chunk.length;
    else {
      yield left === 0 ? chunk : chunk.subarray(left);
      left = 0;
    }
  }
}
