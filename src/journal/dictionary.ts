// Gives ids to streams, tables and shapes, and knows which of them a segment has not been told yet.
// Every checkpoint holds all of it, and nothing of it is forgotten: so shapes, which rows bring
// about and not the configuration, have a bound.
import assert from 'node:assert/strict';
import type { Table } from '../accept/columns.ts';
import type { ColumnSet } from '../accept/row-buffer.ts';
import { HoldfastError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { DictionaryNote, ShapeEntry, StreamEntry, TableEntry } from './notes.ts';

/** The shapes of one version of a table: ids by their columns, and their bytes in a checkpoint. */
interface ShapesOf {
  readonly ids: Map<string, number>;
  bytes: number;
}

const nameOf = (set: ColumnSet): string => set.join();
const bytesOf = (entry: ShapeEntry): number => JSON.stringify(entry).length + 1;

export class Dictionary {
  readonly #streams: StreamEntry[] = [];
  readonly #tables: TableEntry[] = [];
  readonly #shapes: ShapeEntry[] = [];
  #fresh: { streams: StreamEntry[]; tables: TableEntry[]; shapes: ShapeEntry[] } = noEntries();
  readonly #shapesOf = new Map<number, ShapesOf>();
  #shapeBytes = 0;
  readonly #shapeBytesMax: number;

  constructor(known?: DictionaryNote, segmentBytes: number = limits.segmentBytes) {
    const { shapeBytesMax, shapeSegmentShareMax } = limits;
    this.#shapeBytesMax = Math.min(shapeBytesMax, segmentBytes * shapeSegmentShareMax);
    if (!known) return;
    this.#streams.push(...known.streams);
    this.#tables.push(...known.tables);
    for (const entry of known.shapes) this.#addShape(entry);
  }

  get streams(): readonly StreamEntry[] {
    return this.#streams;
  }

  /** The stream's entry; made at its first open. Lanes and their rule never change later (P9). */
  stream(name: string, lanes: number, rule: string): StreamEntry {
    const known = this.#streams.find((entry) => entry.name === name);
    if (!known) {
      const entry = { id: this.#streams.length + 1, name, lanes, rule };
      this.#streams.push(entry);
      this.#fresh.streams.push(entry);
      return entry;
    }
    if (known.lanes !== lanes || known.rule !== rule) {
      throw new HoldfastError(
        'HF_USAGE',
        `Stream "${name}" was journaled with ${known.lanes} lanes by ${known.rule}; it is now ` +
          `asked for ${lanes} by ${rule}. Keep the old rule, or open it under a new name after a drain.`,
      );
    }
    return known;
  }

  table(stream: number, table: Table): TableEntry {
    const text = JSON.stringify(table);
    const known = this.#tables.findLast(
      (entry) => entry.stream === stream && JSON.stringify(entry.table) === text,
    );
    if (known) return known;
    const entry = { id: this.#tables.length + 1, stream, table };
    this.#tables.push(entry);
    this.#fresh.tables.push(entry);
    return entry;
  }

  /** The id of a set of columns. Throws HF_ROWS_REFUSED where it is new, and there are too many. */
  shape(table: number, set: ColumnSet): number {
    const { ids } = this.#ofTable(table);
    const known = ids.get(nameOf(set));
    if (known !== undefined) return known;
    const entry = { id: this.#shapes.length + 1, table, set: [...set] };
    if (!this.#hasRoom(entry)) throw this.#tooManyShapes(table, ids.size);
    this.#addShape(entry);
    this.#fresh.shapes.push(entry);
    return entry.id;
  }

  #ofTable(table: number): ShapesOf {
    const known = this.#shapesOf.get(table);
    if (known) return known;
    const none = { ids: new Map<string, number>(), bytes: 0 };
    this.#shapesOf.set(table, none);
    return none;
  }

  #addShape(entry: ShapeEntry): void {
    const own = this.#ofTable(entry.table);
    own.ids.set(nameOf(entry.set), entry.id);
    own.bytes += bytesOf(entry);
    this.#shapeBytes += bytesOf(entry);
    this.#shapes.push(entry);
  }

  /**
   * A table takes no more than its share, and the first few sets of each are always taken: no
   * stream is shut out by another's rows, nor by what its own table was before it was altered.
   */
  #hasRoom(entry: ShapeEntry): boolean {
    const { ids, bytes } = this.#ofTable(entry.table);
    if (ids.size < limits.shapesOfTableMin) return true;
    const more = bytesOf(entry);
    const shareMax = this.#shapeBytesMax * limits.shapeTableShareMax;
    return bytes + more <= shareMax && this.#shapeBytes + more <= this.#shapeBytesMax;
  }

  #tooManyShapes(table: number, known: number): HoldfastError {
    const name = this.#tables[table - 1]?.table.name ?? '';
    return new HoldfastError(
      'HF_ROWS_REFUSED',
      `Too many different sets of columns are provided for table "${name}": ${known} are known, ` +
        'and the rows have another one; nothing was written. ' +
        'Provide null, or the default, for columns that are absent.',
    );
  }

  /** The newest version of a stream's table that was journaled. */
  newestTable(stream: number): TableEntry | undefined {
    return this.#tables.findLast((entry) => entry.stream === stream);
  }

  shapeOf(id: number): { readonly shape: ShapeEntry; readonly table: TableEntry } {
    const shape = this.#shapes[id - 1];
    const table = this.#tables[(shape?.table ?? 0) - 1];
    assert(shape && table && shape.id === id, `shape ${id} is in the dictionary`);
    return { shape, table };
  }

  /** Takes over entries that another dictionary (the journal's) has learnt. */
  learn(note: DictionaryNote): void {
    for (const entry of note.streams) this.#streams[entry.id - 1] ??= entry;
    for (const entry of note.tables) this.#tables[entry.id - 1] ??= entry;
    for (const entry of note.shapes) this.#shapes[entry.id - 1] ??= entry;
  }

  /** What the current segment has not been told yet; undefined where it knows all. */
  get untold(): DictionaryNote | undefined {
    const { streams, tables, shapes } = this.#fresh;
    return streams.length + tables.length + shapes.length === 0 ? undefined : this.#fresh;
  }

  /** The current segment knows all. */
  told(): void {
    this.#fresh = noEntries();
  }

  whole(): DictionaryNote {
    return { streams: this.#streams, tables: this.#tables, shapes: this.#shapes };
  }
}

const noEntries = () => ({
  streams: [] as StreamEntry[],
  tables: [] as TableEntry[],
  shapes: [] as ShapeEntry[],
});
