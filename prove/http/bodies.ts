// Bodies that are wrong, or nearly: some by name, others drawn from a seed. What a body that was
// taken says is read here a second time, by JSON.parse with the source of its numbers, and must be
// in the table as that.
import type { Random } from '../../test/simulation/random.ts';
import type { StreamRow } from './site.ts';

export interface HostileBody {
  readonly name: string;
  readonly type: string;
  readonly bytes: Buffer;
  /** The rows that it writes; undefined where it must be refused. */
  readonly rows: readonly StreamRow[] | undefined;
  /** Drawn ones may be refused where they were changed. */
  readonly mayBeRefused: boolean;
}

const ndjson = 'application/x-ndjson';
const maxInt64 = 9_223_372_036_854_775_807n;
const good = (count: number): string =>
  Array.from({ length: count }, (_, i) => `{"id":${i},"note":"good"}\n`).join('');

type Text = string | Buffer;
const joined = (...parts: readonly Text[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));

const refusedNdjson: Readonly<Record<string, Text>> = {
  'an object 200,000 deep': `{"id":1,"note":${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}}`,
  'an array 200,000 deep': `{"id":1,"note":${'['.repeat(200_000)}${']'.repeat(200_000)}}`,
  'depth in a column not there': `{"id":1,"x":${'['.repeat(200_000)}${']'.repeat(200_000)}}`,
  '200,000 brackets that never close': '['.repeat(200_000),
  'bytes that are no UTF-8': joined('{"id":1,"note":"', Buffer.from([0xff, 0xfe]), '"}'),
  'an overlong slash': joined('{"id":1,"note":"', Buffer.from([0xc0, 0xaf]), '"}'),
  'half a surrogate pair in UTF-8': joined(
    '{"id":1,"note":"',
    Buffer.from([0xed, 0xa0, 0x80]),
    '"}',
  ),
  'half a surrogate pair as an escape': '{"id":1,"note":"\\ud800"}',
  'a pair the wrong way round': '{"id":1,"note":"\\udc00\\ud800"}',
  '__proto__ for a column': '{"id":1,"note":"a","__proto__":{"id":2}}',
  'constructor for a column': '{"id":1,"constructor":{"prototype":{"id":2}}}',
  'a number beyond 64 bits': `{"id":${maxInt64 + 1n}}`,
  'a number of 100,000 digits': `{"id":${'9'.repeat(100_000)}}`,
  'a power beyond all': '{"id":1e999999999}',
  'a fraction for a whole number': '{"id":1.5}',
  'not a number': '{"id":NaN}',
  'a number that begins with 0': '{"id":01}',
  'a string that does not end': '{"id":1,"note":"',
  'an escape that is none': '{"id":1,"note":"\\x41"}',
  'a line break in a string': '{"id":1,"note":"a\nb"}',
  'a comment': '{"id":1,/* hidden */"note":"a"}',
  'a column twice': '{"id":1,"note":"a","note":"b"}',
  'the key twice': '{"id":1,"id":2,"note":"a"}',
  'two rows on one line': '{"id":1}{"id":2}',
  'an array among the lines': '[{"id":1}]',
  'one bad line among 500': `${good(300)}{"id":"none"}\n${good(199)}`,
  'a bad last line without its end': `${good(10)}{"id":`,
  'a column too many in the last of 500': `${good(499)}{"id":1,"more":1}\n`,
  'nothing but blanks': ' \n\n \n',
};

const refusedCsv: Readonly<Record<string, string>> = {
  'a quote that does not end': 'id,note\n1,"never',
  'text after a quote': 'id,note\n1,"a"b\n',
  'a field too many': 'id,note\n1,a,b\n',
  'a field too few': 'id,note\n1,a\n2\n',
  'a column that is not there': 'id,note,more\n1,a,b\n',
  'a column twice': 'id,id\n1,2\n',
  'nothing but a header': 'id,note\n',
  'a number beyond 64 bits': `id,note\n${maxInt64 + 1n},a\n`,
};

const refusedJson: Readonly<Record<string, string>> = {
  'brackets 200,000 deep': `${'['.repeat(200_000)}${']'.repeat(200_000)}`,
  'an array that does not end': '[{"id":1},',
  'a comma too many': '[{"id":1},]',
  'more after its end': '[{"id":1}] {"id":2}',
  'a number for a row': '[1]',
  'a column twice': '[{"id":1,"note":"a","note":"b"}]',
};

/** Numbers at which a double would have been somebody else. */
const exact = [
  9_007_199_254_740_993n,
  -9_007_199_254_740_993n,
  1_234_567_890_123_456_789n,
  maxInt64,
  -maxInt64 - 1n,
];

const taken: readonly HostileBody[] = [
  {
    name: 'numbers beyond 2^53',
    type: ndjson,
    bytes: Buffer.from(exact.map((id) => `{"id":${id},"note":"exact"}\n`).join('')),
  },
  {
    name: 'numbers beyond 2^53 in an array',
    type: 'application/json',
    bytes: Buffer.from(`[${exact.map((id) => `{"id":${id},"note":"exact"}`).join()}]`),
  },
  {
    name: 'numbers beyond 2^53 in CSV',
    type: 'text/csv',
    bytes: Buffer.from(`id,note\n${exact.map((id) => `${id},exact`).join('\n')}\n`),
  },
].map((body) => ({
  ...body,
  name: `body: ${body.name}`,
  rows: exact.map((id) => ({ id, note: 'exact' })),
  mayBeRefused: false,
}));

const refused = (type: string, bodies: Readonly<Record<string, Text>>): HostileBody[] =>
  Object.entries(bodies).map(([name, text]) => ({
    name: `body: ${type}: ${name}`,
    type,
    bytes: joined(text),
    rows: undefined,
    mayBeRefused: true,
  }));

export const namedBodies: readonly HostileBody[] = [
  ...taken,
  ...refused(ndjson, refusedNdjson),
  ...refused('application/json', refusedJson),
  ...refused('text/csv', refusedCsv),
];

const splinters: readonly Text[] = [
  '"',
  '\\',
  '\\u0000',
  '\\ud83d',
  '{',
  '}',
  '[',
  ',',
  ':',
  '\n',
  '\r\n',
  ' ',
  '\0',
  '1e400',
  '-0',
  'null',
  '0.5',
  '"__proto__":1,',
  '"id":7,',
  '\u{feff}',
  '\u2028',
  Buffer.from([0xff]),
  Buffer.from([0xc3]),
];
const letters = ['a', 'é', '€', '𝄞', '"', '\\', '\n', '\t', '\u0001', '/', ' '];
const rowsMax = 40;
const changesMax = 3;

/** Rows with hard values, then up to three changes of their bytes. */
export function drawBody(random: Random, number: number): HostileBody {
  const count = 1 + random.below(rowsMax);
  const lines = Array.from({ length: count }, () => {
    const wide = (BigInt(random.next32()) << 31n) | BigInt(random.next32() >>> 1);
    const id = BigInt.asIntN(64, random.chance(0.5) ? wide : BigInt(random.below(1_000_000)));
    const note = Array.from({ length: random.below(20) }, () => letters[random.below(11)]).join('');
    return `{"id":${id},"note":${JSON.stringify(note)}}\n`;
  });
  let bytes: Buffer = Buffer.from(lines.join(''));
  const changes = random.below(changesMax + 1);
  for (let i = 0; i < changes; i++) bytes = changed(bytes, random);
  return {
    name: `drawn ${number}, changed ${changes} times`,
    type: ndjson,
    bytes,
    rows: readRows(bytes),
    mayBeRefused: changes > 0,
  };
}

function changed(bytes: Buffer, random: Random): Buffer {
  const [at, to] = [random.below(bytes.length + 1), random.below(bytes.length + 1)];
  const [from, end] = [Math.min(at, to), Math.max(at, to)];
  switch (random.below(5)) {
    case 0: {
      const flipped = Buffer.from(bytes);
      const place = Math.min(at, bytes.length - 1);
      if (place >= 0) flipped[place] = (flipped[place] ?? 0) ^ (1 << random.below(8));
      return flipped;
    }
    case 1:
      return bytes.subarray(0, at);
    case 2:
      return joined(bytes.subarray(0, from), bytes.subarray(end));
    case 3:
      return joined(bytes.subarray(0, end), bytes.subarray(from));
    default: {
      const splinter = splinters[random.below(splinters.length)] ?? '';
      return joined(bytes.subarray(0, at), splinter, bytes.subarray(at));
    }
  }
}

/** What a body of lines says; undefined where it says nothing that may be written. */
function readRows(bytes: Buffer): StreamRow[] | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text
      .split('\n')
      .filter((line) => /[^ \t\r]/.test(line))
      .map(readRow);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}

interface Source {
  readonly source?: string;
}

/** Throws a SyntaxError where the line is no row. */
function readRow(line: string): StreamRow {
  let id: bigint | undefined;
  // The types of the language's library do not know the third parameter yet.
  const reviver = (key: string, value: unknown, ...[told]: Source[]): unknown => {
    if (key === 'id') id = whole(told?.source ?? '');
    return value;
  };
  const row: unknown = JSON.parse(line, reviver);
  if (typeof row !== 'object' || row === null || Array.isArray(row))
    throw new SyntaxError('no row');
  const { note = null, ...rest } = row as { readonly note?: unknown };
  const isKnown = Object.keys(rest).every((name) => name === 'id');
  if (id === undefined || !isKnown) throw new SyntaxError('no row of this table');
  return { id, note };
}

/** The whole number that a piece of JSON stands for, if it is one. */
function whole(source: string): bigint | undefined {
  const [, minus, digits, fraction = '', power = '0'] =
    /^"?(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?"?$/.exec(source) ?? [];
  if (digits === undefined || Math.abs(Number(power)) > 30) return undefined;
  const scale = Number(power) - fraction.length;
  const all = BigInt(digits + fraction);
  const unit = 10n ** BigInt(Math.abs(scale));
  if (scale < 0 && all % unit !== 0n) return undefined;
  const size = scale < 0 ? all / unit : all * unit;
  return minus === '-' ? -size : size;
}
