// One JSON object into the cells of a row: complete, for any order of names and any spelling of
// values. json-fast.ts does the same for the shape that a stream's rows usually have.
import { type Cell, cellKind } from './cell.ts';
import type { Table } from './columns.ts';
import { type JsonScanner, unescaped } from './json-scan.ts';
import type { RowEncoder } from './row-encoder.ts';

export class JsonRow {
  /** The places of the columns of the row last read, in the order of its names. */
  readonly order: number[] = [];
  /** Where their values begin and end. */
  readonly valueStarts: number[] = [];
  readonly valueEnds: number[] = [];
  readonly #scanner: JsonScanner;
  readonly #row: RowEncoder;
  readonly #names: Buffer[];
  readonly #isJson: boolean[];

  constructor(table: Table, scanner: JsonScanner, row: RowEncoder) {
    this.#scanner = scanner;
    this.#row = row;
    this.#names = table.columns.map((column) => Buffer.from(column.name));
    this.#isJson = table.columns.map(({ type }) => type.kind === 'json' || type.kind === 'jsonb');
  }

  /** Reads an object from the scanner's place. False for a syntax error, which the scanner has. */
  read(): boolean {
    const scanner = this.#scanner;
    this.#row.begin();
    this.order.length = 0;
    this.valueStarts.length = 0;
    this.valueEnds.length = 0;
    if (scanner.peek() !== 0x7b) return scanner.fail('expected an object');
    scanner.at++;
    scanner.space();
    if (scanner.peek() === 0x7d) {
      scanner.at++;
      return true;
    }
    let next = 0;
    for (;;) {
      if (!scanner.name()) return false;
      const place = this.#place(next);
      next = place + 1;
      if (!scanner.value()) return false;
      if (place >= 0) this.#provide(place);
      scanner.space();
      const byte = scanner.peek();
      if (byte !== 0x2c && byte !== 0x7d) {
        return scanner.fail('expected a comma or the end of the object');
      }
      scanner.at++;
      if (byte === 0x7d) return true;
      scanner.space();
    }
  }

  /** The column that the scanned name means; `likely` is tried first. */
  #place(likely: number): number {
    const { bytes, valueStart, valueEnd, isEscaped } = this.#scanner;
    const name = this.#names[likely];
    if (name && !isEscaped && name.length === valueEnd - valueStart - 2) {
      let i = 0;
      while (i < name.length && name[i] === bytes[valueStart + 1 + i]) i++;
      if (i === name.length && this.#row.table.columns[likely]?.writable) return likely;
    }
    const inside = unescaped(bytes, valueStart + 1, valueEnd - 1);
    return this.#row.placeOf(Buffer.from(inside.buffer, 0, inside.length).toString());
  }

  #provide(place: number): void {
    const cell = this.#row.provide(place);
    if (cell === null) return;
    this.order.push(place);
    this.valueStarts.push(this.#scanner.valueStart);
    this.valueEnds.push(this.#scanner.valueEnd);
    this.setCell(cell, place, this.#scanner);
  }

  /** The value that `scanner` has just read, for the column. */
  setCell(cell: Cell, place: number, scanner: JsonScanner): void {
    const { bytes, kind, valueStart, valueEnd, isEscaped } = scanner;
    if (this.#isJson[place] && kind !== cellKind.null) {
      cell.set(cellKind.json, bytes, { start: valueStart, end: valueEnd });
    } else if (kind !== cellKind.text) {
      cell.set(kind, bytes, { start: valueStart, end: valueEnd });
    } else if (isEscaped) {
      const text = unescaped(bytes, valueStart + 1, valueEnd - 1);
      cell.set(kind, text, { start: 0, end: text.length });
    } else cell.set(kind, bytes, { start: valueStart + 1, end: valueEnd - 1 });
  }
}
