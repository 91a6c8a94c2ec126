// Key order as it was first written, a merge sort by comparison: what the product's must agree
// with. One thing is said more clearly: a row without its first column stands before all others.
import type { ColumnType } from '../../src/accept/columns.ts';
import type { KeyFields } from '../../src/merge/key-order.ts';

/** A number whose order agrees with the field's; equal numbers may stand for different keys. */
function prefix(keys: KeyFields, at: number, type: ColumnType | undefined): number {
  const { bytes, view } = keys;
  const offset = keys.offsets[at] ?? 0;
  const length = keys.lengths[at] ?? 0;
  if (length === 0) return -Number.MAX_VALUE;
  if (type?.kind === 'int') {
    if (length === 8) return view.getInt32(offset) * 4_294_967_296 + view.getUint32(offset + 4);
    return length === 4 ? view.getInt32(offset) : view.getInt16(offset);
  }
  let value = 0;
  for (let i = 0; i < 6; i++) value = value * 256 + (i < length ? (bytes[offset + i] ?? 0) : 0);
  return value;
}

function compareBytes(keys: KeyFields, a: number, b: number): number {
  const { bytes, offsets, lengths, width } = keys;
  for (let column = 0; column < width; column++) {
    const x = a * width + column;
    const y = b * width + column;
    const [from, to] = [offsets[x] ?? 0, offsets[y] ?? 0];
    const [own, other] = [lengths[x] ?? 0, lengths[y] ?? 0];
    const shared = Math.min(own, other);
    for (let i = 0; i < shared; i++) {
      const difference = (bytes[from + i] ?? 0) - (bytes[to + i] ?? 0);
      if (difference !== 0) return difference;
    }
    if (own !== other) return own - other;
  }
  return 0;
}

/** The rows 0 … count − 1 in key order, equal keys in their given order. */
export function referenceOrder(
  keys: KeyFields,
  count: number,
  type: ColumnType | undefined,
): Int32Array<ArrayBuffer> {
  const prefixes = new Float64Array(count);
  let isAscending = true;
  for (let row = 0; row < count; row++) {
    const own = prefix(keys, row * keys.width, type);
    prefixes[row] = own;
    if (row > 0 && own <= (prefixes[row - 1] ?? 0)) isAscending = false;
  }
  const order = Int32Array.from({ length: count }, (_, i) => i);
  if (isAscending) return order;
  const isAfter = (a: number, b: number): boolean => {
    const difference = (prefixes[a] ?? 0) - (prefixes[b] ?? 0);
    return difference > 0 || (difference === 0 && compareBytes(keys, a, b) > 0);
  };
  return mergeSort(order, isAfter);
}

function mergeSort(
  order: Int32Array<ArrayBuffer>,
  isAfter: (a: number, b: number) => boolean,
): Int32Array<ArrayBuffer> {
  let from = order;
  let to = new Int32Array(order.length);
  let runs = naturalRuns(from, isAfter);
  while (runs.length > 2) {
    const merged = [0];
    for (let i = 0; i + 1 < runs.length; i += 2) {
      const [start, middle] = [runs[i] ?? 0, runs[i + 1] ?? 0];
      const end = runs[i + 2] ?? middle;
      mergeRuns(from, to, { start, middle, end, isAfter });
      merged.push(end);
    }
    [from, to] = [to, from];
    runs = merged;
  }
  return from;
}

/** Starts of the ascending runs, and the end behind the last one. */
function naturalRuns(order: Int32Array, isAfter: (a: number, b: number) => boolean): number[] {
  const runs = [0];
  for (let i = 1; i < order.length; i++) {
    if (isAfter(order[i - 1] ?? 0, order[i] ?? 0)) runs.push(i);
  }
  runs.push(order.length);
  return runs;
}

interface Merge {
  readonly start: number;
  readonly middle: number;
  readonly end: number;
  readonly isAfter: (a: number, b: number) => boolean;
}

function mergeRuns(from: Int32Array, to: Int32Array, merge: Merge): void {
  const { start, middle, end, isAfter } = merge;
  let left = start;
  let right = middle;
  for (let at = start; at < end; at++) {
    const isLeft = right >= end || (left < middle && !isAfter(from[left] ?? 0, from[right] ?? 0));
    to[at] = (isLeft ? from[left++] : from[right++]) ?? 0;
  }
}
