// CSV: records and fields as RFC 4180 has them, what a field means to a column, and where input
// ends.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { ColumnType } from '../src/accept/columns.ts';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import type { CsvOptions, RowRules } from '../src/accept/rows.ts';
import { HoldfastError } from '../src/errors.ts';
import { column, field, optional, reader, refusals, rendered, tableOf } from './support/rows.ts';

const int4: ColumnType = { kind: 'int', bytes: 4 };
const text: ColumnType = { kind: 'text' };
const pairs = tableOf(column('i', int4), column('s', text, optional));

interface Given {
  readonly options?: CsvOptions;
  readonly rules?: Partial<RowRules>;
  /** Sizes of the chunks that the input comes in; absent: whole. */
  readonly chunkBytes?: number;
}

function read(input: string | Uint8Array, { options = {}, rules, chunkBytes }: Given = {}) {
  const bytes = Buffer.from(input);
  const csv = reader(pairs, rules).csv(options);
  const into = new RowBuffer();
  const refused: string[] = [];
  let [line, rest] = [1, Buffer.alloc(0)];
  const step = chunkBytes ?? Math.max(1, bytes.length);
  for (let at = 0; at < bytes.length; at += step) {
    rest = Buffer.concat([rest, bytes.subarray(at, at + step)]);
    const result = csv.read(rest, into, { firstLine: line, isLast: at + step >= bytes.length });
    refused.push(...refusals(result));
    line += result.lines;
    rest = rest.subarray(result.consumed);
  }
  return { rows: rendered(pairs, into), refused, lines: line - 1 };
}

test('quotes, delimiters and newlines in fields are read as RFC 4180 has them', () => {
  const { rows, refused, lines } = read('s,i\r\n"a,""b""\r\nc",1\r\nplain,"2"\n"",3\n,4\n');
  assert.deepEqual(refused, []);
  assert.deepEqual(rows, [
    '{"i":1,"s":"a,\\"b\\"\\r\\nc"}',
    '{"i":2,"s":"plain"}',
    '{"i":3,"s":""}',
    '{"i":4,"s":null}',
  ]);
  assert.equal(lines, 6);
});

test('any ASCII character can part fields, and names can be given instead of a header', () => {
  for (const delimiter of [';', '\t', '|', ':', ' ']) {
    const options = { delimiter, columns: ['i', 's'] };
    assert.deepEqual(read(`1${delimiter}x\n`, { options }).rows, ['{"i":1,"s":"x"}']);
  }
  for (const delimiter of ['', '"', '\n', ',,', 'ä']) {
    assert.throws(() => read('1', { options: { delimiter } }), { code: 'HF_USAGE' });
  }
});

test('an empty field and the given spellings are null, the same in quotes are text', () => {
  const options = { nulls: ['NULL', '\\N'] };
  const { rows } = read('i,s\n1,\n2,NULL\n3,\\N\n4,"NULL"\n5,""\n', { options });
  assert.deepEqual(
    rows.map((row) => row.slice(7, -1)),
    ['"s":null', '"s":null', '"s":null', '"s":"NULL"', '"s":""'],
  );
  assert.deepEqual(read('i,s\n,a\n').refused, ['2 i null-not-allowed']);
});

test('a header that does not fit the table refuses the input with one rejection', () => {
  const cases: [string, string][] = [
    ['i,nope\n1,2\n3,4\n', '1 nope unknown-column'],
    ['\ni,i\n1,2\n', '2 i duplicate-name'],
    ['s\nx\n', '1 i missing-column'],
  ];
  for (const [input, expected] of cases) {
    assert.throws(
      () => read(input),
      (error) => {
        assert.ok(error instanceof HoldfastError);
        assert.equal(error.code, 'HF_ROWS_REFUSED');
        const found = error.rejected?.map((r) => `${r.line} ${r.column} ${r.code}`);
        assert.deepEqual(found, [expected]);
        return true;
      },
    );
  }
  assert.throws(() => read('1,2', { options: { columns: ['i', 'x'] } }), {
    code: 'HF_ROWS_REFUSED',
  });
});

test('ragged lines and stray quotes are refused by physical line, and the next is read', () => {
  const { rows, refused } = read('i,s\n1,"a\nb"\n2\n3,c,d\n4,e"f\n5,"g"h\n\n6,ok\n');
  assert.deepEqual(refused, ['4 - bad-csv', '5 - bad-csv', '6 - bad-csv', '7 - bad-csv']);
  assert.deepEqual(rows, ['{"i":1,"s":"a\\nb"}', '{"i":6,"s":"ok"}']);
});

test('a last line that lacks its newline is whole if its fields are, and cut off otherwise', () => {
  assert.deepEqual(read('i,s\n1,a').rows, ['{"i":1,"s":"a"}']);
  assert.deepEqual(read('i,s\n1,"a"\r').rows, ['{"i":1,"s":"a"}']);
  assert.deepEqual(read('i,s\n1,a\n2').refused, ['3 - cut-off']);
  assert.deepEqual(read('i,s\n1,a\n2,"a\nb').refused, ['3 - cut-off']);
  assert.deepEqual(read('i,s\n1,a\n2\n').refused, ['3 - bad-csv']);
});

test('chunks of any size read like the whole', () => {
  const input = '\ufeffs,i\r\n"a,""b""\r\nc",1\r\nä,2\n"x"y,3\n"",x\n\n"ragged"\r\n,4\r\n"cut';
  const whole = read(input);
  assert.deepEqual(whole.refused, ['5 - bad-csv', '6 i wrong-type', '8 - bad-csv', '10 - cut-off']);
  for (let chunkBytes = 1; chunkBytes < 20; chunkBytes++) {
    assert.deepEqual(read(input, { chunkBytes }), whole);
  }
});

test('a record longer than the limit is refused once and skipped, newlines included', () => {
  const long = `1,"${'x\n'.repeat(50)}""y"\n2,b\n3,${'z'.repeat(80)}\n4,d\n`;
  for (const chunkBytes of [7, 16, 1000]) {
    const { rows, refused } = read(`i,s\n${long}`, { rules: { lineBytesMax: 64 }, chunkBytes });
    assert.deepEqual(refused, ['2 - line-too-long', '54 - line-too-long']);
    assert.deepEqual(rows, ['{"i":2,"s":"b"}', '{"i":4,"s":"d"}']);
  }
});

test('fields take the spellings of CSV for each type', () => {
  const cases: [ColumnType, string, string][] = [
    [{ kind: 'bool' }, 'T', 'true'],
    [{ kind: 'bool' }, '0', 'false'],
    [{ kind: 'bool' }, 'FALSE', 'false'],
    [{ kind: 'bool' }, 'yes', 'wrong-type'],
    [int4, '007', '7'],
    [int4, '+7', '7'],
    [int4, '""', 'wrong-type'],
    [{ kind: 'numeric', precision: 5, scale: 2 }, '-1.5', '-1.50'],
    [{ kind: 'date' }, '20240229', '"2024-02-29"'],
    [{ kind: 'date' }, '2024/02/29', '"2024-02-29"'],
    [{ kind: 'date' }, '2024-02-29 00:00:00', '"2024-02-29"'],
    [{ kind: 'date' }, '2024-02-29 00:00:01', 'wrong-type'],
    [{ kind: 'date' }, '2024-02/29', 'wrong-type'],
    [{ kind: 'timestamp', fraction: 6 }, '2024-02-29', '"2024-02-29T00:00:00"'],
    [{ kind: 'timestamptz', fraction: 6 }, '2024-02-29', 'wrong-type'],
    [{ kind: 'bytea' }, '3q0=', '"3q0="'],
    [{ kind: 'json' }, '"{""a"": [1]}"', '{"a": [1]}'],
    [{ kind: 'json' }, '{]', 'wrong-type'],
    [{ kind: 'json' }, '['.repeat(200_000), 'too-deep'],
    [{ kind: 'cast' }, '1 day', '"1 day"'],
    [text, 'a\0b', 'nul-byte'],
  ];
  for (const [type, given, expected] of cases) assert.equal(field(type, given), expected, given);
});

test('bad UTF-8 in a field refuses its line', () => {
  const input = Buffer.concat([
    Buffer.from('i,s\n1,'),
    Buffer.from([0xff]),
    Buffer.from('\n2,b\n'),
  ]);
  assert.deepEqual(read(input).refused, ['2 - bad-utf8']);
});

const berka = new URL('../../shared/data/berka-trans.asc', import.meta.url);

test('the Berka file gives 49,102 rows and names its cut line', {
  skip: !existsSync(berka),
}, () => {
  const money: ColumnType = { kind: 'numeric', precision: 12, scale: 2 };
  const table = tableOf(
    column('trans_id', int4),
    column('account_id', int4),
    column('date', int4),
    column('type', text),
    column('operation', text),
    column('amount', money),
    column('balance', money),
    column('k_symbol', text, optional),
    column('bank', text, optional),
    column('account', { kind: 'int', bytes: 8 }, optional),
  );
  const into = new RowBuffer();
  const read = reader(table, { key: ['trans_id'], lanes: 64 });
  const result = read.csv({ delimiter: ';' }).read(readFileSync(berka), into);
  assert.equal(into.count, 49_102);
  assert.deepEqual(refusals(result), ['49104 - cut-off']);
});
