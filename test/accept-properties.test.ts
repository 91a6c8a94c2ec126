// What must hold for any input: the fast way and the slow one agree to the byte, a rendered row
// decodes to the same tuple, chunks read like the whole, and the arithmetic agrees with an
// independent one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { dateText, daysOf, momentOf, timestampText } from '../src/accept/calendar.ts';
import type { ColumnType, Table } from '../src/accept/columns.ts';
import { JsonScanner } from '../src/accept/json-scan.ts';
import { compileJson } from '../src/accept/json-text.ts';
import { numericText, shortNumeric } from '../src/accept/numeric.ts';
import { tupleBytes } from '../src/accept/render.ts';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import type { RowRules, Skipping } from '../src/accept/rows.ts';
import { TextBuffer } from '../src/accept/text-buffer.ts';
import { agree, everything } from './support/agree.ts';
import { column, optional, payments, reader, rendered, tableOf, value } from './support/rows.ts';

const digits = (min: number, max: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789'.split('')), minLength: min, maxLength: max });
const sign = fc.constantFrom('', '', '-');
const integer = fc.oneof(
  fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }).map(String),
  fc.integer({ min: -70_000, max: 70_000 }).map(String),
  fc.tuple(sign, digits(1, 20)).map((parts) => parts.join('')),
);
const decimal = fc
  .tuple(
    sign,
    digits(1, 10),
    fc.constantFrom('', '.'),
    digits(1, 6),
    fc.constantFrom('', '', 'e2', 'E-3'),
  )
  .map(
    ([s, whole, point, rest, exponent]) => s + BigInt(whole) + point + (point && rest) + exponent,
  );
const maybeQuoted = (text: fc.Arbitrary<string>) =>
  fc.oneof({ weight: 3, arbitrary: text }, { weight: 1, arbitrary: text.map((t) => `"${t}"`) });
const plainText = fc.oneof(
  fc.string({ maxLength: 12 }).map((s) => JSON.stringify(s)),
  fc.string({ unit: 'grapheme', maxLength: 12 }).map((s) => JSON.stringify(s)),
  fc
    .string({ unit: fc.constantFrom('a', ' ', 'ä', '😀', '\\', '\n'), maxLength: 40 })
    .map((s) => JSON.stringify(s)),
  fc.constantFrom('"\\u0000"', '"\\ud83d"', '"\\u00e4"', '"a\u0001"', '"'),
);
const moment = fc
  .tuple(
    fc.integer({ min: 0, max: 10_000 }),
    fc.integer({ min: 0, max: 13 }),
    fc.integer({ min: 0, max: 32 }),
    fc.integer({ min: 0, max: 24 }),
    fc.constantFrom('T', ' ', 't'),
    fc.constantFrom('', '.', '.5', '.123', '.123456', '.1234560', '.1234567'),
    fc.constantFrom('', 'Z', '+00:00', '-08:30', '+1530', '+15:59', '+16:00', 'z'),
  )
  .map(([y, mo, d, h, separator, fraction, zone]) => {
    const two = (n: number) => String(n).padStart(2, '0');
    const date = `${String(y).padStart(4, '0')}-${two(mo)}-${two(d)}`;
    return `"${date}${separator}${two(h)}:59:${two(h * 2)}${fraction}${zone}"`;
  });

interface Kind {
  readonly type: ColumnType;
  readonly text: fc.Arbitrary<string>;
}
const kinds: Kind[] = [
  { type: { kind: 'int', bytes: 2 }, text: maybeQuoted(integer) },
  { type: { kind: 'int', bytes: 4, unsigned: true }, text: integer },
  { type: { kind: 'int', bytes: 8 }, text: maybeQuoted(integer) },
  { type: { kind: 'int', bytes: 8, unsigned: true }, text: integer },
  {
    type: { kind: 'int', bytes: 2, min: '-128', max: '127', booleans: true },
    text: fc.oneof(maybeQuoted(integer), fc.constantFrom('true', 'false', '"true"', 'tru')),
  },
  { type: { kind: 'int', bytes: 4, min: '-8388608', max: '8388607' }, text: integer },
  { type: { kind: 'float', bytes: 8, unsigned: true }, text: decimal },
  { type: { kind: 'numeric', precision: 10, scale: 3, unsigned: true }, text: decimal },
  { type: { kind: 'text', charactersMax: 9, bytesMax: 12 }, text: plainText },
  { type: { kind: 'timestamptz', fraction: 6, secondsMax: 2_147_483_647 }, text: moment },
  { type: { kind: 'numeric', precision: 10, scale: 3 }, text: maybeQuoted(decimal) },
  { type: { kind: 'numeric' }, text: maybeQuoted(decimal) },
  { type: { kind: 'numeric', viaDouble: true }, text: decimal },
  { type: { kind: 'numeric', precision: 3, scale: 5 }, text: decimal },
  { type: { kind: 'float', bytes: 8 }, text: maybeQuoted(decimal) },
  { type: { kind: 'float', bytes: 4 }, text: decimal },
  { type: { kind: 'bool' }, text: fc.constantFrom('true', 'false', 'True', '0') },
  { type: { kind: 'text' }, text: plainText },
  { type: { kind: 'text', charactersMax: 5 }, text: plainText },
  { type: { kind: 'text', charactersMax: 8, padded: true }, text: plainText },
  { type: { kind: 'timestamptz', fraction: 6 }, text: moment },
  { type: { kind: 'timestamp', fraction: 2 }, text: moment },
  { type: { kind: 'date' }, text: moment.map((m) => `${m.slice(0, 11)}"`) },
  { type: { kind: 'time', fraction: 6 }, text: moment.map((m) => `"${m.slice(12)}`) },
  { type: { kind: 'jsonb' }, text: fc.json() },
  {
    type: { kind: 'enum', labels: ['new', 'old'] },
    text: fc.constantFrom('"new"', '"old"', '"no"'),
  },
  { type: { kind: 'uuid' }, text: fc.uuid().map((id) => `"${id}"`) },
  {
    type: { kind: 'bytea', bytesMax: 4, fixed: true },
    text: fc.uint8Array({ maxLength: 6 }).map((b) => `"${Buffer.from(b).toString('base64')}"`),
  },
  {
    type: { kind: 'bytea' },
    text: fc.uint8Array({ maxLength: 9 }).map((b) => `"${Buffer.from(b).toString('base64')}"`),
  },
];

interface Sample {
  readonly table: Table;
  readonly rules: Partial<RowRules>;
  readonly lines: readonly string[];
}

/** A table of a few of the kinds, and lines that mostly have one shape. */
const sample: fc.Arbitrary<Sample> = fc
  .record({
    picked: fc.uniqueArray(fc.constantFrom(...kinds.keys()), { minLength: 1, maxLength: 5 }),
    nullable: fc.boolean(),
    isKeyed: fc.boolean(),
    nonZero: fc.boolean(),
    inexact: fc.constantFrom('refuse' as const, 'round' as const),
    isReversed: fc.boolean(),
    gap: fc.constantFrom('', '', ' '),
    end: fc.constantFrom('', '', '\r'),
    rowBytesMax: fc.constantFrom(undefined, undefined, 30, 60),
  })
  .chain(({ picked, nullable, isKeyed, nonZero, inexact, isReversed, gap, end, rowBytesMax }) => {
    const columns = picked.map((k, i) =>
      column(`c"${i}`, kinds[k]?.type ?? { kind: 'cast' }, nullable ? optional : {}),
    );
    const texts = picked.map((k) =>
      fc.oneof(
        { weight: 9, arbitrary: kinds[k]?.text ?? fc.constant('1') },
        { weight: 1, arbitrary: fc.constantFrom('null', '{}', '"x"', '-', '1', '') },
      ),
    );
    const lines = fc.array(
      fc
        .tuple(fc.tuple(...texts), fc.nat(40), fc.nat(200), fc.nat(255))
        .map(([values, chance, at, byte]) => {
          const members = values.map((v, i) => `${JSON.stringify(`c"${i}`)}:${gap}${v}`);
          if (isReversed !== (chance === 1)) members.reverse();
          if (chance === 2) members.pop();
          const line = `{${members.join(`,${gap}`)}}${end}`;
          if (chance > 4) return line;
          return (
            line.slice(0, at) +
            String.fromCharCode(byte % 128).replace('\n', ' ') +
            line.slice(at + 1)
          );
        }),
      { minLength: 3, maxLength: 20 },
    );
    const names = columns.map((c) => c.name);
    const rules = { lanes: 7, inexact, lineBytesMax: 400 };
    const bound = rowBytesMax === undefined ? {} : { rowBytesMax };
    return lines.map((all) => ({
      table: { ...tableOf(...columns), ...bound },
      rules: { ...rules, key: isKeyed ? names.slice(0, 2) : [], nonZero: nonZero ? names : [] },
      lines: all,
    }));
  });

const shape = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

test('the fast way and the slow one give the same tuples, lanes and refusals', () => {
  let goodRows = 0;
  fc.assert(
    fc.property(sample, fc.nat(7), (lines, shift) => {
      goodRows += agree(lines, shift);
    }),
    { numRuns: 600 },
  );
  assert.ok(goodRows > 500, `${goodRows} rows were good ones`);
});

test('a rendered row decodes to the tuple that it came from', () => {
  fc.assert(
    fc.property(sample, ({ table, rules, lines }) => {
      const first = new RowBuffer();
      reader(table, rules).ndjson(Buffer.from(shape(lines)), first);
      const again = new RowBuffer();
      const text = shape(rendered(table, first));
      const { rejected } = reader(table, rules).ndjson(Buffer.from(text), again);
      assert.deepEqual(rejected, []);
      assert.deepEqual(everything(again, true), everything(first, true));
    }),
    { numRuns: 300 },
  );
});

test('numbers of any weight and scale are rendered whole, wherever the text has come to', () => {
  const table = tableOf(column('v', { kind: 'numeric' }), column('w', { kind: 'numeric' }));
  for (const text of ['1e5000', '-1e131071', '1e-16383', '12345e131067', '0.000', '-7e-40']) {
    const into = new RowBuffer();
    reader(table).ndjson(Buffer.from(`{"v":${text},"w":${text}}\n`), into);
    assert.equal(into.count, 1, text);
    const [set = []] = into.columnSets;
    const out = new TextBuffer(1);
    compileJson(table, set)(out, tupleBytes(into.bytes), 0);
    const { v, w } = JSON.parse(
      out.bytes.toString('latin1', 0, out.at).replaceAll(/:([^,}]+)/g, ':"$1"'),
    ) as { v: string; w: string };
    assert.equal(v, w);
    const again = new RowBuffer();
    reader(table).ndjson(Buffer.from(`{"v":${v},"w":${w}}\n`), again);
    const tupleOf = ({ bytes, length }: RowBuffer): Buffer =>
      Buffer.from(bytes.subarray(0, length));
    assert(tupleOf(again).equals(tupleOf(into)), `${text} is the same again`);
  }
});

test('NDJSON in chunks of any size reads like the whole', () => {
  fc.assert(
    fc.property(sample, fc.integer({ min: 1, max: 300 }), ({ table, rules, lines }, step) => {
      const bytes = Buffer.from(shape(lines).slice(0, -1));
      const whole = new RowBuffer();
      const { rejected, lines: count } = reader(table, rules).ndjson(bytes, whole);
      const parts = new RowBuffer();
      const read = reader(table, rules);
      const refused: unknown[] = [];
      let [line, rest] = [1, Buffer.alloc(0)];
      let skipping: Skipping = false;
      for (let at = 0; at < bytes.length; at += step) {
        rest = Buffer.concat([rest, bytes.subarray(at, at + step)]);
        const isLast = at + step >= bytes.length;
        const result = read.ndjson(rest, parts, { firstLine: line, isLast, skipping });
        refused.push(...result.rejected.map((one) => one.rejection));
        ({ skipping } = result);
        line += result.lines;
        rest = rest.subarray(result.consumed);
      }
      assert.deepEqual(everything(parts, false), everything(whole, false));
      assert.deepEqual(
        refused,
        rejected.map((one) => one.rejection),
      );
      assert.equal(line - 1, count);
    }),
    { numRuns: 200 },
  );
});

test('rows of one key share a lane whatever way they came, and keys spread over the lanes', () => {
  const rules = { key: ['k'], lanes: 64 };
  const table = tableOf(column('k', { kind: 'numeric' }), column('v', { kind: 'text' }));
  const lanes = (json: string): number[] => {
    const into = new RowBuffer();
    reader(table, rules).ndjson(Buffer.from(json), into);
    return [...into.lanes.subarray(0, into.count)];
  };
  const equal = ['1.5', '1.50', '"1.500"', '15e-1'].map((k) => `{"k":${k},"v":"${k.length}"}\n`);
  assert.equal(new Set(lanes(equal.join(''))).size, 1);
  const many = Array.from({ length: 6400 }, (_, i) => `{"k":${i},"v":""}\n`).join('');
  const counts = new Array(64).fill(0);
  for (const lane of lanes(many)) counts[lane]++;
  assert.ok(Math.min(...counts) > 50 && Math.max(...counts) < 150, counts.join());
});

test('the lane hash is written down: it must not change under a journal', () => {
  const into = new RowBuffer();
  const read = reader(payments, { key: ['tx_id'], lanes: 64 });
  const row = { user_id: 1, amount: '1', status: '', created_at: new Date(0) };
  read.objects(
    [1, 2, 3, 10 ** 12].map((tx_id) => ({ tx_id, ...row })),
    into,
  );
  assert.deepEqual([...into.lanes.subarray(0, 4)], [24, 45, 37, 46]);
});

test('JSON is taken exactly where JSON.parse takes it', () => {
  const scanner = new JsonScanner();
  const noise = fc.string({
    unit: fc.constantFrom(...'{}[],:"\\u0019ae-+. tfnlrsd'.split('')),
    maxLength: 12,
  });
  const broken = fc
    .tuple(fc.json(), fc.nat(60), fc.constantFrom(...'{}[],:"\\0-. e'.split(''), ''))
    .map(([text, at, byte]) => text.slice(0, at) + byte + text.slice(at + 1));
  fc.assert(
    fc.property(fc.oneof(fc.json(), noise, broken), (text) => {
      const bytes = Buffer.from(text);
      scanner.begin(bytes, 0, bytes.length);
      const taken = scanner.document();
      let parsed = true;
      try {
        parsed = JSON.parse(text) !== undefined;
      } catch {
        parsed = false;
      }
      // Half a surrogate pair is the one thing that is refused here and not there.
      if (parsed && /\\u[dD][89a-fA-F]/.test(text)) return;
      assert.equal(taken, parsed, text);
    }),
    { numRuns: 3000 },
  );
});

test('a decimal is the same number after any exponent, as BigInt says', () => {
  const type: ColumnType = { kind: 'numeric', precision: 60, scale: 20 };
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.nat(20), (n, exponent) => {
      const scaled = n * 10n ** BigInt(20 - exponent);
      const text = String(scaled < 0n ? -scaled : scaled).padStart(21, '0');
      const expected = `${scaled < 0n ? '-' : ''}${text.slice(0, -20)}.${text.slice(-20)}`;
      assert.equal(value(type, `${n}e-${exponent}`), expected);
      assert.equal(value(type, `"${expected}"`), expected);
    }),
  );
});

test('a numeric of up to 15 digits is read as the double nearest to its text', () => {
  const type: ColumnType = { kind: 'numeric', precision: 40, scale: 20 };
  const table = tableOf(column('v', type));
  const digits = fc.bigInt({ min: -(10n ** 17n), max: 10n ** 17n });
  let short = 0;
  fc.assert(
    fc.property(fc.oneof(digits, fc.bigInt(-99_999n, 99_999n)), fc.nat(20), (n, exponent) => {
      const into = new RowBuffer();
      reader(table).ndjson(Buffer.from(`{"v":${n}e-${exponent}}\n`), into);
      const { view } = tupleBytes(into.bytes);
      const text = numericText(view, into.start(0) + 6);
      const got = shortNumeric(view, into.start(0) + 6);
      if (got === undefined) {
        assert(n > 10n ** 11n || n < -(10n ** 11n) || exponent > 11, text);
      } else {
        assert.equal(got, Number(text), text);
        short += 1;
      }
    }),
    { numRuns: 1_000 },
  );
  assert(short > 300, `${short} were short`);
});

test('days and timestamps agree with the calendar of the language', () => {
  const seconds = (text: string): number => Date.parse(text) / 1000 - 946_684_800;
  const min = seconds('0001-01-01T00:00:00Z');
  const max = seconds('9999-12-31T23:59:59Z');
  fc.assert(
    fc.property(fc.integer({ min, max }), fc.nat(999), (whole, millis) => {
      const date = new Date((whole + 946_684_800) * 1000 + millis);
      const text = timestampText(
        momentOf(BigInt(whole) * 1_000_000n + BigInt(millis) * 1000n),
        'T',
      );
      assert.equal(text.slice(0, 19), date.toISOString().slice(0, 19));
      assert.equal(value({ kind: 'timestamp', fraction: 6 }, `"${text}"`), `"${text}"`);
      assert.equal(Date.parse(`${text}Z`), date.getTime());
      const [y, m, d] = [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()];
      assert.equal(dateText(daysOf(y, m, d)), date.toISOString().slice(0, 10));
      assert.equal(daysOf(y, m, d), Math.floor(whole / 86_400));
    }),
    { numRuns: 1000 },
  );
});

test('every double that JSON can write is taken and comes back bit by bit', () => {
  fc.assert(
    fc.property(fc.double({ noDefaultInfinity: true, noNaN: true }), (n) => {
      const text = Object.is(n, -0) ? '-0' : String(n);
      assert.equal(value({ kind: 'float', bytes: 8 }, text), text);
      const single = Math.fround(n);
      if (!Number.isFinite(single) || single === 0) return;
      const type: ColumnType = { kind: 'float', bytes: 4 };
      const short = value(type, String(single), { inexact: 'round' });
      assert.equal(Math.fround(Number(short)), single);
      assert.equal(value(type, short), short, 'the short form is exact');
    }),
    { numRuns: 1000 },
  );
});
