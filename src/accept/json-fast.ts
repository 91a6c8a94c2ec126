// The fast way for NDJSON: learns the shapes that a stream's rows have, makes a decoder for each
// (json-code.ts), and lets it run over whole stretches of input. It refuses no row: one that it
// does not take is left to the slow path, which is complete and gives the same bytes.
//
// A decoder reads a little beyond the row, so it never gets the last bytes of the input itself:
// those lines are copied to where bytes may follow.
import { isUtf8 } from 'node:buffer';
import { compileFunction } from 'node:vm';
import { dayMax, dayMin, daysOf, isDate } from './calendar.ts';
import { Cell } from './cell.ts';
import { decoderCode, type Shape, type ShapeRules, slackBytes } from './json-code.ts';
import type { JsonRow } from './json-row.ts';
import { JsonScanner } from './json-scan.ts';
import { laneOfHash, laneSeed, mix } from './lanes.ts';
import type { Progress } from './lines.ts';
import { type ColumnSet, RowBuffer } from './row-buffer.ts';
import type { RowEncoder } from './row-encoder.ts';
import type { RowRules } from './rows.ts';

const newline = 0x0a;
const shapesMax = 8;
/**
 * Rows of one shape in a row before it gets a decoder; where it would take another's place, more.
 */
const learnRowsMin = 2;
const replaceRowsMin = 256;
const literalBytesMax = 192;
/** How far beyond a row's end a decoder may look. */
const paddingBytes = literalBytesMax + slackBytes;
/** The last lines are copied only where they are short. */
const tailBytesMax = 64 * 1024;

const status = { done: 0, odd: 1, full: 2 } as const;

const empty = new Uint8Array(0);
const emptyView = new DataView(new ArrayBuffer(0));

/** What a decoder works on, and the pieces that are not worth generating. */
class FastState {
  src: Uint8Array = empty;
  dv: DataView = emptyView;
  at = 0;
  end = 0;
  out: Uint8Array = empty;
  odv: DataView = emptyView;
  o = 0;
  ends: Int32Array = new Int32Array(0);
  sets: Uint16Array = new Uint16Array(0);
  lanes: Uint16Array = new Uint16Array(0);
  count = 0;
  set = 0;
  turn = 0;
  bytesMax = 0;
  /** Where the fields of the row begin, as they came; and behind the last. */
  readonly starts: Int32Array;
  readonly dayMin = dayMin;
  readonly dayMax = dayMax;
  into = new RowBuffer();
  /** Places in `starts` in the order of the table. */
  tableOrder: readonly number[] = [];
  readonly #row: RowEncoder;
  readonly #object: JsonRow;
  readonly #scanner = new JsonScanner();
  readonly #cell = new Cell();
  #scratch = new Uint8Array(1024);

  constructor(row: RowEncoder, object: JsonRow) {
    this.#row = row;
    this.#object = object;
    this.starts = new Int32Array(row.table.columns.length + 1);
  }

  load(into: RowBuffer): void {
    this.into = into;
    this.out = into.bytes;
    this.odv = into.view;
    this.ends = into.ends;
    this.sets = into.sets;
    this.lanes = into.lanes;
  }

  /** Any value by its column's encoder: the place behind the value, -1 to give the row up. */
  field(place: number, p: number, o: number): number {
    const scanner = this.#scanner;
    scanner.begin(this.src, p, this.end);
    if (!scanner.value()) return -1;
    const { valueStart, valueEnd } = scanner;
    const value = this.src.subarray(valueStart, valueEnd);
    // The stretch has more lines: a value ends in its own.
    if (!isUtf8(value) || value.includes(newline)) return -1;
    this.#object.setCell(this.#cell, place, scanner);
    const at = this.#row.fieldAt(this.#cell, this.into, { place, at: o });
    this.out = this.into.bytes;
    this.odv = this.into.view;
    this.o = at;
    return at < 0 ? -1 : valueEnd;
  }

  /** The day that "YYYY-MM-DD" at `p` names, where a T or a space follows; NaN otherwise. */
  day(src: Uint8Array, p: number): number {
    const digit = (i: number): number => {
      const value = (src[p + i] ?? 0) - 0x30;
      return value >= 0 && value <= 9 ? value : Number.NaN;
    };
    const year = digit(0) * 1000 + digit(1) * 100 + digit(2) * 10 + digit(3);
    const month = digit(5) * 10 + digit(6);
    const day = digit(8) * 10 + digit(9);
    const isParted = src[p + 4] === 0x2d && src[p + 7] === 0x2d;
    const isTime = src[p + 10] === 0x54 || src[p + 10] === 0x20;
    if (!isParted || !isTime || Number.isNaN(year + month + day)) return Number.NaN;
    return isDate(year, month, day) ? daysOf(year, month, day) : Number.NaN;
  }

  /** The end of the characters beyond ASCII that begin at `p`; -1 where they are not UTF-8. */
  utf8(src: Uint8Array, p: number, end: number): number {
    let at = p;
    while (at < end && (src[at] ?? 0) >= 0x80) at++;
    return isUtf8(src.subarray(p, at)) ? at : -1;
  }

  /** Brings the fields of the row just decoded into the order of the table. */
  reorder(out: Uint8Array): void {
    const fields = this.tableOrder.length;
    const from = this.starts[0] ?? 0;
    const end = this.starts[fields] ?? 0;
    if (this.#scratch.length < end - from) this.#scratch = new Uint8Array((end - from) * 2);
    const scratch = this.#scratch;
    scratch.set(out.subarray(from, end));
    let to = from;
    for (const i of this.tableOrder) {
      const fieldEnd = (this.starts[i + 1] ?? 0) - from;
      for (let at = (this.starts[i] ?? 0) - from; at < fieldEnd; at++) out[to++] = scratch[at] ?? 0;
    }
  }
}

interface Decoder {
  readonly name: string;
  readonly set: ColumnSet;
  readonly tableOrder: readonly number[];
  readonly run: (state: FastState) => number;
}

/**
 * Lines of the input in memory that a decoder may read; `base` is where `bytes` begin in the input.
 */
interface Stretch {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly base: number;
  readonly end: number;
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export class FastLines {
  readonly #row: RowEncoder;
  readonly #object: JsonRow;
  readonly #state: FastState;
  readonly #rules: ShapeRules;
  /** The decoder that served last comes first. */
  readonly #decoders: Decoder[] = [];
  #candidate = '';
  #candidateRows = 0;
  #input: Uint8Array = empty;
  #stretch: Stretch | null = null;
  #isTail = false;

  constructor(rules: RowRules, row: RowEncoder, object: JsonRow) {
    this.#row = row;
    this.#object = object;
    this.#state = new FastState(row, object);
    this.#rules = {
      columns: row.table.columns,
      lineBytesMax: rules.lineBytesMax,
      rowBytesMax: row.table.rowBytesMax,
      isNullable: (place) => row.isNullable(place),
      isNonZero: (place) => rules.nonZero.includes(row.table.columns[place]?.name ?? ''),
      lanes: row.lanes,
      laneColumns: row.laneColumns,
    };
  }

  begin(input: Uint8Array): void {
    this.#input = input;
    this.#stretch = null;
    this.#isTail = false;
  }

  /** Lets the input go. */
  end(): void {
    this.begin(empty);
    this.#state.src = empty;
    this.#state.dv = emptyView;
    this.#state.load(nothing);
  }

  /** Decodes lines from `progress.at` on; false where the next one is not for a decoder. */
  advance(into: RowBuffer, progress: Progress): boolean {
    if (this.#decoders.length === 0) return false;
    const stretch = this.#stretchAt(progress.at);
    if (!stretch) return false;
    for (let i = 0; i < this.#decoders.length; i++) {
      const decoder = this.#decoders[i];
      if (!decoder || !this.#run(decoder, stretch, { into, progress })) continue;
      if (i > 0) {
        this.#decoders.splice(i, 1);
        this.#decoders.unshift(decoder);
      }
      return true;
    }
    return false;
  }

  /** Runs one decoder until it meets a row that it does not take; false where it took none. */
  #run(
    decoder: Decoder,
    stretch: Stretch,
    { into, progress }: { into: RowBuffer; progress: Progress },
  ): boolean {
    const state = this.#state;
    const rows = into.count;
    const sets = into.columnSets.length;
    state.src = stretch.bytes;
    state.dv = stretch.view;
    state.at = progress.at - stretch.base;
    state.end = stretch.end;
    state.set = into.setIndex(decoder.set);
    state.turn = this.#row.turn;
    state.tableOrder = decoder.tableOrder;
    state.bytesMax = Math.min(progress.bytesMax, 2 ** 31 - 1);
    state.count = rows;
    state.o = into.length;
    for (;;) {
      state.load(into);
      const result = decoder.run(state);
      into.count = state.count;
      into.length = state.o;
      if (result !== status.full) break;
      // One or the other was full: to double the bytes for want of rows would take any memory.
      if (into.count === into.ends.length) into.reserveRow();
      else into.reserve(into.length, into.bytes.length);
    }
    progress.at = state.at + stretch.base;
    progress.line += into.count - rows;
    if (into.count === rows) into.cutSets(sets);
    return into.count > rows;
  }

  /**
   * The stretch of whole lines that begins at or before `at`; null where only the slow path may go.
   */
  #stretchAt(at: number): Stretch | null {
    const input = this.#input;
    if (!this.#stretch) {
      const last = input.length > paddingBytes ? input.length - paddingBytes : -1;
      const end = last < 0 ? 0 : input.lastIndexOf(newline, last) + 1;
      this.#stretch = { bytes: input, view: viewOf(input), base: 0, end };
    }
    const { base, end } = this.#stretch;
    if (at < base + end) return this.#stretch;
    if (this.#isTail) return null;
    this.#isTail = true;
    const tailEnd = input.lastIndexOf(newline) + 1;
    if (tailEnd <= at || tailEnd - at > tailBytesMax) return null;
    const bytes = new Uint8Array(tailEnd - at + paddingBytes);
    bytes.set(input.subarray(at, tailEnd));
    this.#stretch = { bytes, view: viewOf(bytes), base: at, end: tailEnd - at };
    return this.#stretch;
  }

  /**
   * A whole line from `start` to behind its newline was taken by the slow path: remembers its
   * shape.
   */
  learn(start: number, end: number): void {
    const { order, valueStarts, valueEnds } = this.#object;
    const literals: Uint8Array[] = [];
    let from = start;
    for (let i = 0; i <= order.length; i++) {
      const to = valueStarts[i] ?? end;
      if (to - from > literalBytesMax) return;
      literals.push(this.#input.slice(from, to));
      from = valueEnds[i] ?? end;
    }
    const name = Buffer.concat(literals).toString('latin1');
    if (name !== this.#candidate) {
      this.#candidate = name;
      this.#candidateRows = 0;
    }
    this.#candidateRows++;
    const isFull = this.#decoders.length === shapesMax;
    if (this.#candidateRows < (isFull ? replaceRowsMin : learnRowsMin)) return;
    this.#candidateRows = 0;
    if (this.#decoders.some((decoder) => decoder.name === name)) return;
    if (isFull) this.#decoders.pop();
    this.#decoders.unshift(this.#make(name, { order: [...order], literals }));
  }

  #make(name: string, shape: Shape): Decoder {
    const code = decoderCode(shape, this.#rules);
    // Not `new Function`: a file name shows in profiles, and a process that bans eval may still
    // run.
    const make = compileFunction(code, ['seed', 'mix', 'laneOfHash', 'mixers'], {
      filename: `holdfast:decoder:${this.#row.table.name}`,
    }) as (...parts: unknown[]) => Decoder['run'];
    const tableOrder = shape.order
      .map((place, i) => ({ place, i }))
      .sort((a, b) => a.place - b.place);
    return {
      name,
      set: tableOrder.map(({ place }) => place),
      tableOrder: tableOrder.map(({ i }) => i),
      run: make(laneSeed, mix, laneOfHash, this.#row.laneMixers),
    };
  }
}

const nothing = new RowBuffer(0, 1);
