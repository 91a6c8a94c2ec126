// Records of 200 bytes for benches that write to the journal itself.
import type { Table } from '../src/accept/columns.ts';
import { laneOfHash, laneSeed, mix } from '../src/accept/lanes.ts';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import type { Parcel } from '../src/journal/group.ts';
import type { Journal } from '../src/journal/journal.ts';
import { limits } from '../src/limits.ts';
import { recordBytes } from './single.ts';

const lanes = limits.lanesDefault;
const text = { kind: 'text' } as const;
const int = { kind: 'int', bytes: 8 } as const;
const column = { nullable: false, hasDefault: false, writable: true, bytewiseEqual: true };
const table: Table = {
  name: 'records',
  columns: [
    { ...column, name: 'id', type: int, sqlType: 'bigint' },
    { ...column, name: 'body', type: text, sqlType: 'text' },
  ],
  keys: [['id']],
  fingerprint: 'bench',
  warnings: [],
};

/** Tuples of two fields, int8 and text, 200 bytes each, over the lanes by a hash of the int8. */
function buildRows(records: number): RowBuffer {
  const rows = new RowBuffer(records * recordBytes, records);
  const set = rows.setIndex([0, 1]);
  const bodyBytes = recordBytes - 2 - 12 - 4;
  for (let i = 0; i < records; i++) {
    const at = i * recordBytes;
    rows.reserve(at, recordBytes);
    rows.view.setInt16(at, 2);
    rows.view.setInt32(at + 2, 8);
    rows.view.setBigInt64(at + 6, BigInt(i));
    rows.view.setInt32(at + 14, bodyBytes);
    rows.bytes.fill(97 + (i % 26), at + 18, at + recordBytes);
    rows.push(at + recordBytes, set, laneOfHash(mix(laneSeed, i), lanes));
  }
  return rows;
}

/** A group of so many records of the stream `records`, which is opened for it. */
export function recordParcel(journal: Journal, records: number): Parcel {
  const { id: stream } = journal.openStream('records', lanes, 'key:id');
  const { dictionary } = journal;
  const shape = dictionary.shape(dictionary.table(stream, table).id, [0, 1]);
  return { stream, lanes, rows: buildRows(records), shapes: [shape], undecoded: [] };
}
