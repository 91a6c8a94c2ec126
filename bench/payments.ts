// The rows of the benches: one body of NDJSON, rendered once, whose keys are written over in place,
// so that a generator costs next to nothing; and the same rows as tuples for the bare COPY.
import assert from 'node:assert/strict';
import type { Column, ColumnType, Table } from '../src/accept/columns.ts';
import { compileRows } from '../src/accept/compile.ts';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import { limits } from '../src/limits.ts';

export const bodyRows = 500;

export const createPayments = `CREATE TABLE payments (
  tx_id bigint PRIMARY KEY,
  user_id bigint NOT NULL,
  amount numeric(18,2) NOT NULL,
  status text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  note text
)`;

/** Keys have 16 digits from here on. */
export const firstKey = 1_000_000_000_000_000;
const keyDigits = 16;

export type Keys = 'ascending' | 'random';

/** The key of the row with that number; below 2 ** 32 all are different. */
const keyOf: { readonly [keys in Keys]: (row: number) => number } = {
  ascending: (row) => firstKey + row,
  random: (row) => firstKey + scattered(row),
};

/** A bijection of 32 bits without any order to it: the last steps of MurmurHash3. */
function scattered(row: number): number {
  let mixed = Math.imul(row ^ (row >>> 16), 0x85eb_ca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

const statuses = ['paid', 'pending', 'refunded', 'failed', 'chargeback'];
const words = ['rent', 'coffee', 'books', 'train', 'music', 'garden', 'school', 'travel', 'gift'];

const noteOf = (i: number): string =>
  Array.from({ length: 4 + (i % 5) }, (_, at) => words[(i * 7 + at * 5) % words.length]).join(' ');

function line(i: number): string {
  const spread = (i * 2_654_435_761) % 4_294_967_296;
  const seconds = new Date(Date.UTC(2026, 0, 1) + spread).toISOString().slice(0, 19);
  const amount = `${spread % 100_000}.${String(i % 100).padStart(2, '0')}`;
  const note = i % 10 === 9 ? 'null' : `"${noteOf(i)}"`;
  return (
    `{"tx_id":${firstKey},"user_id":${100_000 + (spread % 900_000)},"amount":${amount},` +
    `"status":"${statuses[i % statuses.length]}",` +
    `"created_at":"${seconds}.${String(spread % 1_000_000).padStart(6, '0')}Z","note":${note}}\n`
  );
}

/** The four digits of 0 to 9999, as they stand in memory. */
const fourDigits = Uint32Array.from({ length: 10_000 }, (_, i) =>
  Buffer.from(String(i).padStart(4, '0')).readUInt32BE(),
);

/** The digits of a key, written at `at`. */
function putKey(view: DataView, at: number, key: number): void {
  const high = Math.floor(key / 1e8);
  const low = key - high * 1e8;
  view.setUint32(at, fourDigits[Math.floor(high / 1e4)] ?? 0);
  view.setUint32(at + 4, fourDigits[high % 1e4] ?? 0);
  view.setUint32(at + 8, fourDigits[Math.floor(low / 1e4)] ?? 0);
  view.setUint32(at + keyDigits - 4, fourDigits[low % 1e4] ?? 0);
}

/** A body of lines behind `head` bytes left free. */
export class Body {
  readonly bytes: Buffer;
  readonly #view: DataView;
  readonly #keysAt: number[] = [];

  constructor(head = 0, rows = bodyRows) {
    const lines = Array.from({ length: rows }, (_, i) => line(i));
    this.bytes = Buffer.concat([Buffer.alloc(head), Buffer.from(lines.join(''))]);
    this.#view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
    let at = head;
    for (const text of lines) {
      this.#keysAt.push(at + '{"tx_id":'.length);
      at += text.length;
    }
  }

  /** Gives the rows the keys of the rows numbered from `first` on. */
  setKeys(first: number, keys: Keys = 'ascending'): void {
    const keysAt = this.#keysAt;
    const key = keyOf[keys];
    for (let i = 0; i < keysAt.length; i++) putKey(this.#view, keysAt[i] ?? 0, key(first + i));
  }
}

const columnOf = (name: string, type: ColumnType, changed: Partial<Column> = {}): Column => ({
  name,
  type,
  sqlType: type.kind,
  nullable: false,
  hasDefault: false,
  writable: true,
  bytewiseEqual: true,
  ...changed,
});

export const paymentsTable: Table = {
  name: 'payments',
  columns: [
    columnOf('tx_id', { kind: 'int', bytes: 8 }),
    columnOf('user_id', { kind: 'int', bytes: 8 }),
    columnOf('amount', { kind: 'numeric', precision: 18, scale: 2 }),
    columnOf('status', { kind: 'text' }),
    columnOf('created_at', { kind: 'timestamptz', fraction: 6 }),
    columnOf('note', { kind: 'text' }, { nullable: true }),
  ],
  keys: [['tx_id']],
  fingerprint: 'bench',
  warnings: [],
};

/** What decodes bodies of these rows, as the product does it. */
export const paymentsReader = () =>
  compileRows(paymentsTable, {
    key: ['tx_id'],
    lanes: limits.lanesDefault,
    nonZero: [],
    inexact: 'refuse',
    lineBytesMax: limits.lineBytesMax,
  });

const copyHead = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
const copyEnd = Buffer.from([0xff, 0xff]);

/** A whole binary COPY of `rows` rows, one body or several, made of the same lines. */
export class CopyStream {
  readonly bytes: Buffer;
  readonly #view: DataView;
  readonly #keysAt: number[] = [];

  constructor(rows: number) {
    const tuples = new RowBuffer();
    const { bytes: lines } = new Body(0, Math.min(rows, bodyRows));
    const rules = { key: ['tx_id'], lanes: 1, nonZero: [], inexact: 'refuse' } as const;
    const reader = compileRows(paymentsTable, { ...rules, lineBytesMax: limits.lineBytesMax });
    const { rejected } = reader.ndjson(lines, tuples);
    assert.equal(rejected.length, 0, 'the rows fit their table');
    const part = tuples.bytes.subarray(0, tuples.length);
    const parts = Array.from({ length: rows / tuples.count }, () => part);
    this.bytes = Buffer.concat([copyHead, ...parts, copyEnd]);
    this.#view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
    parts.forEach((_, i) => {
      const start = copyHead.length + i * part.length;
      // The key is the first field: behind the field count and its length.
      for (let row = 0; row < tuples.count; row++) {
        this.#keysAt.push(start + tuples.start(row) + 6);
      }
    });
  }

  get rows(): number {
    return this.#keysAt.length;
  }

  setKeys(first: number, keys: Keys = 'ascending'): void {
    const view = this.#view;
    const keysAt = this.#keysAt;
    for (let i = 0; i < keysAt.length; i++) {
      const key = keyOf[keys](first + i);
      const at = keysAt[i] ?? 0;
      view.setUint32(at, Math.floor(key / 2 ** 32));
      view.setUint32(at + 4, key % 2 ** 32);
    }
  }
}

/** The same rows as the lines of a LOAD DATA with its standard format. */
export class LoadLines {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #keysAt: number[] = [];

  constructor(rows: number) {
    const { bytes } = new Body();
    const lines = bytes.toString().trimEnd().split('\n').map(loadLine);
    const part = lines.join('');
    this.#bytes = Buffer.from(part.repeat(rows / bodyRows));
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
    let at = 0;
    for (let row = 0; row < rows; row++) {
      this.#keysAt.push(at);
      at += lines[row % bodyRows]?.length ?? 0;
    }
  }

  setKeys(first: number): void {
    this.#keysAt.forEach((at, i) => {
      putKey(this.#view, at, firstKey + first + i);
    });
  }

  *chunks(): Generator<Uint8Array> {
    const size = 128 * 1024;
    for (let at = 0; at < this.#bytes.length; at += size) yield this.#bytes.subarray(at, at + size);
  }
}

/** Amounts keep their digits, times lose what MySQL does not read. */
function loadLine(line: string): string {
  const amount = /"amount":([\d.]+)/.exec(line)?.[1] ?? '';
  const row = JSON.parse(line) as { readonly [name: string]: string | number | null };
  const time = String(row['created_at']).replace('T', ' ').replace('Z', '');
  const note = row['note'] === null ? '\\N' : row['note'];
  return `${firstKey}\t${row['user_id']}\t${amount}\t${row['status']}\t${time}\t${note}\n`;
}
