// NDJSON and JSON: finds the lines, or the elements of one array, and hands each to the row
// decoder.
import { isUtf8 } from 'node:buffer';
import type { Problem } from './cell.ts';
import { FastLines } from './json-fast.ts';
import { JsonRow } from './json-row.ts';
import { JsonScanner } from './json-scan.ts';
import { badUtf8, hasMark, Progress, tooLong, withoutCutCharacter } from './lines.ts';
import type { RowBuffer } from './row-buffer.ts';
import type { RowEncoder } from './row-encoder.ts';
import type { ReadOptions, ReadResult, RowRules } from './rows.ts';

const newline = 0x0a;
const cutOff = 'the input ends in the middle of the row';

export class JsonReader {
  readonly #rules: RowRules;
  readonly #row: RowEncoder;
  readonly #scanner = new JsonScanner();
  readonly #object: JsonRow;
  readonly #fast: FastLines;

  constructor(rules: RowRules, row: RowEncoder) {
    this.#rules = rules;
    this.#row = row;
    this.#object = new JsonRow(row.table, this.#scanner, row);
    this.#fast = new FastLines(rules, row, this.#object);
  }

  /** See RowReader.ndjson. */
  lines(input: Uint8Array, into: RowBuffer, options: ReadOptions): ReadResult {
    const progress = new Progress(options);
    this.#row.nextTurn();
    if (progress.line === 1 && hasMark(input)) progress.at = 3;
    if (options.skipping && !this.#skip(input, progress)) return progress.result();
    this.#fast.begin(input);
    while (progress.at < input.length && progress.isOpen(into)) {
      if (this.#fast.advance(into, progress)) continue;
      if (!this.#nextLine(input, into, progress)) break;
    }
    this.#fast.end();
    return progress.result();
  }

  /** Goes past the end of a line that was refused before its end was seen. */
  #skip(input: Uint8Array, progress: Progress): boolean {
    const end = input.indexOf(newline);
    progress.at = end < 0 ? input.length : end + 1;
    progress.skipping = end < 0 && !progress.isLast && 'plain';
    if (!progress.skipping) progress.line++;
    return end >= 0;
  }

  /** Reads one line; false where it is left for a later call. */
  #nextLine(input: Uint8Array, into: RowBuffer, progress: Progress): boolean {
    const { at } = progress;
    const found = input.indexOf(newline, at);
    const isWhole = found >= 0;
    const end = isWhole ? found : input.length;
    const { lineBytesMax } = this.#rules;
    if (end - at > lineBytesMax) {
      if (!progress.reject(tooLong(lineBytesMax), end)) return false;
      progress.skipping = !isWhole && !progress.isLast && 'plain';
    } else {
      if (!isWhole && !progress.isLast) return false;
      const problem = this.#line(input, into, { start: at, end, isWhole });
      if (problem && !progress.reject(problem, end)) return false;
    }
    progress.at = isWhole ? end + 1 : end;
    if (!progress.skipping) progress.line++;
    return true;
  }

  #line(
    input: Uint8Array,
    into: RowBuffer,
    line: { start: number; end: number; isWhole: boolean },
  ): Problem | null {
    const { start, isWhole } = line;
    const end = isWhole ? line.end : withoutCutCharacter(input, start, line.end);
    if (!isUtf8(input.subarray(start, end))) return badUtf8;
    const scanner = this.#scanner;
    scanner.begin(input, start, end);
    scanner.space();
    if (scanner.at === line.end) return null;
    if (this.#object.read()) {
      scanner.space();
      if (scanner.at === line.end) {
        const problem = this.#row.finish(into);
        if (!problem && isWhole) this.#fast.learn(start, line.end + 1);
        return problem;
      }
      scanner.fail('expected the end of the line behind the object');
    }
    return this.#syntaxProblem(!isWhole);
  }

  #syntaxProblem(canBeCut: boolean): Problem {
    const { problem, isCut } = this.#scanner;
    if (canBeCut && isCut) return { code: 'cut-off', message: cutOff, at: this.#scanner.end };
    return problem ?? { code: 'bad-json', message: 'expected an object' };
  }

  /** See RowReader.json. */
  document(
    input: Uint8Array,
    into: RowBuffer,
    options: Pick<ReadOptions, 'rejectedMax'>,
  ): ReadResult {
    const progress = new Progress(options);
    this.#row.nextTurn();
    const scanner = this.#scanner;
    scanner.begin(input, hasMark(input) ? 3 : 0, withoutCutCharacter(input, 0, input.length));
    scanner.space();
    const isArray = scanner.peek() === 0x5b;
    if (isArray) {
      scanner.at++;
      scanner.space();
    }
    let isSound = scanner.at < scanner.end || isArray;
    if (isSound && isArray && scanner.peek() === 0x5d) scanner.at++;
    else if (isSound) isSound = this.#elements(into, progress, isArray);
    if (isSound) {
      scanner.space();
      if (scanner.at < input.length) {
        progress.at = scanner.at;
        scanner.fail('expected the end behind the value');
        this.#rejectRest(progress);
      }
    }
    progress.at = input.length;
    return progress.result();
  }

  /** The objects of an array up to its end, or the only object; false behind a syntax error. */
  #elements(into: RowBuffer, progress: Progress, isArray: boolean): boolean {
    const scanner = this.#scanner;
    for (;;) {
      progress.at = scanner.at;
      const isObject = scanner.peek() === 0x7b;
      if (!(isObject ? this.#object.read() : scanner.value())) return this.#rejectRest(progress);
      const { at } = scanner;
      const problem = this.#element(into, progress.at, isObject);
      if (problem) progress.reject(problem, at, 0);
      progress.line++;
      if (!isArray) return true;
      if (!progress.isOpen(into)) return false;
      scanner.space();
      const next = scanner.peek();
      progress.at = at;
      if (next !== 0x2c && next !== 0x5d) {
        scanner.fail('expected a comma or the end of the array');
        return this.#rejectRest(progress);
      }
      scanner.at++;
      if (next === 0x5d) return true;
      scanner.space();
    }
  }

  #element(into: RowBuffer, start: number, isObject: boolean): Problem | null {
    const { bytes, at } = this.#scanner;
    if (!isUtf8(bytes.subarray(start, at))) return badUtf8;
    if (!isObject) return { code: 'bad-json', message: 'expected an object', at: start };
    return this.#row.finish(into);
  }

  /** The input from `progress.at` on cannot be read. */
  #rejectRest(progress: Progress): false {
    const { bytes, end } = this.#scanner;
    const isText = isUtf8(bytes.subarray(progress.at, end));
    progress.reject(isText ? this.#syntaxProblem(true) : badUtf8, bytes.length, 0);
    return false;
  }
}
