// Rows from JSON and objects: what is taken, with which bytes, and what is refused, with which code.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ColumnType } from '../src/accept/columns.ts';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import type { Row } from '../src/accept/rows.ts';
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
const numeric: ColumnType = { kind: 'numeric', precision: 38, scale: 19 };
const money: ColumnType = { kind: 'numeric', precision: 6, scale: 2 };

/** Value texts and what becomes of them: the rendered value, or the code of the refusal. */
function check(type: ColumnType, cases: Record<string, string>, inexact?: 'round'): void {
  for (const [given, expected] of Object.entries(cases)) {
    const got = value(type, given, inexact ? { inexact } : {});
    assert.equal(got, expected, `${given} as ${JSON.stringify(type)}`);
  }
}

test('integers above 2^53 and decimals of 38 digits arrive exactly', () => {
  check(int8, {
    '9007199254740993': '9007199254740993',
    '-9223372036854775808': '-9223372036854775808',
    '9223372036854775807': '9223372036854775807',
    '"9007199254740993"': '9007199254740993',
    '9223372036854775808': 'out-of-range',
    '-9223372036854775809': 'out-of-range',
    '1e400': 'out-of-range',
  });
  check(numeric, {
    '1234567890123456789.0123456789012345678': '1234567890123456789.0123456789012345678',
    '-9999999999999999999.9999999999999999999': '-9999999999999999999.9999999999999999999',
    '0.0000000000000000001': '0.0000000000000000001',
    '10000000000000000000': 'out-of-range',
    '0.00000000000000000001': 'inexact',
  });
});

test('an integer is taken from any spelling of an integral number and from no other value', () => {
  const int2: ColumnType = { kind: 'int', bytes: 2 };
  check(int2, {
    '1.0': '1',
    '1e3': '1000',
    '3276700e-2': '32767',
    '-0': '0',
    '"12"': '12',
    '32768': 'out-of-range',
    '-32768': '-32768',
    '-32769': 'out-of-range',
    '1.5': 'inexact',
    '1e-1': 'inexact',
    '1e-999999999999': 'inexact',
    true: 'wrong-type',
    '""': 'wrong-type',
    '" 1"': 'wrong-type',
    '"1x"': 'wrong-type',
    '"NaN"': 'wrong-type',
    '[1]': 'wrong-type',
  });
  check(
    { kind: 'int', bytes: 8, unsigned: true },
    { '18446744073709551615': '18446744073709551615' },
  );
  check(
    { kind: 'int', bytes: 4, unsigned: true },
    { '4294967295': '4294967295', '-1': 'out-of-range' },
  );
  check(int2, { '1.5': '2', '-2.5': '-3', '1.4999': '1', '32767.5': 'out-of-range' }, 'round');
});

test('a numeric keeps its scale, refuses digits that it would lose, and rounds where told to', () => {
  check(money, {
    '1.500': '1.50',
    '1': '1.00',
    '-0': '0.00',
    '9999.99': '9999.99',
    '1.2e2': '120.00',
    '12345e-2': '123.45',
    '1.005': 'inexact',
    '10000': 'out-of-range',
    '1e999999999': 'out-of-range',
    '0e999999999': '0.00',
    '"Infinity"': 'wrong-type',
  });
  check(
    money,
    { '1.005': '1.01', '-1.005': '-1.01', '1.00499': '1.00', '9999.995': 'out-of-range' },
    'round',
  );
  check(money, { '0.004': '0.00', '-0.004': '0.00', '0.005': '0.01', '0.0005': '0.00' }, 'round');
  check(
    { kind: 'numeric' },
    {
      '1.500': '1.500',
      '1e-3': '0.001',
      '1.5e3': '1500',
      '100000000': '100000000',
      '0.00010000': '0.00010000',
      '1e131072': 'out-of-range',
      '1e-16384': 'inexact',
    },
  );
  check({ kind: 'numeric', precision: 3, scale: -2 }, { '12300': '12300', '12345': 'inexact' });
  check(
    { kind: 'numeric', precision: 3, scale: 5 },
    { '0.00123': '0.00123', '0.01': 'out-of-range' },
  );
});

test('a float is refused unless it gives the same digits back', () => {
  check(
    { kind: 'float', bytes: 8 },
    {
      '0.1': '0.1',
      '0.1000000000000000055': 'inexact',
      '9007199254740993': 'inexact',
      '1e23': '1e+23',
      '-0.0': '-0',
      '1e309': 'out-of-range',
      '1e-400': 'out-of-range',
    },
  );
  check(
    { kind: 'float', bytes: 4 },
    {
      '0.1': '0.1',
      '16777217': '16777216',
      '3.4028235e38': '3.4028235e+38',
      '1e39': 'out-of-range',
      '0.30000001': '0.3',
    },
    'round',
  );
  check(
    { kind: 'float', bytes: 4 },
    { '16777217': 'inexact', '0.123456789': 'inexact', '1.5': '1.5' },
  );
  check({ kind: 'float', bytes: 8 }, { '0.1000000000000000055': '0.1' }, 'round');
  const viaDouble: ColumnType = { kind: 'numeric', viaDouble: true };
  check(viaDouble, { '0.10': '0.10', '12345678901234567.8': 'inexact', '1e400': 'out-of-range' });
  check(viaDouble, { '0.1000000000000000055': '0.1' }, 'round');
});

test('text is decoded with all its escapes and refused where the column cannot hold it', () => {
  check(text, {
    '"\\u00e4\\ud83d\\ude00\\n\\/\\"\\\\\\b\\f\\r\\t"': '"ä😀\\n/\\"\\\\\\b\\f\\r\\t"',
    '"ä😀"': '"ä😀"',
    '""': '""',
    '"\\u0000"': 'nul-byte',
    '"\\ud83d"': 'bad-json',
    '"\\ude00\\ud83d"': 'bad-json',
    '"\\x"': 'bad-json',
    '"\u0001"': 'bad-json',
    '1': 'wrong-type',
    true: 'wrong-type',
  });
  const varchar: ColumnType = { kind: 'text', charactersMax: 3 };
  check(varchar, {
    '"äöü"': '"äöü"',
    '"😀😀😀"': '"😀😀😀"',
    '"abcd"': 'too-long',
    '"abc "': 'too-long',
  });
  const char: ColumnType = { kind: 'text', charactersMax: 3, padded: true };
  check(char, { '"abc  "': '"abc"', '"a"': '"a"', '"a  "': '"a"', '"abcd"': 'too-long' });
});

test('times are ISO 8601, real ones, with a zone exactly where the column has one', () => {
  check(
    { kind: 'timestamptz', fraction: 6 },
    {
      '"2024-02-29T12:00:00Z"': '"2024-02-29T12:00:00Z"',
      '"2024-02-29 12:00:00.5+02:30"': '"2024-02-29T09:30:00.500000Z"',
      '"2024-02-29T12:00:00.123456z"': '"2024-02-29T12:00:00.123456Z"',
      '"2024-01-01T00:00:00-08"': '"2024-01-01T08:00:00Z"',
      '"2024-01-01T00:00:00+0530"': '"2023-12-31T18:30:00Z"',
      '"2024-01-01T00:00:00"': 'wrong-type',
      '"2023-02-29T12:00:00Z"': 'wrong-type',
      '"2024-01-01T24:00:00Z"': 'wrong-type',
      '"2024-12-31T23:59:60Z"': 'wrong-type',
      '"2024-01-01T00:00:00.Z"': 'wrong-type',
      '"2024-01-01T00:00:00.1234567Z"': 'inexact',
      '"2024-01-01T00:00:00.1234560Z"': '"2024-01-01T00:00:00.123456Z"',
      '"0001-01-01T00:00:00+00:01"': 'out-of-range',
      '"9999-12-31T23:59:59-00:01"': 'out-of-range',
      '"0000-01-01T00:00:00Z"': 'wrong-type',
      '"2024-01-01T00:00:00+16:00"': 'wrong-type',
      '1700000000': 'wrong-type',
    },
  );
  check(
    { kind: 'timestamp', fraction: 0 },
    {
      '"1999-12-31T23:59:59"': '"1999-12-31T23:59:59"',
      '"1999-12-31T23:59:59Z"': 'wrong-type',
      '"1999-12-31T23:59:59.5"': 'inexact',
      '"1999-12-31"': 'wrong-type',
    },
  );
  check(
    { kind: 'timestamp', fraction: 0 },
    { '"2023-12-31T23:59:59.5"': '"2024-01-01T00:00:00"' },
    'round',
  );
  check(
    { kind: 'date' },
    {
      '"0001-01-01"': '"0001-01-01"',
      '"9999-12-31"': '"9999-12-31"',
      '"1900-02-29"': 'wrong-type',
      '"2000-02-29"': '"2000-02-29"',
      '"2024-1-01"': 'wrong-type',
      '"20240101"': 'wrong-type',
    },
  );
  check(
    { kind: 'time', fraction: 3 },
    {
      '"23:59:59.999"': '"23:59:59.999000"',
      '"24:00:00"': 'wrong-type',
      '"12:00:00Z"': 'wrong-type',
      '"12:00:00.0001"': 'inexact',
    },
  );
  check({ kind: 'time', fraction: 3 }, { '"23:59:59.9996"': 'out-of-range' }, 'round');
});

test('booleans, UUIDs, bytes, labels and types that are cast take their own spellings only', () => {
  check(
    { kind: 'bool' },
    { true: 'true', false: 'false', '1': 'wrong-type', '"true"': 'wrong-type' },
  );
  const uuid = '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"';
  check(
    { kind: 'uuid' },
    {
      [uuid]: uuid,
      '"{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}"': uuid,
      '"a0eebc999c0b4ef8bb6d6bb9bd380a11"': uuid,
      '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1"': 'wrong-type',
      '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g"': 'wrong-type',
      '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1111"': 'wrong-type',
      '""': 'wrong-type',
    },
  );
  check(
    { kind: 'bytea' },
    {
      '"3q0="': '"3q0="',
      '""': '""',
      '"AAECAw=="': '"AAECAw=="',
      '"3q1="': 'wrong-type',
      '"3q0"': 'wrong-type',
      '"3q0=="': 'wrong-type',
      '"3*0="': 'wrong-type',
    },
  );
  check(
    { kind: 'enum', labels: ['new', 'öld'] },
    { '"öld"': '"öld"', '"old"': 'wrong-type', '1': 'wrong-type' },
  );
  check(
    { kind: 'cast' },
    { '"1 day"': '"1 day"', '1.50': '"1.50"', true: '"true"', '{"a":1}': '"{\\"a\\":1}"' },
  );
});

test('a JSON column keeps the bytes of its value, and jsonb refuses what it cannot hold', () => {
  const verbatim = '{ "b" : [1.50, 1e2,{}] ,"a":"\\u00e4", "a":null}';
  check({ kind: 'json' }, { [verbatim]: verbatim, '"x\\u0000"': '"x\\u0000"', '1.0': '1.0' });
  check(
    { kind: 'jsonb' },
    { [verbatim]: verbatim, '{"a":"\\u0000"}': 'nul-byte', '"\\\\u0000"': '"\\\\u0000"' },
  );
});

test('nesting as deep as the limit is taken, deeper is refused, and 200,000 levels crash nothing', () => {
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

test('zero, the empty string and false are values, and refused only where nonZero names them', () => {
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
  let [line, skipping, rest] = [1, false, Buffer.alloc(0)];
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

test('stopAtFirst leaves the refused line unread, and bytesMax stops between lines', () => {
  const table = tableOf(column('i', int8));
  const input = Buffer.from('{"i":1}\n{"i":2}\n{"i":"x"}\n{"i":4}\n');
  const into = new RowBuffer();
  const stopped = reader(table).ndjson(input, into, { stopAtFirst: true });
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
