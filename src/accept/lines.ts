// What the readers share: how a problem becomes a rejection of a line, and how reading goes on.
import type { Problem } from './cell.ts';
import type { RowBuffer } from './row-buffer.ts';
import type { ReadOptions, ReadResult, RejectedLine, Skipping } from './rows.ts';

/** Where one call of a reader stands in its input. */
export class Progress {
  at = 0;
  line: number;
  skipping: Skipping = false;
  readonly isLast: boolean;
  readonly #firstLine: number;
  readonly #keptBytesMax: number;
  readonly #bytesMax: number;
  readonly #rejectedMax: number;
  readonly #rejected: RejectedLine[] = [];
  #isStopped = false;

  constructor(options: ReadOptions) {
    this.#firstLine = options.firstLine ?? 1;
    this.line = this.#firstLine;
    this.isLast = options.isLast ?? true;
    this.#keptBytesMax = options.keptBytesMax ?? Number.POSITIVE_INFINITY;
    this.#bytesMax = options.bytesMax ?? Number.POSITIVE_INFINITY;
    this.#rejectedMax = options.rejectedMax ?? Number.POSITIVE_INFINITY;
  }

  get bytesMax(): number {
    return this.#bytesMax;
  }

  isOpen(into: RowBuffer): boolean {
    const isFull = this.#rejected.length >= this.#rejectedMax;
    return !this.#isStopped && !isFull && into.length < this.#bytesMax;
  }

  /** Notes the refused line from `at` to `end`; false where reading stops before it. */
  reject(problem: Problem, end: number, offsetFrom = this.at): boolean {
    const { code, message, column, at } = problem;
    const rejection = { line: this.line, column: column ?? null, code, message };
    this.#rejected.push({
      rejection: at === undefined ? rejection : { ...rejection, offset: at - offsetFrom },
      start: this.at,
      end,
    });
    this.#isStopped = end - this.at > this.#keptBytesMax;
    return !this.#isStopped;
  }

  result(): ReadResult {
    return {
      consumed: this.at,
      lines: this.line - this.#firstLine,
      rejected: this.#rejected,
      skipping: this.skipping,
    };
  }
}

export function tooLong(bytesMax: number): Problem {
  return { code: 'line-too-long', message: `the line is longer than ${bytesMax} bytes` };
}

export const badUtf8: Problem = { code: 'bad-utf8', message: 'the bytes are not UTF-8' };

/** Whether the input begins with a byte order mark, which is no part of its first line. */
export const hasMark = (input: Uint8Array): boolean =>
  input[0] === 0xef && input[1] === 0xbb && input[2] === 0xbf;

/** The end without a character that is cut in the middle. */
export function withoutCutCharacter(bytes: Uint8Array, start: number, end: number): number {
  for (let back = 1; back <= 3 && end - back >= start; back++) {
    const byte = bytes[end - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? end - back : end;
  }
  return end;
}
