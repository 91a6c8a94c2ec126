// CSV: records to rows by the header, or by given names. An unquoted empty field is null, also
// where the column has a default (a file that has the column gives it); a quoted one is the empty
// string.
import { isUtf8 } from 'node:buffer';
import { HoldfastError } from '../errors.ts';
import { Cell, cellKind, type Problem } from './cell.ts';
import { CsvScanner, type RecordState } from './csv-scan.ts';
import { badUtf8, hasMark, Progress, tooLong } from './lines.ts';
import type { RowBuffer } from './row-buffer.ts';
import type { RowEncoder } from './row-encoder.ts';
import type { CsvOptions, CsvReader, ReadOptions, ReadResult, RowRules } from './rows.ts';

const quote = 0x22;
const newline = 0x0a;

function delimiterOf(text: string): number {
  const code = text.charCodeAt(0);
  if (text.length !== 1 || code > 0x7f || '"\n\r'.includes(text)) {
    throw new HoldfastError('HF_USAGE', 'the CSV delimiter is one ASCII character, not a quote');
  }
  return code;
}

/** The inside of a quoted field, its doubled quotes made single. */
function undouble(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const out = new Uint8Array(end - start);
  let length = 0;
  for (let at = start; at < end; at++) {
    out[length++] = bytes[at] ?? 0;
    if (bytes[at] === quote) at++;
  }
  return out.subarray(0, length);
}

export class CsvInput implements CsvReader {
  readonly #rules: RowRules;
  readonly #row: RowEncoder;
  readonly #scanner: CsvScanner;
  readonly #nulls: readonly Buffer[];
  #columns: readonly string[] | undefined;
  #places: readonly number[] = [];
  #isBegun = false;
  #skipping = false;
  /** Whether the line that is skipped stands inside quotes. */
  #skipsQuoted = false;

  constructor(options: CsvOptions, rules: RowRules, row: RowEncoder) {
    this.#rules = rules;
    this.#row = row;
    this.#scanner = new CsvScanner(delimiterOf(options.delimiter ?? ','));
    this.#nulls = (options.nulls ?? []).map((text) => Buffer.from(text));
    if (options.columns) this.#useColumns(options.columns, 1);
  }

  get columns(): readonly string[] | undefined {
    return this.#columns;
  }

  read(input: Uint8Array, into: RowBuffer, options: ReadOptions = {}): ReadResult {
    const progress = new Progress(options);
    this.#row.nextTurn();
    if (!this.#isBegun) {
      progress.skipping = options.skipping ?? false;
      if (input.length < 3 && !progress.isLast) return progress.result();
      this.#isBegun = true;
      this.#skipping = progress.skipping !== false;
      this.#skipsQuoted = progress.skipping === 'quoted';
      if (progress.line === 1 && hasMark(input)) progress.at = 3;
    }
    if (this.#skipping) this.#skip(input, progress);
    while (progress.at < input.length && progress.isOpen(into)) {
      if (!this.#nextRecord(input, into, progress)) break;
    }
    progress.skipping = this.#skipping && (this.#skipsQuoted ? 'quoted' : 'plain');
    return progress.result();
  }

  #skip(input: Uint8Array, progress: Progress): void {
    let at = 0;
    while (at < input.length && this.#skipping) {
      const byte = input[at++];
      if (byte === quote) this.#skipsQuoted = !this.#skipsQuoted;
      if (byte !== newline) continue;
      progress.line++;
      this.#skipping = this.#skipsQuoted;
    }
    progress.at = at;
  }

  /** Reads one record; false where it is left for a later call. */
  #nextRecord(input: Uint8Array, into: RowBuffer, progress: Progress): boolean {
    const scanner = this.#scanner;
    scanner.at = progress.at;
    const state = scanner.next(input, progress.isLast);
    const isOpen = state === 'more' || (state === 'bad' && !scanner.isTerminated);
    const end = isOpen ? input.length : scanner.end;
    if (end - progress.at > this.#rules.lineBytesMax) {
      if (!progress.reject(tooLong(this.#rules.lineBytesMax), end)) return false;
      this.#skipping = isOpen && !progress.isLast;
      this.#skipsQuoted = scanner.inQuotes;
    } else {
      if (isOpen && !progress.isLast) return false;
      const problem = this.#record(input, into, { state, start: progress.at, progress });
      if (problem && !progress.reject(problem, end)) return false;
    }
    progress.line += scanner.newlines;
    progress.at = isOpen ? input.length : scanner.at;
    return true;
  }

  #record(
    input: Uint8Array,
    into: RowBuffer,
    { state, start, progress }: { state: RecordState; start: number; progress: Progress },
  ): Problem | null {
    const scanner = this.#scanner;
    if (state === 'more') {
      return { code: 'cut-off', message: 'the input ends inside a quoted field' };
    }
    if (state === 'record' && scanner.end === start) return null;
    const isHeader = this.#columns === undefined;
    const expected = this.#places.length;
    if (!isHeader && !scanner.isTerminated && state === 'record' && scanner.fields < expected) {
      const message = `the input ends behind ${scanner.fields} of ${expected} fields`;
      return { code: 'cut-off', message };
    }
    if (!isUtf8(input.subarray(start, scanner.end))) return badUtf8;
    if (state === 'bad') return { code: 'bad-csv', message: scanner.message };
    if (isHeader) {
      this.#header(input, progress.line);
      return null;
    }
    if (scanner.fields !== expected) {
      const message = `the line has ${scanner.fields} fields; expected ${expected}`;
      return { code: 'bad-csv', message };
    }
    return this.#fields(input, into);
  }

  #header(input: Uint8Array, line: number): void {
    const cell = new Cell();
    const names: string[] = [];
    for (let field = 0; field < this.#scanner.fields; field++) {
      this.#setText(cell, input, field);
      names.push(Buffer.from(cell.bytes.subarray(cell.start, cell.end)).toString());
    }
    this.#useColumns(names, line);
  }

  /** Makes `names` the columns of the fields; throws where no line could be read by them. */
  #useColumns(names: readonly string[], line: number): void {
    this.#row.begin();
    const places = names.map((name) => this.#row.placeOf(name));
    for (const place of places) if (place >= 0) this.#row.provide(place);
    const problem = this.#row.columnsProblem();
    if (problem) {
      const { code, message, column } = problem;
      throw new HoldfastError('HF_ROWS_REFUSED', `the columns do not fit: ${message}`, {
        rejected: [{ line, column: column ?? null, code, message }],
      });
    }
    this.#columns = names;
    this.#places = places;
  }

  #fields(input: Uint8Array, into: RowBuffer): Problem | null {
    this.#row.begin();
    for (let field = 0; field < this.#places.length; field++) {
      const cell = this.#row.provide(this.#places[field] ?? -1);
      if (cell) this.#setText(cell, input, field);
    }
    return this.#row.finish(into);
  }

  #setText(cell: Cell, input: Uint8Array, field: number): void {
    const start = this.#scanner.starts[field] ?? 0;
    const end = this.#scanner.ends[field] ?? 0;
    const quoting = this.#scanner.quoting[field];
    if (quoting === 2) {
      const inside = undouble(input, start, end);
      cell.set(cellKind.field, inside, { start: 0, end: inside.length });
    } else cell.set(cellKind.field, input, { start, end });
    if (quoting === 0 && this.#isNull(input, start, end)) cell.kind = cellKind.null;
  }

  #isNull(input: Uint8Array, start: number, end: number): boolean {
    if (start === end) return true;
    return this.#nulls.some(
      (text) => text.length === end - start && text.every((byte, i) => input[start + i] === byte),
    );
  }
}
