// Which lane a row goes to: a hash of its key, or of the lane column, over the bytes of the row
// format. Equal values must give equal lanes, whatever wrote them: the journal outlives the
// process, so the hash never changes without a new lane rule in the journal.
import type { Column, ColumnType, Table } from './columns.ts';
import type { RowRules } from './rows.ts';

export const laneSeed = 0x9747b28c | 0;

/** One 32-bit word into the hash (MurmurHash3). */
export function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, 0x1b873593);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** The hash's final stirring, as a lane from 0 to lanes − 1. */
export function laneOfHash(hash: number, lanes: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  h ^= h >>> 16;
  return (h >>> 0) % lanes;
}

/**
 * The field whose length stands at `at`, into the hash: length, words, then the bytes that remain.
 */
export type Mixer = (hash: number, view: DataView, at: number) => number;

function mixRange(hash: number, view: DataView, range: { start: number; end: number }): number {
  let h = hash;
  let at = range.start;
  for (; at + 4 <= range.end; at += 4) h = mix(h, view.getInt32(at));
  if (at === range.end) return h;
  let tail = 0;
  for (; at < range.end; at++) tail = (tail << 8) | view.getUint8(at);
  return mix(h, tail);
}

const mixBytes: Mixer = (hash, view, at) => {
  const length = view.getInt32(at);
  const h = mix(hash, length);
  return length > 0 ? mixRange(h, view, { start: at + 4, end: at + 4 + length }) : h;
};

/** 1.5 and 1.50 are equal: dscale, the second half of the second word, is left out. */
const mixNumeric: Mixer = (hash, view, at) => {
  const length = view.getInt32(at);
  const h = mix(hash, length);
  if (length < 0) return h;
  const signed = mix(mix(h, view.getInt32(at + 4)), view.getInt16(at + 8));
  return mixRange(signed, view, { start: at + 12, end: at + 4 + length });
};

/** 0 and −0 are equal. */
const mixFloat: Mixer = (hash, view, at) => {
  const length = view.getInt32(at);
  const isZero =
    length > 0 && (length === 8 ? view.getFloat64(at + 4) : view.getFloat32(at + 4)) === 0;
  return isZero ? mix(mix(hash, length), 0) : mixBytes(hash, view, at);
};

export function mixerOf({ kind }: ColumnType): Mixer {
  if (kind === 'numeric') return mixNumeric;
  return kind === 'float' ? mixFloat : mixBytes;
}

/**
 * The columns whose values choose the lane, as places in `table.columns`; none: lanes go in turn.
 */
export function laneColumns(table: Table, rules: RowRules): number[] {
  const names = rules.laneColumn === undefined ? rules.key : [rules.laneColumn];
  return names.map((name) => table.columns.findIndex((column) => column.name === name));
}

/** A numeric is hashed by its value, so it needs no equal bytes. */
const isHashable = (column: Column): boolean =>
  column.bytewiseEqual || column.type.kind === 'numeric';

/**
 * How many lanes the stream may have: `rules.lanes`, or 1 where equal values of a lane column can
 * have different bytes (a collation without case), because a hash would part rows of one key (P9).
 */
export function laneCount(table: Table, rules: RowRules): number {
  const columns = laneColumns(table, rules).map((place) => table.columns[place]);
  return columns.every((column) => column !== undefined && isHashable(column)) ? rules.lanes : 1;
}
