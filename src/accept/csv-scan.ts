// CSV records out of bytes: where fields begin and end. RFC 4180: a quoted field may hold
// delimiters, newlines and doubled quotes; an unquoted one holds no quote. Lines end in LF or CRLF.

const quote = 0x22;
const newline = 0x0a;
const carriageReturn = 0x0d;

/**
 * - record: its fields are known
 * - bad: quotes where none may be; `message` says where
 * - more: the input ends before the record does
 */
export type RecordState = 'record' | 'bad' | 'more';

export class CsvScanner {
  readonly #delimiter: number;
  /** The next record's first byte; after `bad`, the line behind the fault. */
  at = 0;
  /** Behind the last byte of the record last read, without its line end. */
  end = 0;
  /** How many newlines the record had, its own included. */
  newlines = 0;
  /** Whether the record's own newline was there. */
  isTerminated = false;
  /** Whether `more` was met inside quotes. */
  inQuotes = false;
  message = '';
  fields = 0;
  starts = new Int32Array(16);
  ends = new Int32Array(16);
  /** Per field: 0 plain, 1 quoted, 2 quoted with doubled quotes inside. */
  quoting = new Uint8Array(16);

  constructor(delimiter: number) {
    this.#delimiter = delimiter;
  }

  /**
   * Reads the record at `at`. With `isLast` the input's end ends the record, but not a quoted
   * field.
   */
  next(input: Uint8Array, isLast: boolean): RecordState {
    this.fields = 0;
    this.newlines = 0;
    this.inQuotes = false;
    this.isTerminated = false;
    let at = this.at;
    for (;;) {
      const from = at;
      at = input[at] === quote ? this.#quoted(input, at) : this.#plain(input, at);
      if (at < 0) return 'more';
      const byte = input[at];
      if (byte === quote) return this.#bad(input, at, 'a quote inside an unquoted field');
      if (byte === this.#delimiter) {
        at++;
        continue;
      }
      if (at >= input.length && !isLast) return 'more';
      let lineEnd = at;
      if (byte === carriageReturn) at++;
      else if (lineEnd > from && input[lineEnd - 1] === carriageReturn) lineEnd--;
      if (at >= input.length) return isLast ? this.#end(lineEnd, input.length) : 'more';
      if (input[at] !== newline) {
        return this.#bad(input, at, 'something other than a delimiter behind a closing quote');
      }
      this.newlines++;
      this.isTerminated = true;
      return this.#end(lineEnd, at + 1);
    }
  }

  #end(end: number, next: number): 'record' {
    this.end = end;
    this.at = next;
    const last = this.fields - 1;
    if (this.quoting[last] === 0) this.ends[last] = end;
    return 'record';
  }

  #bad(input: Uint8Array, at: number, message: string): 'bad' {
    this.message = message;
    const end = input.indexOf(newline, at);
    this.isTerminated = end >= 0;
    if (this.isTerminated) this.newlines++;
    this.end = this.isTerminated ? end : input.length;
    this.at = this.isTerminated ? end + 1 : input.length;
    return 'bad';
  }

  /**
   * An unquoted field; returns the place of what ends it. A CR before the newline is cut off later.
   */
  #plain(input: Uint8Array, start: number): number {
    const delimiter = this.#delimiter;
    let at = start;
    for (; at < input.length; at++) {
      const byte = input[at];
      if (byte === delimiter || byte === newline || byte === quote) break;
    }
    this.#field(start, at, 0);
    return at;
  }

  /** A quoted field; returns the place behind its closing quote, -1 where that is not there. */
  #quoted(input: Uint8Array, start: number): number {
    let quoting = 1;
    for (let at = start + 1; at < input.length; at++) {
      const byte = input[at];
      if (byte === newline) this.newlines++;
      if (byte !== quote) continue;
      if (input[at + 1] !== quote) {
        this.#field(start + 1, at, quoting);
        return at + 1;
      }
      quoting = 2;
      at++;
    }
    this.inQuotes = true;
    return -1;
  }

  #field(start: number, end: number, quoting: number): void {
    if (this.fields === this.starts.length) this.#grow();
    this.starts[this.fields] = start;
    this.ends[this.fields] = end;
    this.quoting[this.fields] = quoting;
    this.fields++;
  }

  #grow(): void {
    const { starts, ends, quoting } = this;
    this.starts = new Int32Array(starts.length * 2);
    this.ends = new Int32Array(starts.length * 2);
    this.quoting = new Uint8Array(starts.length * 2);
    this.starts.set(starts);
    this.ends.set(ends);
    this.quoting.set(quoting);
  }
}
