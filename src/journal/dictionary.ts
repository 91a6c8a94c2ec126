// Gives ids to streams, tables and shapes, and knows which of them a segment has not been told yet.
import assert from 'node:assert/strict';
import type { Table } from '../accept/columns.ts';
import type { ColumnSet } from '../accept/row-buffer.ts';
import { HoldfastError } from '../errors.ts';
import type { DictionaryNote, ShapeEntry, StreamEntry, TableEntry } from './notes.ts';

const sameSet = (a: ColumnSet, b: ColumnSet): boolean =>
  a.length === b.length && a.every((column, i) => column === b[i]);

export class Dictionary {
  readonly #streams: StreamEntry[] = [];
  readonly #tables: TableEntry[] = [];
  readonly #shapes: ShapeEntry[] = [];
  #fresh: { streams: StreamEntry[]; tables: TableEntry[]; shapes: ShapeEntry[] } = noEntries();

  constructor(known?: DictionaryNote) {
    if (!known) return;
    this.#streams.push(...known.streams);
    this.#tables.push(...known.tables);
    this.#shapes.push(...known.shapes);
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

  shape(table: number, set: ColumnSet): number {
    const known = this.#shapes.find((entry) => entry.table === table && sameSet(entry.set, set));
    if (known) return known.id;
    const entry = { id: this.#shapes.length + 1, table, set: [...set] };
    this.#shapes.push(entry);
    this.#fresh.shapes.push(entry);
    return entry.id;
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
