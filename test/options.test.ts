import assert from 'node:assert/strict';
import { test } from 'node:test';
import { durationMs, isDuration } from '../src/duration.ts';
import { HoldfastError } from '../src/errors.ts';
import { limits } from '../src/limits.ts';
import { readOptions, suggestion } from '../src/options.ts';

const least = {
  journal: './journal',
  target: 'sqlite:./shop.db',
  streams: { payments: { table: 'payments', key: ['tx_id'] } },
};
type Members = { readonly [name: string]: unknown };
/** On a target that has every route. */
const onPostgres = (stream: Members) => ({
  ...least,
  target: 'postgres://host/db',
  streams: { payments: { ...least.streams.payments, ...stream } },
});
const withStream = (stream: Members, more: Members = {}): unknown => ({
  ...least,
  ...more,
  streams: { payments: { table: 'payments', key: ['tx_id'], ...stream } },
});

/** The problems that readOptions lists, one line each; [] where it takes the options. */
function problemsOf(input: unknown): string[] {
  try {
    readOptions(input);
    return [];
  } catch (error) {
    assert(error instanceof HoldfastError);
    assert.equal(error.code, 'HF_USAGE');
    return error.message.split('\n');
  }
}

test('what is left out gets its default', () => {
  const options = readOptions(least);
  assert.equal(options.confirm, 'commit');
  assert.equal(options.createTables, true);
  assert.equal(options.loaderThread, 'worker');
  assert.deepEqual(options.streams['payments'], {
    table: 'payments',
    key: ['tx_id'],
    lanes: 64,
    onConflict: 'dead-letter',
    nonZero: [],
    inexact: 'refuse',
    loaders: 2,
    batchRowsMax: 20_000,
    route: 'direct',
    staging: 'logged',
    mergeEveryMs: 1_000,
    mergeRows: 20_000,
    mergers: 2,
    stagingRetention: '24h',
  });
  const staged = readOptions({ ...least, ...onPostgres({ route: 'staged' }) });
  assert.equal(staged.streams['payments']?.batchRowsMax, 5_000);
  assert.equal(options.limits.segmentBytes, limits.segmentBytes);
  assert.equal(options.limits.bytesMax, undefined);
  assert.equal(options.server.host, '127.0.0.1');
});

test('what is given is kept, and undefined counts as left out', () => {
  const options = readOptions({
    ...least,
    confirm: { afterMs: 5 },
    createTables: undefined,
    streams: { s: { table: 't', lane: 'user_id', lanes: 4, loaders: undefined } },
    limits: { bytesMax: 2 ** 30 },
  });
  assert.deepEqual(options.confirm, { afterMs: 5 });
  assert.equal(options.createTables, true);
  assert.equal(options.streams['s']?.lane, 'user_id');
  assert.equal(options.streams['s']?.loaders, 2);
  assert.deepEqual(options.streams['s']?.key, []);
  assert.equal(options.limits.bytesMax, 2 ** 30);
});

test('what readOptions returns is frozen to its depth and does not share the input', () => {
  const key = ['tx_id'];
  const options = readOptions({ ...least, streams: { payments: { table: 'payments', key } } });
  const stream = options.streams['payments'];
  key.push('other');
  assert.deepEqual(stream?.key, ['tx_id']);
  for (const part of [options, options.streams, stream, stream?.key, options.limits]) {
    assert(Object.isFrozen(part));
  }
  assert(!Object.isFrozen(key));
});

test('every problem is listed at once, each with its path', () => {
  const problems = problemsOf({
    target: 'sqlite:x.db',
    streams: { payments: { table: '', onconflict: 'ignore', lanes: 0 } },
    server: { port: '80', tokens: [{ token: 'a b' }, { rights: ['fly'] }] },
    confrim: 'commit',
  });
  assert.deepEqual(problems.toSorted(), [
    'confrim: unknown option; did you mean "confirm"?',
    'journal: is missing; name the directory of the journal.',
    'server.port: must be a whole number from 0 to 65535',
    'server.tokens[0].token: must be a text without spaces',
    "server.tokens[1].rights: must be a list of 'write', 'read' and 'operate'",
    'server.tokens[1].token: is missing; give the text that the caller sends.',
    'streams.payments.lanes: must be a whole number from 1 to 1024',
    'streams.payments.onconflict: unknown option; did you mean "onConflict"?',
    'streams.payments.table: must be a text that is not empty',
  ]);
});

test('options that are no object are refused', () => {
  for (const input of [undefined, null, 7, 'a', []]) {
    assert.deepEqual(problemsOf(input), ['options: must be an object']);
  }
  assert.deepEqual(problemsOf({ ...least, streams: { payments: 'payments' } }), [
    'streams.payments: must be an object',
  ]);
});

// Each rule: what breaks it, what it is about, and the closest thing that is fine.
const crossed: readonly [string, unknown, RegExp, unknown][] = [
  [
    'update needs a key',
    withStream({ key: undefined, onConflict: 'update' }),
    /^streams\.payments\.onConflict: 'update' needs a key/,
    withStream({ onConflict: 'update' }),
  ],
  [
    'newest needs a key',
    withStream({ key: [], onConflict: { newest: 'v' } }),
    /^streams\.payments\.onConflict: 'newest' needs a key/,
    withStream({ onConflict: { newest: 'v' } }),
  ],
  [
    'the newest column is not part of the key',
    withStream({ onConflict: { newest: 'tx_id' } }),
    /onConflict: newest: "tx_id" is part of the key/,
    withStream({ onConflict: { newest: 'version' } }),
  ],
  [
    'update takes no lane column outside the key',
    withStream({ lane: 'user_id', onConflict: 'update' }),
    /^streams\.payments\.lane: with onConflict 'update'/,
    withStream({ lane: 'user_id' }),
  ],
  [
    'newest takes no lane column outside the key',
    withStream({ lane: 'user_id', onConflict: { newest: 'v' } }),
    /^streams\.payments\.lane: with onConflict 'newest'/,
    withStream({ key: ['tx_id', 'user_id'], lane: 'user_id', onConflict: { newest: 'v' } }),
  ],
  [
    'a key names a column once',
    withStream({ key: ['a', 'a'] }),
    /^streams\.payments\.key: names a column twice/,
    withStream({ key: ['a', 'b'] }),
  ],
  [
    'there are at most 1024 lanes',
    withStream({ lanes: 1025 }),
    /^streams\.payments\.lanes: must be a whole number from 1 to 1024/,
    withStream({ lanes: 1024 }),
  ],
  [
    'loaders share lanes',
    withStream({ lanes: 1, loaders: 2 }),
    /^streams\.payments\.loaders: is 2, more than the 1 lanes/,
    withStream({ lanes: 1, loaders: 1 }),
  ],
  [
    'a stream name fits into an address',
    { ...least, streams: { 'a/b': { table: 't' } } },
    /^streams\.a\/b: a name has/,
    { ...least, streams: { 'a-b.c': { table: 't' } } },
  ],
  ['there is a stream', { ...least, streams: {} }, /^streams: must name at least one/, least],
  [
    'the target is of a known kind, and its password is not shown',
    { ...least, target: 'oracle://me:secret@host/db' },
    /^target: must begin with postgres:\/\/, mysql:\/\/ or sqlite:$/,
    { ...least, target: 'postgres://me:secret@a:1,b:2/db' },
  ],
  [
    'a primary of MariaDB or MySQL cannot tell what its replicas have',
    { ...least, confirm: 'standby', target: 'mysql://me:secret@a,b/db' },
    /^confirm: 'standby' needs PostgreSQL; a primary of MariaDB/,
    { ...least, confirm: { afterMs: 5 }, target: 'mariadb://me:secret@a,b/db' },
  ],
  [
    'SQLite has no host',
    { ...least, target: 'sqlite://a,b/shop.db' },
    /^target: sqlite: takes the path/,
    { ...least, target: 'sqlite:///shop.db' },
  ],
  [
    'SQLite has no standby',
    { ...least, confirm: 'standby' },
    /^confirm: 'standby' needs PostgreSQL/,
    { ...least, confirm: 'standby', target: 'postgres://host/db' },
  ],
  [
    'SQLite takes the direct route only',
    withStream({ route: 'staged' }),
    /^streams\.payments\.route: SQLite has one writer/,
    onPostgres({ route: 'staged' }),
  ],
  [
    'a staging table belongs to the staged route',
    onPostgres({ staging: 'unlogged' }),
    /^streams\.payments\.staging: goes with route: 'staged'/,
    onPostgres({ route: 'staged', staging: 'unlogged' }),
  ],
  [
    'only PostgreSQL has unlogged staging tables',
    { ...onPostgres({ route: 'staged', staging: 'unlogged' }), target: 'mysql://me@host/db' },
    /^streams\.payments\.staging: only PostgreSQL/,
    { ...onPostgres({ route: 'staged' }), target: 'mysql://me@host/db' },
  ],
  [
    'a retention is a duration',
    onPostgres({ stagingRetention: 'a week' }),
    /^streams\.payments\.stagingRetention: must be a time such as/,
    onPostgres({ stagingRetention: '7d' }),
  ],
  [
    'the journal holds three segments',
    { ...least, limits: { segmentBytes: 2 ** 20, bytesMax: 2 ** 21 } },
    /^limits\.bytesMax: must hold three segments/,
    { ...least, limits: { segmentBytes: 2 ** 20, bytesMax: 3 * 2 ** 20 } },
  ],
  [
    'memory holds a group',
    { ...least, limits: { memoryBytesMax: 2 ** 20 } },
    /^limits\.memoryBytesMax: must hold a group/,
    { ...least, limits: { memoryBytesMax: 2 ** 25 } },
  ],
  [
    'listening beyond this machine needs a token',
    { ...least, server: { host: '0.0.0.0' } },
    /^server\.tokens: listening on 0\.0\.0\.0/,
    { ...least, server: { host: '0.0.0.0', tokens: [{ token: 't' }] } },
  ],
  [
    'a token is for streams that exist',
    { ...least, server: { tokens: [{ token: 't', streams: ['refunds'] }] } },
    /^server\.tokens\[0\]\.streams: no stream is named "refunds"/,
    { ...least, server: { tokens: [{ token: 't', streams: ['payments'] }] } },
  ],
];

for (const [name, bad, problem, good] of crossed) {
  test(`a rule between options: ${name}`, () => {
    const problems = problemsOf(bad);
    assert.equal(problems.length, 1, problems.join('\n'));
    assert.match(problems[0] ?? '', problem);
    assert.deepEqual(problemsOf(good), []);
  });
}

test('durations are read in their units', () => {
  const read = ['1500ms', '90s', '5m', '24h', '1.5d', 42].map(durationMs);
  assert.deepEqual(read, [1_500, 90_000, 300_000, 86_400_000, 129_600_000, 42]);
  for (const bad of ['', '5', 'h', '-1s', -1, 1.5, null]) assert(!isDuration(bad), `${bad}`);
});

test('a suggestion is made only where a name is close', () => {
  assert.equal(suggestion('paymets', ['refunds', 'payments']), '; did you mean "payments"?');
  assert.equal(suggestion('orders', ['refunds', 'payments']), '');
});
