// Rows from JSON and objects: which lines are rows, what is refused with which code, and where
// reading stops.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ColumnType } from '../src/accept/columns.ts';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import type { Row, Skipping } from '../src/accept/rows.ts';
import { limits } from '../src/limits.ts';
import {
  column,
  optional,
  payments,
  reader,
  readLines,
  refusals,
  rendered,
  tableOf,
  value,
} from './support/rows.ts';

const int8: ColumnType = { kind: 'int', bytes: 8 };
const text: ColumnType = { kind: 'text' };
const money: ColumnType = { kind: 'numeric', precision: 6, scale: 2 };

test('nesting up to the limit is taken, and 200,000 levels are refused without a crash', () => {
  const nested = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;
  const json: ColumnType = { kind: 'json' };
  assert.equal(value(json, nested(limits.jsonDepthMax)), nested(limits.jsonDepthMax));
  assert.equal(value(json, nested(limits.jsonDepthMax + 1)), 'too-deep');
  assert.equal(value(json, nested(200_000)), 'too-deep');
  assert.equal(value(json, '{"a":'.repeat(200_000)), 'too-deep');
  assert.equal(value(int8, nested(200_000)), 'too-deep');
});

test('each way in which a line is no row has its code, line and column', () => {
  const table = tableOf(
    column('id', int8),
    column('name', text),
    column('note', text, optional),
    column('made', text, { writable: false, hasDefault: true }),
    column('filled', text, { hasDefault: true }),
  );
  const lines = [
    ['{"id":1,"name":"a"}', ''],
    ['{"id":2,"name":"a","nope":1}', '2 nope unknown-column'],
    ['{"id":3,"name":"a","made":"x"}', '3 made unknown-column'],
    ['{"id":4}', '4 name missing-column'],
    ['{"id":5,"name":null}', '5 name null-not-allowed'],
    ['{"id":6,"name":"a","filled":null}', '6 filled null-not-allowed'],
    ['{"id":7,"name":"a","id":7}', '7 id duplicate-name'],
    ['{"id":"x","name":"a"}', '8 id wrong-type'],
    ['{"id":9,"name":"a"', '9 - bad-json'],
    ['{"id":10,"name":"a"} {}', '10 - bad-json'],
    ['[1]', '11 - bad-json'],
    ['   \r', ''],
    ['{}', '13 id missing-column'],
    ['{"id":01,"name":"a"}', '14 - bad-json'],
    ['{"id":1,"name":"a",}', '15 - bad-json'],
    ["{'id':1}", '16 - bad-json'],
    ['{"id":17,"name":"a","note":null}\r', ''],
  ];
  const { rows, refused } = readLines(table, lines.map(([line]) => `${line}\n`).join(''));
  assert.deepEqual(
    refused,
    lines.map(([, code]) => code).filter((code) => code !== ''),
  );
  assert.deepEqual(rows, ['{"id":1,"name":"a"}', '{"id":17,"name":"a","note":null}']);
});

test('a row that provides no column is refused although every column has a default', () => {
  const table = tableOf(column('a', text, optional));
  assert.deepEqual(readLines(table, '{}\n').refused, ['1 - missing-column']);
});

test('a key column must be there and not null, whatever the table says', () => {
  const table = tableOf(column('id', int8, optional), column('v', text, optional));
  const { refused } = readLines(table, '{"v":"a"}\n{"id":null}\n{"id":1}\n', { key: ['id'] });
  assert.deepEqual(refused, ['1 id missing-column', '2 id null-not-allowed']);
});

test('zero, the empty string and false are refused only where nonZero names them', () => {
  const table = tableOf(
    column('i', int8),
    column('n', money),
    column('s', text),
    column('b', { kind: 'bool' }),
  );
  const line = '{"i":0,"n":0.00,"s":"","b":false}\n';
  assert.deepEqual(readLines(table, line).rows, ['{"i":0,"n":0.00,"s":"","b":false}']);
  for (const name of ['i', 'n', 's', 'b']) {
    const { refused } = readLines(table, line, { nonZero: [name] });
    assert.deepEqual(refused, [`1 ${name} zero-not-allowed`]);
  }
});

test('bytes that are not UTF-8 are refused wherever in the line they stand', () => {
  const table = tableOf(column('s', text), column('j', { kind: 'json' }));
  const good = Buffer.from('{"s":"a","j":{"k":"b"}}\n');
  for (const target of ['a', 'k', 'b', '{', 's']) {
    const bad = Buffer.from(good);
    bad[good.indexOf(target)] = 0xff;
    assert.deepEqual(readLines(table, bad).refused, ['1 - bad-utf8'], target);
  }
});

test('a syntax error names the byte within its line', () => {
  const into = new RowBuffer();
  const input = Buffer.from('{"tx_id":1}\n{"tx_id": tru}\n');
  const [, second] = reader(payments).ndjson(input, into).rejected;
  assert.deepEqual([second?.rejection.line, second?.rejection.offset], [2, 13]);
  assert.equal(input.subarray(second?.start, second?.end).toString(), '{"tx_id": tru}');
});

test('only the last line without a newline can be cut off, and is told from a wrong one', () => {
  const table = tableOf(column('s', text));
  const whole = '{"s":"a\\u00e4\\ud83d\\ude00ä"}';
  for (let length = 1; length < Buffer.byteLength(whole); length++) {
    const cut = Buffer.from(whole).subarray(0, length);
    assert.deepEqual(readLines(table, cut).refused, ['1 - cut-off'], cut.toString());
    const closed = readLines(table, Buffer.concat([cut, Buffer.from('\n')])).refused[0];
    assert.match(closed ?? '', /bad-json|bad-utf8/);
  }
  assert.deepEqual(readLines(table, whole).rows.length, 1);
  assert.deepEqual(readLines(table, '{"s":nope}').refused, ['1 - bad-json']);
  assert.deepEqual(readLines(table, '{"s":"\\ud83dx"}').refused, ['1 - bad-json']);
});

test('a message never holds what the row held', () => {
  const table = tableOf(column('i', int8), column('s', { kind: 'text', charactersMax: 3 }));
  const into = new RowBuffer();
  const secret = 'hunter2hunter2';
  const input = `{"i":"${secret}","s":"a"}\n{"i":1,"s":"${secret}"}\n{"i":1,"s":${secret}}\n`;
  const { rejected } = reader(table).ndjson(Buffer.from(input), into);
  assert.equal(rejected.length, 3);
  for (const { rejection } of rejected) assert.ok(!rejection.message.includes(secret));
});

test('a line of a gigabyte is refused once, by its number, and skipped without being kept', () => {
  const table = tableOf(column('s', text));
  const read = reader(table, { lineBytesMax: 1000 });
  const into = new RowBuffer();
  const refused: string[] = [];
  let [line, rest] = [1, Buffer.alloc(0)];
  let skipping: Skipping = false;
  const feed = (chunk: Uint8Array, isLast = false): void => {
    rest = Buffer.concat([rest, chunk]);
    const result = read.ndjson(rest, into, { firstLine: line, skipping, isLast });
    refused.push(...refusals(result));
    line += result.lines;
    skipping = result.skipping;
    rest = rest.subarray(result.consumed);
    assert.ok(rest.length <= 1000, 'no more than a line is left');
  };
  feed(Buffer.from('{"s":"a"}\n{"s":"'));
  const filler = Buffer.alloc(1 << 20, 0x78);
  for (let i = 0; i < 1024; i++) feed(filler);
  feed(Buffer.from('"}\n{"s":"b"}\n{"s":1}\n'), true);
  assert.deepEqual(refused, ['2 - line-too-long', '4 s wrong-type']);
  assert.deepEqual(rendered(table, into), ['{"s":"a"}', '{"s":"b"}']);
});

test('a refused line not to be kept is left unread, and bytesMax stops between lines', () => {
  const table = tableOf(column('i', int8));
  const input = Buffer.from('{"i":1}\n{"i":2}\n{"i":"x"}\n{"i":4}\n');
  const into = new RowBuffer();
  const stopped = reader(table).ndjson(input, into, { keptBytesMax: -1 });
  assert.deepEqual([stopped.consumed, stopped.lines, into.count], [16, 2, 2]);
  assert.deepEqual(refusals(stopped), ['3 i wrong-type']);
  const few = new RowBuffer();
  const bounded = reader(table).ndjson(input, few, { bytesMax: 1 });
  assert.deepEqual([bounded.consumed, few.count], [8, 1]);
});

test('one JSON document is a row or an array of rows, numbered by place', () => {
  const table = tableOf(column('i', int8));
  const read = (input: string) => {
    const into = new RowBuffer();
    const result = reader(table).json(Buffer.from(input), into);
    assert.equal(result.consumed, Buffer.byteLength(input));
    return [into.count, ...refusals(result)];
  };
  assert.deepEqual(read(' {"i":1} '), [1]);
  assert.deepEqual(read('[{"i":1},\n{"i":"x"} , {"i":3}]'), [2, '2 i wrong-type']);
  assert.deepEqual(read('[{"i":1},5,{"j":[[]]},{"i":2}]'), [
    2,
    '2 - bad-json',
    '3 j unknown-column',
  ]);
  assert.deepEqual(read('[]'), [0]);
  assert.deepEqual(read(''), [0]);
  assert.deepEqual(read('[{"i":1},'), [1, '2 - cut-off']);
  assert.deepEqual(read('[{"i":1}'), [1, '2 - cut-off']);
  assert.deepEqual(read('[{"i":1}{"i":2}]'), [1, '2 - bad-json']);
  assert.deepEqual(read('{"i":1}{"i":2}'), [1, '2 - bad-json']);
  assert.deepEqual(read('"x"'), [0, '1 - bad-json']);
});

test('objects are checked like every other input, and undefined is absent', () => {
  const table = tableOf(
    column('i', int8),
    column('t', { kind: 'timestamptz', fraction: 3 }, optional),
    column('d', { kind: 'date' }, optional),
    column('x', { kind: 'bytea' }, optional),
    column('j', { kind: 'jsonb' }, optional),
    column('f', { kind: 'float', bytes: 8 }, optional),
    column('s', text, optional),
  );
  const rows: Row[] = [
    { i: 9007199254740993n, t: new Date(1), d: new Date(0), x: Buffer.from([1]), s: undefined },
    { i: 5, j: '{"a": 1}', f: -0, s: 'ä' },
    { i: 2 ** 53 },
    { i: 1, f: Number.NaN },
    { i: 1, d: new Date(1) },
    { i: 1, t: new Date(Number.NaN) },
    { i: 1, s: '\ud83d' },
    { i: 1, s: new Date(0) },
    { i: 1, nope: 1 },
    { i: true },
    { i: 1, j: { a: [1] } as never },
    null as never,
  ];
  const into = new RowBuffer();
  const result = reader(table).objects(rows, into);
  assert.deepEqual(rendered(table, into), [
    '{"i":9007199254740993,"t":"1970-01-01T00:00:00.001000Z","d":"1970-01-01","x":"AQ=="}',
    '{"i":5,"j":{"a": 1},"f":-0,"s":"ä"}',
    '{"i":1,"j":{"a":[1]}}',
  ]);
  assert.deepEqual(refusals(result), [
    '3 i inexact',
    '4 f wrong-type',
    '5 d inexact',
    '6 t wrong-type',
    '7 s bad-utf8',
    '8 s wrong-type',
    '9 nope unknown-column',
    '10 i wrong-type',
    '12 - wrong-type',
  ]);
});
