// The input of a load: chunks of bytes to parts of whole lines. Holds what is unfinished of a line
// between chunks, and knows whether all has come that the load was begun with.
import { letterBytesMax } from './accept/columns.ts';
import type { RowBuffer } from './accept/row-buffer.ts';
import type {
  CsvReader,
  ReadOptions,
  ReadResult,
  RejectedLine,
  RowReader,
  Skipping,
} from './accept/rows.ts';
import { SpareRows } from './accept/spare-rows.ts';
import { HoldfastError, type Rejection } from './errors.ts';
import type { UndecodedRow } from './journal/undecoded.ts';
import { limits } from './limits.ts';
import type { RunningDigest } from './load-prefix.ts';
import type { OpenStream, Taken } from './stream.ts';
import type { LoadOptions, LoadState } from './types.ts';

/** Bytes of tuples that one part may hold, and lines that did not decode. */
const partBytesMax = 1024 * 1024;
const partRejectedMax = 256;
/** One part is read while the one before is on its way to the disk. */
const sparesBound = { count: 2, bytesMax: 3 * partBytesMax };

export interface Progress {
  offset: number;
  lines: number;
  accepted: number;
  milliseconds: number;
  columns: readonly string[] | undefined;
  skipping: Skipping;
  /** Undefined where an earlier version took some of the input. */
  readonly digest: RunningDigest | undefined;
}

export interface LoadTaken extends Taken {
  readonly rejected: readonly Rejection[];
}

/** A load whose bytes are sent from there on. */
export interface Sent extends Pick<LoadState, 'load' | 'offset'> {
  readonly stream: OpenStream;
  readonly options: LoadOptions;
}

/** The bytes of a load that begin where it stands, and are as many as it was begun with. */
export class SourceBytes {
  readonly #size: number | undefined;
  #received: number;

  /** Throws where they begin elsewhere: somebody else has sent some meanwhile. */
  constructor({ offset, options }: Sent, standsAt: number) {
    this.#size = options.source?.size;
    this.#received = offset;
    if (offset === standsAt) return;
    const message = `The load stands at byte ${standsAt}, and was to be sent from ${offset} on.`;
    throw new HoldfastError('HF_LOAD_MOVED', message);
  }

  add({ length }: Uint8Array): void {
    this.#received += length;
    if (this.#size === undefined || this.#received <= this.#size) return;
    const message = `More bytes came than the ${this.#size} that the load was begun with.`;
    throw new HoldfastError('HF_USAGE', message);
  }

  end(): void {
    if (this.#size === undefined || this.#received === this.#size) return;
    const message = `The input ended at byte ${this.#received} of ${this.#size}.`;
    throw new HoldfastError('HF_BODY_CUT', message);
  }
}

/** Turns chunks of input into parts; keeps what is unfinished of a line between chunks. */
export class LoadReading {
  readonly #stream: OpenStream;
  readonly #options: LoadOptions;
  readonly #progress: Progress;
  #reader: RowReader;
  #csv: CsvReader | undefined;
  readonly #spares = new SpareRows(sparesBound);
  /**
   * What came and was not read: the beginning of a line. Copies, because the chunks are the
   * caller's again; `slice` of a Buffer makes none.
   */
  #rest: Uint8Array[] = [];
  #held = 0;
  /** Of a line that did not end, twice as much is wanted before it is looked at again. */
  #wanted = 0;
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

  /** Bytes that wait for the end of their line. */
  get held(): number {
    return this.#held;
  }

  #hold(rest: readonly Uint8Array[]): void {
    this.#rest = [...rest];
    this.#held = rest.reduce((bytes, { length }) => bytes + length, 0);
  }

  *take(chunk: Uint8Array, isLast: boolean): Generator<LoadTaken> {
    if (this.#held + chunk.length < this.#wanted && !isLast) {
      this.#hold([...this.#rest, new Uint8Array(chunk)]);
      return;
    }
    let input = this.#rest.length === 0 ? chunk : Buffer.concat([...this.#rest, chunk]);
    const { length } = input;
    this.#held = length;
    while (!this.stoppedBy) {
      const before = input.length;
      this.#refresh();
      const { tableId: table } = this.#stream;
      const rows = this.#spares.take(Math.min(input.length, partBytesMax), 1024);
      const result = this.#readSome(input, rows, isLast);
      this.#progress.offset += result.consumed;
      this.#progress.digest?.add(input.subarray(0, result.consumed));
      this.#progress.lines += result.lines;
      this.#progress.columns = this.#csv?.columns;
      const { undecoded, rejected } = this.#sort(result.rejected, input);
      input = input.subarray(result.consumed);
      if (rows.count + undecoded.length > 0) yield { rows, table, undecoded, rejected };
      else this.done(rows);
      if (input.length === before || input.length === 0) break;
    }
    this.#hold(input.length > 0 ? [new Uint8Array(input)] : []);
    const isStuck = input.length === length;
    const { lineBytesMax } = this.#reader.rules;
    this.#wanted = isStuck ? Math.min(2 * length, lineBytesMax + 1) : 0;
  }

  /** Nobody reads the rows of a part any more: their memory is used again. */
  done(rows: RowBuffer): void {
    this.#spares.give(rows);
  }

  get #keptBytesMax(): number {
    return this.#options.invalid === 'dead-letter' ? letterBytesMax(this.#reader.table) : -1;
  }

  #readSome(input: Uint8Array, rows: RowBuffer, isLast: boolean): ReadResult {
    const options: ReadOptions = {
      firstLine: this.#progress.lines + 1,
      isLast,
      keptBytesMax: this.#keptBytesMax,
      bytesMax: partBytesMax,
      rejectedMax: partRejectedMax,
      skipping: this.#progress.skipping,
    };
    const result = this.#csv
      ? this.#csv.read(input, rows, options)
      : this.#reader.ndjson(input, rows, options);
    this.#progress.skipping = result.skipping;
    return result;
  }

  #sort(lines: readonly RejectedLine[], input: Uint8Array) {
    const undecoded: UndecodedRow[] = [];
    const rejected: Rejection[] = [];
    for (const { rejection, start, end } of lines) {
      if (end - start > this.#keptBytesMax) {
        this.stoppedBy = rejection;
        break;
      }
      const { code, message } = rejection;
      undecoded.push({ raw: new Uint8Array(input.subarray(start, end)), code, message });
      if (rejected.length < limits.rejectionsListedMax) rejected.push(rejection);
    }
    return { undecoded, rejected };
  }
}

/** Ends a reading from elsewhere; for one reading at a time. */
export class Stop {
  #reason: Error | undefined;
  #tell: (reason: Error) => void = () => undefined;

  /** The first reason counts. */
  stop(reason: Error): void {
    this.#reason ??= reason;
    this.#tell(this.#reason);
  }

  /** Calls at once where it has come to an end already. */
  onStop(tell: (reason: Error) => void): void {
    this.#tell = tell;
    if (this.#reason) tell(this.#reason);
  }
}

/** The input's chunks; throws what `work` or `stop` says, also while no chunk comes. */
export async function* unlessFailed(
  input: AsyncIterable<Uint8Array>,
  { work, stop }: { readonly work: () => Promise<void>; readonly stop: Stop },
) {
  const chunks = input[Symbol.asyncIterator]();
  try {
    for (;;) {
      const failed = new Promise<never>((_, reject) => {
        stop.onStop(reject);
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
