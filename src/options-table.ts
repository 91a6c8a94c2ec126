// Every option: its path ('*' stands for any name), what fits, its default in words, its meaning.
// options.ts checks by this table and docs/options.md is generated from it.
import { isDuration } from './duration.ts';
import { limits } from './limits.ts';

/** Says what is wrong with a value, or undefined where it fits. */
type Fits = (value: unknown) => string | undefined;

export interface OptionRow {
  readonly path: string;
  /** The shape, for the documents. */
  readonly shape: string;
  /** For the documents; '' where there is none. */
  readonly standard: string;
  readonly meaning: string;
  readonly isRequired: boolean;
  /** A list of objects; their members stand under `path.*`. */
  readonly isList: boolean;
  /** Absent for objects: their members have rows of their own. */
  readonly fits?: Fits;
}

const must = (what: string, isFit: (value: unknown) => boolean): Fits => {
  return (value) => (isFit(value) ? undefined : `must be ${what}`);
};

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
const text = must('a text that is not empty', isText);
const flag = must('true or false', (value) => typeof value === 'boolean');
const whole = (min: number, max: number): Fits =>
  must(
    `a whole number from ${min} to ${max}`,
    (value) => Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max,
  );
const bytes = whole(1, Number.MAX_SAFE_INTEGER);
const share = must(
  'a number above 0 and up to 1',
  (value) => typeof value === 'number' && value > 0 && value <= 1,
);
const oneOf = (words: readonly string[]): Fits =>
  must(words.map((word) => `'${word}'`).join(' or '), (value) =>
    words.some((word) => word === value),
  );
const listOf = (what: string, isFit: (value: unknown) => boolean): Fits =>
  must(`a list of ${what}`, (value) => Array.isArray(value) && value.every(isFit));

/** An object with one member of that name, which `isFit` judges. */
const holds = (name: string, isFit: (value: unknown) => boolean) => (value: unknown) => {
  if (typeof value !== 'object' || value === null) return false;
  const [first, ...more] = Object.entries(value);
  return first !== undefined && more.length === 0 && first[0] === name && isFit(first[1]);
};
const isNewest = holds('newest', isText);
const isAfterMs = holds(
  'afterMs',
  (value) => whole(0, Number.MAX_SAFE_INTEGER)(value) === undefined,
);
const rights = ['write', 'read', 'operate'];
const policies = ['dead-letter', 'ignore', 'update'];

/** Paths, shapes and bounds of a number, as people write them. */
const KiB = 1024;
const inWords = (count: number): string => {
  const units = ['', ' KiB', ' MiB', ' GiB'];
  let [value, unit] = [count, 0];
  while (value >= KiB && value % KiB === 0 && unit < units.length - 1)
    [value, unit] = [value / KiB, unit + 1];
  return `${value}${units[unit] ?? ''}`;
};

const row = (
  [path, shape, standard]: readonly [string, string, string],
  fits: Fits | undefined,
  meaning: string,
): OptionRow => ({
  path: path.replace('!', ''),
  shape,
  standard,
  meaning,
  isRequired: path.endsWith('!'),
  isList: path === 'server.tokens',
  ...(fits && { fits }),
});

const stream = (name: string): string => `streams.*.${name}`;
const ms = (value: number): string => `${value} ms`;

// `!` at the end of a path: it must be given.
export const optionTable: readonly OptionRow[] = [
  row(['journal!', 'path', ''], text, 'name the directory of the journal.'),
  row(
    ['target!', 'URL', ''],
    must('a URL: postgres://USER@HOST/DATABASE, mysql://… or sqlite:PATH', isText),
    'give the database: `postgres://USER@HOST/DATABASE` or `mysql://…` (MariaDB too), ' +
      'HOST one or a comma list; or `sqlite:PATH`.',
  ),
  row(['streams!', 'object', ''], undefined, 'name at least one stream: `{ NAME: { table: … } }`.'),
  row(['streams.*', 'object', ''], undefined, 'A target table plus the rules for writing it.'),
  row([stream('table!'), 'text', ''], text, 'name the table, with its schema where it needs one.'),
  row(
    [stream('key'), 'list of columns', 'none'],
    listOf('column names', isText),
    'Columns of a unique index over NOT NULL columns. Left out: the table has no unique key.',
  ),
  row(
    [stream('lane'), 'column', 'the key'],
    text,
    'Column whose hash chooses the lane; outside the key only where order does not matter.',
  ),
  row(
    [stream('lanes'), 'number', `${limits.lanesDefault}`],
    whole(1, limits.lanesMax),
    'How many lanes the stream has; fixed at its first open.',
  ),
  row(
    [
      stream('onConflict'),
      "'dead-letter', 'ignore', 'update' or { newest: COLUMN }",
      "'dead-letter'",
    ],
    must(
      `${policies.map((word) => `'${word}'`).join(', ')} or { newest: COLUMN }`,
      (value) => policies.some((word) => word === value) || isNewest(value),
    ),
    'What becomes of a row whose key is there with other content; `newest` compares that column.',
  ),
  row(
    [stream('nonZero'), 'list of columns', 'none'],
    listOf('column names', isText),
    "Columns whose value must not be 0, '' or false.",
  ),
  row(
    [stream('inexact'), "'refuse' or 'round'", "'refuse'"],
    oneOf(['refuse', 'round']),
    'What to do with a value that the column would change (more decimals than its scale …).',
  ),
  row(
    [stream('loaders'), 'number', `${limits.loadersDefault}`],
    whole(1, 64),
    'How many connections merge at once where one does not keep up; a target may allow fewer.',
  ),
  row(
    [stream('batchRowsMax'), 'number', `${limits.batchRowsMax}`],
    whole(1, 1_000_000),
    'Records of one transaction; 5000 by default where the route is staged.',
  ),
  row(
    [stream('route'), "'direct' or 'staged'", "'direct'"],
    oneOf(['direct', 'staged']),
    'Straight into the table, or first into a staging table from which mergers bring the rows on.',
  ),
  row(
    [stream('staging'), "'logged' or 'unlogged'", "'logged'"],
    oneOf(['logged', 'unlogged']),
    "The staging table's kind (PostgreSQL): a crash empties an unlogged one, the journal fills it.",
  ),
  row(
    [stream('mergeEveryMs'), 'milliseconds', ms(limits.mergeEveryMs)],
    whole(1, 24 * 60 * 60 * 1000),
    'How often staged rows are merged.',
  ),
  row(
    [stream('mergeRows'), 'number', `${limits.mergeRows}`],
    whole(1, 1_000_000_000),
    'So many staged rows are merged before that time.',
  ),
  row(
    [stream('mergers'), 'number', `${limits.mergersDefault}`],
    whole(0, limits.mergersMax),
    'How many connections merge staged rows at once; 0 leaves that to other processes.',
  ),
  row(
    [stream('stagingRetention'), 'duration', "'24h'"],
    must("a time such as '90s', '24h' or '7d', or milliseconds", isDuration),
    'How long merged days of the staging table stay; `holdfast archive` keeps them for good.',
  ),
  row(
    ['confirm', "'commit', 'standby' or { afterMs: NUMBER }", "'commit'"],
    must(
      "'commit', 'standby' or { afterMs: NUMBER }",
      (value) => value === 'commit' || value === 'standby' || isAfterMs(value),
    ),
    "When a merge counts as safe: the target's own commit, its standby's flush, or a time after. " +
      'A standby is one by physical streaming, not logical decoding, pg_receivewal or ' +
      'pg_basebackup; the role needs pg_read_all_stats to see it.',
  ),
  row(
    ['createTables', 'true or false', 'true'],
    flag,
    "Whether Holdfast's own tables are created at open; else `holdfast init --sql` prints them.",
  ),
  row(
    ['loaderThread', "'worker' or 'own'", "'worker'"],
    oneOf(['worker', 'own']),
    "Which thread the loaders run on; 'own' saves memory in small programs.",
  ),
  row(['limits', 'object', ''], undefined, 'Bounds of the journal.'),
  row(
    [
      'limits.bytesMax',
      'bytes',
      `${inWords(limits.journalBytesMax)}, or 80 % of what is free if that is less`,
    ],
    bytes,
    'The journal on disk. At the bound writers wait, and HTTP answers 507.',
  ),
  row(
    ['limits.memoryBytesMax', 'bytes', inWords(limits.memoryBytesMax)],
    bytes,
    'Rows that are accepted and not journaled yet.',
  ),
  row(
    ['limits.segmentBytes', 'bytes', inWords(limits.segmentBytes)],
    whole(64 * KiB, 1024 * KiB * KiB),
    'One journal file. A group, so a request too, holds at most half of it.',
  ),
  row(
    ['limits.retentionMsMin', 'milliseconds', ms(limits.retentionMsMin)],
    whole(0, Number.MAX_SAFE_INTEGER),
    'Confirmed segments stay that long, for `verify` and for repair after a failover, unless the ' +
      'journal needs their room.',
  ),
  row(
    ['limits.retentionBytesMin', 'bytes', inWords(limits.retentionBytesMin)],
    whole(0, Number.MAX_SAFE_INTEGER),
    'Confirmed segments stay while the journal is smaller than that.',
  ),
  row(
    ['limits.streamShareMax', 'share', `${limits.streamShareMax}`],
    share,
    'Of `bytesMax`, what one stream may hold while its rows wait.',
  ),
  row(['server', 'object', ''], undefined, 'For `holdfast serve`.'),
  row(
    ['server.host', 'text', "'127.0.0.1'"],
    text,
    'Address to listen on; HOST in the environment goes first. Beyond this machine: tokens needed.',
  ),
  row(
    ['server.port', 'number', '8080'],
    whole(0, 65_535),
    'Port to listen on, 0 for any that is free; PORT in the environment goes first.',
  ),
  row(['server.tokens', 'list', 'none'], undefined, 'Bearer tokens, and what each may do.'),
  row(['server.tokens.*', 'object', ''], undefined, 'One token.'),
  row(
    ['server.tokens.*.token!', 'text', ''],
    must('a text without spaces', (value) => isText(value) && /^\S+$/.test(value)),
    'give the text that the caller sends.',
  ),
  row(
    ['server.tokens.*.streams', 'list of streams', 'all'],
    listOf('stream names', isText),
    'Streams that it may write and read.',
  ),
  row(
    ['server.tokens.*.rights', "list of 'write', 'read', 'operate'", 'all'],
    listOf("'write', 'read' and 'operate'", (value) => rights.some((word) => word === value)),
    "'operate' stands for dead letters, verify, pass-over and /v1/options.",
  ),
  row(['server.tls', 'object', 'none'], undefined, 'Speak HTTPS.'),
  row(['server.tls.cert!', 'path', ''], text, 'name the PEM file of the certificate.'),
  row(['server.tls.key!', 'path', ''], text, 'name the PEM file of the private key.'),
  row(
    ['server.bodyBytesMax', 'bytes', inWords(limits.bodyBytesMax)],
    whole(1, limits.groupBytesMax),
    'A request, after decompression.',
  ),
  row(
    ['server.requestMsMax', 'milliseconds', ms(limits.requestMsMax)],
    whole(1, 24 * 60 * 60 * 1000),
    'An incomplete request is cut after that.',
  ),
  row(
    ['server.connectionsMax', 'number', `${limits.connectionsMax}`],
    whole(1, 1_000_000),
    'Connections at one time. At the bound a new one takes the place of the oldest without a token.',
  ),
  row(
    ['server.workers', 'number', `${limits.workersDefault}`],
    whole(0, limits.workersMax),
    'Threads that take requests and decode rows, beside the one that journals; 0: that one does.',
  ),
];
