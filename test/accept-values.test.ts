// Values of each column type from JSON: what is taken, with which value, and what is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ColumnType } from '../src/accept/columns.ts';
import { value } from './support/rows.ts';

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

test('a numeric refuses digits that it would lose, or rounds them where told to', () => {
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
