// Rows of one key that provide different columns go into different statements, and must take effect
// in sequence order all the same (P9). So a batch is written in waves: in each, all rows of a key
// provide the same columns. Nearly always there is one.
import assert from 'node:assert/strict';
import type { Batch } from './batch.ts';

/** The batch's rows in (lane, sequence) order. */
export function sequenceOrder(batch: Batch): Int32Array {
  const { sliceOf, sequences } = batch;
  const rows = Int32Array.from({ length: batch.count }, (_, row) => row);
  return rows.sort(
    (a, b) => (sliceOf[a] ?? 0) - (sliceOf[b] ?? 0) || (sequences[a] ?? 0) - (sequences[b] ?? 0),
  );
}

/**
 * Places of the key columns within the tuples of a column set; undefined where one is not provided.
 */
export function keyPlaces(batch: Batch, set: number): number[] | undefined {
  const provided = batch.columnSets[set] ?? [];
  const places = batch.rules.key.map((name) =>
    provided.findIndex((column) => batch.journaled.columns[column]?.name === name),
  );
  return places.length === 0 || places.includes(-1) ? undefined : places;
}

/**
 * Per row: how often the column set changes among the rows of its key before it. `bySequence` is
 * sequenceOrder(batch). Rows that do not provide their key are in the first wave.
 */
export function waves(batch: Batch, bySequence: Int32Array): Int32Array {
  const wave = new Int32Array(batch.count);
  if (batch.columnSets.length < 2 || batch.rules.key.length === 0) return wave;
  const places = batch.columnSets.map((_, set) => keyPlaces(batch, set));
  const keyOf = isBytewise(batch) ? keyReader(batch, places) : () => '';
  const last = new Map<string, { set: number; wave: number }>();
  for (const row of bySequence) {
    const set = batch.sets[row] ?? 0;
    if (!places[set]) continue;
    const key = keyOf(row);
    const before = last.get(key) ?? { set, wave: 0 };
    if (before.set !== set) before.wave++;
    before.set = set;
    last.set(key, before);
    wave[row] = before.wave;
  }
  return wave;
}

/** Where equal keys may differ in their bytes, any two rows may be of one key. */
const isBytewise = (batch: Batch): boolean =>
  batch.rules.key.every(
    (name) => batch.journaled.columns.find((column) => column.name === name)?.bytewiseEqual,
  );

/** The key's fields, lengths included, as a text to look up by. */
function keyReader(
  batch: Batch,
  places: readonly (readonly number[] | undefined)[],
): (row: number) => string {
  const bytes = Buffer.from(batch.bytes.buffer, batch.bytes.byteOffset, batch.bytes.byteLength);
  return (row) => {
    const wanted = places[batch.sets[row] ?? 0];
    assert(wanted, 'a row in a wave provides its key');
    const fields: string[] = [];
    let at = (batch.starts[row] ?? 0) + 2;
    const end = batch.tupleEnds[row] ?? 0;
    while (at < end) {
      const length = Math.max(bytes.readInt32BE(at), 0);
      fields.push(bytes.toString('latin1', at, at + 4 + length));
      at += 4 + length;
    }
    return wanted.map((place) => fields[place]).join('');
  };
}
