// The generated decoders at the edges of what they take: each value stands between rows that they
// do take, so that they meet it, and what comes out is compared with the slow path.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ColumnType } from '../src/accept/columns.ts';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import { agree } from './support/agree.ts';
import { column, optional, payments, reader, rendered, tableOf } from './support/rows.ts';

const day = '2024-02-28';
const moments = [
  `"${day}T23:59:59Z"`,
  `"${day}T24:00:00Z"`,
  `"${day}T23:60:00Z"`,
  `"${day}T23:59:60Z"`,
  `"${day}T2a:59:59Z"`,
  `"${day}t23:59:59Z"`,
  `"${day} 23:59:59Z"`,
  `"${day}T23:59:59"`,
  `"${day}T23:59:59.Z"`,
  `"${day}T23:59:59."`,
  `"${day}T23:59:59.1"`,
  `"${day}T23:59:59.123456"`,
  `"${day}T23:59:59.1234560Z"`,
  `"${day}T23:59:59.1234567Z"`,
  `"${day}T00:00:00+15:59"`,
  `"${day}T23:59:59-15:59"`,
  `"${day}T00:00:00+16:00"`,
  `"${day}T00:00:00+05:60"`,
  `"${day}T00:00:00+0530"`,
  `"${day}T00:00:00+05"`,
  '"0001-01-01T00:00:00Z"',
  '"0001-01-01T00:00:00+00:01"',
  '"9999-12-31T23:59:59-00:01"',
  '"9999-12-31T23:59:59.999999Z"',
  '"9999-12-31T23:59:59.999999"',
  '"1714-12-31T23:59:59.999999Z"',
  '"2023-02-29T00:00:00Z"',
  '"2024-02-29T00:00:00Z"',
  '"2024-13-01T00:00:00Z"',
  '"2024/02/28T00:00:00Z"',
  'null',
];
const numbers = [
  '0 -0 -0.00 0.0 0.0001 -0.0001 0.00001 1 9 10 99 9999 10000 10001 12340000 12345678',
  '123456789 99999999.9999 -99999999.9999 1.5 1.50 1.500 1.5000 1.50000 0.1234 0.12345',
  '00 01 -01 -00 1. .5 -.5 - + +1 1e2 1E2 1e-2 1x 1.2.3 "1" "-1.5" "1 "1.5 "01" "1e2" "" null',
  '32767 32768 -32768 -32769 65535 65536 2147483647 2147483648 -2147483649 4294967295 4294967296',
  '1234567890123456 12345678901234567 9007199254740991 9007199254740992 9007199254740993',
  '-9007199254740991 -9007199254740993 9223372036854775807 9223372036854775808 100.00 0.50 99.99',
  '123456.7 1234567.8 0.000001 123456789012345 0.30000001 16777217 3.4e39 1.0 1.00 10.10 100000',
].flatMap((line) => line.split(' '));
const texts = [
  ...['""', '"a"', '"ab"', '"abc"', '"abcd"', '"abc  "', '"ab "', '" "', '"  a"'],
  ...['"ä"', '"äöü"', '"äöüß"', '"😀😀😀"', '"a\\n"', '"\\u0000"', '"\\ud83d"', '"a', 'a"', 'a'],
  ...['null', 'nul', 'true', '1', '"\u007f"', '"\u0001"', '"ab\tc"', '"x"y'],
];

const singles = [...numbers, '16777216.00', '16777217.00', '1234567.89', '12345678.12'];

const cases: [ColumnType, string, readonly string[]][] = [
  [{ kind: 'int', bytes: 2 }, '1', numbers],
  [{ kind: 'int', bytes: 2, unsigned: true }, '1', numbers],
  [{ kind: 'int', bytes: 4 }, '1', numbers],
  [{ kind: 'int', bytes: 4, unsigned: true }, '1', numbers],
  [{ kind: 'int', bytes: 8 }, '1', numbers],
  [{ kind: 'int', bytes: 8, unsigned: true }, '1', numbers],
  [{ kind: 'numeric' }, '1', numbers],
  [{ kind: 'numeric', precision: 18, scale: 2 }, '1', numbers],
  [{ kind: 'numeric', precision: 4, scale: 2 }, '1', numbers],
  [{ kind: 'numeric', precision: 2, scale: 2 }, '0.1', numbers],
  [{ kind: 'numeric', precision: 2, scale: 4 }, '0.001', numbers],
  [{ kind: 'numeric', precision: 5 }, '1', numbers],
  [{ kind: 'numeric', precision: 5, scale: -2 }, '100', numbers],
  [{ kind: 'numeric', viaDouble: true }, '1', numbers],
  [{ kind: 'numeric', precision: 12, scale: 2, viaSingle: true }, '1', singles],
  [{ kind: 'float', bytes: 8 }, '1', numbers],
  [{ kind: 'float', bytes: 4 }, '1', numbers],
  [{ kind: 'bool' }, 'true', ['true', 'false', 'falsy', 'fals', 'truer', 'null', '1', '"true"']],
  [{ kind: 'text' }, '"good"', texts],
  [{ kind: 'text', charactersMax: 3 }, '"a"', texts],
  [{ kind: 'text', charactersMax: 3, padded: true }, '"a"', texts],
  [{ kind: 'timestamptz', fraction: 6 }, `"${day}T00:00:00Z"`, moments],
  [{ kind: 'timestamptz', fraction: 3 }, `"${day}T00:00:00Z"`, moments],
  [{ kind: 'timestamp', fraction: 0 }, `"${day}T00:00:00"`, moments],
  [{ kind: 'enum', labels: ['new', 'ä'] }, '"new"', ['"new"', '"ä"', '"no"', '""', 'null', '1']],
  [{ kind: 'jsonb' }, '{}', ['[1,2]', '"\\u0000"', '{"a":', '{"ä":"ö"}', 'null', '01']],
  [{ kind: 'cast' }, '"a"', ['1', 'true', '"x"', '{"a":1}', '[', 'null', '"\\u0000"']],
];

test('every value at an edge ends as it does on the slow path', () => {
  for (const [type, good, values] of cases) {
    for (const nullable of [true, false]) {
      const table = tableOf(
        column('a', type, nullable ? optional : {}),
        column('b', { kind: 'int', bytes: 8 }),
      );
      const row = (value: string): string => `{"a":${value},"b":7}`;
      const lines = values.flatMap((value) => [row(value), row(good)]);
      const all = [row(good), row(good), ...lines];
      for (const inexact of ['refuse', 'round'] as const) {
        const rules = { lanes: 5, inexact, key: ['b'] };
        assert.ok(agree({ table, rules, lines: all }) > values.length);
        agree({ table, rules: { ...rules, nonZero: ['a'], key: ['a'] }, lines: all });
      }
    }
  }
});

test('no day is remembered where a stretch begins, nor after one that is none', () => {
  const table = tableOf(column('a', { kind: 'timestamptz', fraction: 6 }));
  const row = (at: string): string => `{"a":"${at}"}`;
  const none = row(`${'\0'.repeat(11)}12:00:00Z`);
  const good = row(`${day}T00:00:00Z`);
  assert.equal(agree({ table, rules: {}, lines: [none, good, good, none, good] }), 3);
});

test('a decoder that takes no row leaves no set of columns behind', () => {
  const int: ColumnType = { kind: 'int', bytes: 8 };
  const row = reader(tableOf(column('a', { kind: 'text' }), column('b', int, optional)));
  const read = (text: string): RowBuffer => {
    const into = new RowBuffer();
    assert.deepEqual(row.ndjson(Buffer.from(text), into).rejected, []);
    return into;
  };
  read('{"a":"x"}\n'.repeat(3));
  read('{"a":"x","b":1}\n'.repeat(3));
  const into = read('{"a":"x"}\n{"a":"\\n"}\n{"a":"x"}\n');
  assert.deepEqual([into.count, into.columnSets], [3, [[0]]]);
});

test('a value ends in its own line', () => {
  for (const kind of ['json', 'jsonb', 'cast'] as const) {
    const row = reader(tableOf(column('a', { kind })));
    const good = '{"a":[1,2]}\n';
    const read = (text: string) => {
      const into = new RowBuffer();
      const { rejected } = row.ndjson(Buffer.from(text), into);
      return [into.count, rejected.map(({ rejection }) => rejection.line)];
    };
    assert.deepEqual(read(good.repeat(3)), [3, []]);
    assert.deepEqual(read(`${good}{"a":[1,\n2]}\n${good}`), [2, [2, 3]]);
  }
});

test('bytes that are not UTF-8 are never taken, however the value is read', () => {
  const types: ColumnType[] = [{ kind: 'text' }, { kind: 'json' }, { kind: 'cast' }];
  const sequences = ['ff', '80', 'c3', 'c328', 'e282', 'eda080', 'f0908080f5', 'c0af', 'f4908080'];
  for (const type of types) {
    const table = tableOf(column('a', type));
    const line = (inside: string): Buffer =>
      Buffer.concat([Buffer.from('{"a":"xy'), Buffer.from(inside, 'hex'), Buffer.from('z"}')]);
    const good = line('c3a4');
    const open = Buffer.concat([Buffer.from('{"a":"xy'), Buffer.from([0xff]), Buffer.from('}')]);
    const bad = [open, ...sequences.map(line)];
    const lines = [good, good, ...bad.flatMap((one) => [one, good])];
    assert.equal(agree({ table, rules: {}, lines }), bad.length + 2);
  }
});

test('names in any order, absent columns and lane columns agree with the slow path', () => {
  const int: ColumnType = { kind: 'int', bytes: 4 };
  const names = ['a', 'b', 'c', 'd'];
  const table = tableOf(...names.map((name) => column(name, int, optional)));
  const orders = ['abcd', 'dcba', 'cabd', 'bd', 'db', 'a', 'acd'];
  for (const rules of [{ key: ['a'] }, { key: ['b', 'a'] }, { laneColumn: 'c' }, {}]) {
    for (const order of orders) {
      const lines = Array.from({ length: 30 }, (_, i) => {
        const members = order.split('').map((name, k) => `"${name}":${i * 10 + k}`);
        return `{${members.join()}}`;
      });
      agree({ table, rules: { lanes: 1021, ...rules }, lines });
    }
  }
});

test('a row that does not fit the buffer makes it grow, and nothing is lost', () => {
  const columns = Array.from({ length: 60 }, (_, i) =>
    column(`c${i}`, i % 2 === 0 ? { kind: 'text' } : { kind: 'int', bytes: 8 }),
  );
  const line = (length: number): string => {
    const members = columns.map(({ name, type }, i) => {
      return `"${name}":${type.kind === 'text' ? `"${'x'.repeat(length % (i + 7))}"` : i}`;
    });
    return `{${members.join()}}`;
  };
  const lines = Array.from({ length: 120 }, (_, i) => line(i * 3));
  assert.equal(agree({ table: tableOf(...columns), rules: {}, lines }), 120);
  const text = tableOf(column('s', { kind: 'text' }));
  const sizes = [0, 1, 3, 4, 5, 63, 64, 65, 500, 5000, 70_000, 300_000];
  const long = sizes.map((n) => `{"s":"${'y'.repeat(n)}"}`);
  const accented = sizes.map((n) => `{"s":"${'ä'.repeat(n)}"}`);
  const both = [...long, ...accented];
  assert.equal(agree({ table: text, rules: {}, lines: both }), both.length);
});

test('a line that is too long is refused although a decoder would take it', () => {
  const table = tableOf(column('s', { kind: 'text' }));
  const lines = [1, 2, 3, 90, 91, 92, 93, 94, 4].map((n) => `{"s":"${'y'.repeat(n)}"}`);
  assert.equal(agree({ table, rules: { lineBytesMax: 100 }, lines }), 7);
});

test('rows after the shape has changed for good are still read', () => {
  const shapes = Array.from({ length: 20 }, (_, i) => {
    const gap = ' '.repeat(i);
    return Array.from({ length: 300 }, (_, n) => `{${gap}"s":${gap}"${n}"}`);
  });
  const table = tableOf(column('s', { kind: 'text' }));
  const read = reader(table);
  for (const lines of shapes) {
    const into = new RowBuffer();
    read.ndjson(Buffer.from(`${lines.join('\n')}\n`), into);
    assert.deepEqual(
      rendered(table, into),
      lines.map((_, n) => `{"s":"${n}"}`),
    );
  }
});

test('a decoder stops at bytesMax between lines, and goes on from there', () => {
  const row = `"tx_id":1,"user_id":2,"amount":3.5,"status":"a","created_at":"${day}T00:00:00Z"`;
  const input = Buffer.from(`{${row}}\n`.repeat(1000));
  const read = reader(payments);
  let [at, rows] = [0, 0];
  while (at < input.length) {
    const into = new RowBuffer();
    at += read.ndjson(input.subarray(at), into, { bytesMax: 1000 }).consumed;
    assert.ok(into.length < 1000 + 100 && into.count > 0);
    rows += into.count;
  }
  assert.equal(rows, 1000);
});

test('more rows than the buffer has places for cost no bytes', () => {
  const input = Buffer.from('{"s":"y"}\n'.repeat(5_000));
  const into = new RowBuffer(100_000, 2);
  const { length } = into.bytes;
  reader(tableOf(column('s', { kind: 'text' }))).ndjson(input, into);
  assert.deepEqual([into.count, into.bytes.length], [5_000, length]);
});
