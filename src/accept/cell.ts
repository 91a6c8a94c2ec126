// One value on its way into a tuple: where its bytes stand and what the input called them. JSON,
// CSV and objects all end here, so that each column type is checked and encoded in one place
// (values.ts).
import type { RowCode } from '../errors.ts';
import type { RowBuffer } from './row-buffer.ts';

/** What the input said the value is. `field`: text of CSV, which may mean any type. */
export const cellKind = {
  null: 1,
  bool: 2,
  number: 3,
  text: 4,
  /** Valid JSON text, whatever value it holds. */
  json: 5,
  field: 6,
  binary: 7,
} as const;
export type CellKind = (typeof cellKind)[keyof typeof cellKind];

const nothing = new Uint8Array(0);

/** `bool` and `number` hold the literal, `text` the decoded UTF-8 without quotes. */
export class Cell {
  kind: CellKind = cellKind.null;
  bytes: Uint8Array = nothing;
  start = 0;
  end = 0;
  /** The row that last provided this cell; see RowEncoder. */
  row = 0;

  set(kind: CellKind, bytes: Uint8Array, range: { start: number; end: number }): void {
    this.kind = kind;
    this.bytes = bytes;
    this.start = range.start;
    this.end = range.end;
  }

  setText(kind: CellKind, text: string): void {
    const bytes = Buffer.from(text);
    this.kind = kind;
    this.bytes = bytes;
    this.start = 0;
    this.end = bytes.length;
  }
}

/** Why a value or a line is refused. The message never holds the value. */
export interface Problem {
  readonly code: RowCode;
  readonly message: string;
  readonly column?: string;
  /** The byte within the input at which a syntax error was met. */
  readonly at?: number;
}

/** Where encoders write: the buffer, and the place behind its last finished row. */
export class Output {
  buffer: RowBuffer;
  at = 0;

  constructor(buffer: RowBuffer) {
    this.buffer = buffer;
  }

  /** Writes a field's length and returns the place of its bytes, which the caller fills. */
  field(length: number): number {
    const at = this.at;
    this.buffer.reserve(at, 4 + length);
    this.buffer.view.setInt32(at, length);
    this.at = at + 4 + length;
    return at + 4;
  }

  /** A 64-bit field out of its two halves. */
  field64(high: number, low: number): void {
    const at = this.field(8);
    this.buffer.view.setInt32(at, high);
    this.buffer.view.setInt32(at + 4, low);
  }

  copy(bytes: Uint8Array, start: number, end: number): void {
    const at = this.field(end - start);
    const to = this.buffer.bytes;
    if (end - start > 32) to.set(bytes.subarray(start, end), at);
    else for (let i = start; i < end; i++) to[at + i - start] = bytes[i] ?? 0;
  }

  null(): void {
    this.buffer.reserve(this.at, 4);
    this.buffer.view.setInt32(this.at, -1);
    this.at += 4;
  }
}

/** Checks a cell against its column and writes the field; null when it is written. */
export type Encode = (cell: Cell, out: Output) => Problem | null;
