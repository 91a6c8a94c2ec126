// The contract's cases about rows: what becomes of each, by the stream's rules.
import assert from 'node:assert/strict';
import type { Table } from '../../src/accept/columns.ts';
import type { Rung } from '../../src/target/target.ts';
import { NotDecoded } from './batches.ts';
import {
  type Case,
  type EndName,
  fails,
  type Ground,
  ids,
  joinTable,
  newStream,
  range,
  rungs,
  times,
} from './target-stream.ts';

async function newRows(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const rows = range(100).map((id) => ({ id: BigInt(id), amount: BigInt(id * 2), note: `n${id}` }));
  const odd = rows.filter((_, i) => i % 2 === 1).reverse();
  const even = rows.filter((_, i) => i % 2 === 0);
  assert.deepEqual(await stream.settle(rung, odd, even), times('merged', 100));
  const stored = await ground.rows(stream.table.name);
  assert.deepEqual(
    stored.map(({ id, amount, note }) => ({ id, amount, note })),
    rows.map((row) => ({ id: `${row.id}`, amount: `${row.amount}`, note: row.note })),
  );
  const [first] = await stream.session.lanes(stream.id);
  assert.equal(first?.settled, 50);
}

async function columns(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const rows = [{ id: 1n, note: null }, { id: 2n }, { id: 3n, amount: 0n, note: '' }];
  assert.deepEqual(await stream.settle(rung, rows), times('merged', 3));
  assert.deepEqual(await ground.rows(stream.table.name), [
    { id: '1', amount: '1', note: null, version: '0' },
    { id: '2', amount: '1', note: 'none', version: '0' },
    { id: '3', amount: '0', note: '', version: '0' },
  ]);
}

async function noKey(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'loose');
  const rows = [{ id: 1n }, { id: 1n }, { id: 2n, note: 'x' }, { id: 1n }];
  assert.deepEqual(await stream.settle(rung, rows, [{ id: 1n }]), times('merged', 5));
  assert.deepEqual(await stream.settle(rung, [{ id: 1n }]), ['merged']);
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 1, 1, 1, 1, 2]);
}

async function duplicates(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const row = { id: 7n, amount: 3n, note: null };
  assert.deepEqual(await stream.settle(rung, [row, row]), ['merged', 'duplicate']);
  // Only provided columns count; another writer's rows count as much as ours.
  const other = await joinTable(ground, stream.table.name);
  assert.deepEqual(await other.settle(rung, [row, { id: 7n }, { id: 8n }]), [
    'duplicate',
    'duplicate',
    'merged',
  ]);
  assert.equal((await ground.rows(stream.table.name)).length, 2);
}

async function conflicts(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const rows = [{ id: 1n, note: 'a' }, { id: 1n, note: 'b' }, { id: 2n }];
  assert.deepEqual(await stream.settle(rung, rows), ['merged', 'deadLetter', 'merged']);
  assert.deepEqual(await stream.settle(rung, [{ id: 1n, note: null }], [{ id: 3n }]), [
    'deadLetter',
    'merged',
  ]);
  const letters = await stream.letters();
  assert.deepEqual(
    letters.map(({ lane, sequence, code, row, state, attempts }) => {
      return { lane, sequence, code, row, state, attempts };
    }),
    [
      {
        lane: 0,
        sequence: 2,
        code: 'key-conflict',
        row: '{"id":1,"note":"b"}',
        state: 'dead',
        attempts: 1,
      },
      {
        lane: 0,
        sequence: 4,
        code: 'key-conflict',
        row: '{"id":1,"note":null}',
        state: 'dead',
        attempts: 1,
      },
    ],
  );
  assert.equal(Buffer.from(letters[0]?.raw ?? []).toString(), '{"id":1,"note":"b"}');
  assert((letters[0]?.firstAt ?? 0) > 1_500_000_000_000, 'times are milliseconds since 1970');
  assert.equal((await ground.rows(stream.table.name))[0]?.['note'], 'a');
}

async function undecoded(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const raw = Buffer.from('{"id": 1\0\xff', 'latin1');
  const records = [{ id: 1n }, new NotDecoded(raw), { id: 2n }, new NotDecoded('x', 'wrong-type')];
  assert.deepEqual(await stream.settle(rung, records), ['merged', 'merged']);
  const letters = await stream.letters();
  assert.deepEqual(
    letters.map(({ sequence, code, row, raw: bytes }) => [sequence, code, row, Buffer.from(bytes)]),
    [
      [2, 'bad-json', null, raw],
      [4, 'wrong-type', null, Buffer.from('x')],
    ],
  );
}

async function onlyUndecoded(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  assert.deepEqual(await stream.settle(rung, [new NotDecoded('a'), new NotDecoded('b')]), []);
  const [lane] = await stream.session.lanes(stream.id);
  assert.equal(lane?.deadLetters, 2);
}

async function ignore(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed', 'ignore');
  const rows = [
    { id: 1n, note: 'a' },
    { id: 1n, note: 'b' },
    { id: 1n, note: 'a' },
  ];
  assert.deepEqual(await stream.settle('optimistic', rows), ['merged', 'superseded', 'duplicate']);
  assert.equal((await ground.rows(stream.table.name))[0]?.['note'], 'a');
  assert.deepEqual(await stream.letters(), []);
}

/**
 * The end of a row that a later one of its own batch replaced: merged, where a target places row by
 * row and it was there for a moment; else what a set-wise merge calls a row that it leaves out.
 */
function assertReplaced(end: EndName | undefined, leftOut: EndName): void {
  assert(end === 'merged' || end === leftOut, `${end}: neither merged nor ${leftOut}`);
}

async function update(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed', 'update');
  await stream.settle('optimistic', [
    { id: 1n, amount: 5n, note: 'old' },
    { id: 2n, note: 'x' },
  ]);
  const ends = await stream.settle('optimistic', [
    { id: 1n, note: 'a' },
    { id: 1n, note: 'b' },
    { id: 1n, note: 'a' },
    { id: 2n, note: 'x' },
  ]);
  assertReplaced(ends[0], 'duplicate');
  assertReplaced(ends[1], 'superseded');
  assert.deepEqual(ends.slice(2), ['merged', 'duplicate']);
  assert.deepEqual(await ground.rows(stream.table.name), [
    { id: '1', amount: '5', note: 'a', version: '0' },
    { id: '2', amount: '1', note: 'x', version: '0' },
  ]);
}

async function updateSets(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed', 'update');
  const ends = await stream.settle('merge', [
    { id: 1n, note: 'a' },
    { id: 1n, amount: 2n },
    { id: 1n, note: 'c' },
    { id: 1n, amount: 3n },
    { id: 2n, amount: 9n },
  ]);
  assert.deepEqual(ends, times('merged', 5));
  assert.deepEqual(await ground.rows(stream.table.name), [
    { id: '1', amount: '3', note: 'c', version: '0' },
    { id: '2', amount: '9', note: 'none', version: '0' },
  ]);
}

async function newest(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed', { newest: 'version' });
  const row = (version: bigint, note: string) => ({ id: 1n, version, note });
  const rows = [row(2n, 'b'), row(3n, 'c'), row(1n, 'a'), row(3n, 'c')];
  const ends = await stream.settle('optimistic', rows);
  assertReplaced(ends[0], 'superseded');
  assert.deepEqual(ends.slice(1), ['merged', 'superseded', 'duplicate']);
  assert.deepEqual(await stream.settle('optimistic', [row(3n, 'other'), row(2n, 'b')]), [
    'deadLetter',
    'superseded',
  ]);
  assert.deepEqual(await stream.settle('optimistic', [row(4n, 'd')]), ['merged']);
  assert.equal((await ground.rows(stream.table.name))[0]?.['note'], 'd');
  assert.deepEqual(
    (await stream.letters()).map(({ code }) => code),
    ['key-conflict'],
  );
}

async function refused(ground: Ground, bad: readonly number[]): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const isBad = new Set(bad);
  const rows = range(10_000).map((i) => ({
    id: BigInt((i * 7919) % 10_000),
    note: isBad.has(i) ? 'bad' : 'good',
  }));
  const ends = await stream.settle('optimistic', rows);
  const wanted = rows.map((_, i): EndName => (isBad.has(i) ? 'deadLetter' : 'merged'));
  assert.deepEqual(ends, wanted);
  assert.equal((await ground.rows(stream.table.name)).length, 10_000 - bad.length);
  const filter = { stream: stream.id.stream, limit: 20_000 };
  const letters = await stream.session.deadLetters(filter);
  assert.deepEqual(
    letters.map(({ sequence }) => sequence).sort((a, b) => a - b),
    bad.map((i) => i + 1),
  );
  assert(
    letters.every(({ code, sqlState }) => code === 'refused' && sqlState),
    'with the reason',
  );
}

async function refusedLoose(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'loose');
  const rows = range(50).map((i) => ({ id: BigInt(i), note: i % 7 === 0 ? 'bad' : 'good' }));
  const ends = await stream.settle('optimistic', rows);
  assert.deepEqual(
    ends,
    range(50).map((i): EndName => (i % 7 === 0 ? 'deadLetter' : 'merged')),
  );
  assert.equal((await ground.rows(stream.table.name)).length, 42);
}

/** A row sent again once its key's index is gone: it waits, and is a duplicate when it is back. */
async function keyGone(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const { name } = stream.table;
  const row = { id: 1n, amount: 3n };
  await stream.settle(rung, [row]);
  const batch = stream.route === 'staged' ? await stream.stage([row]) : stream.batch([row]);
  const attempt = async (table: Table, from: Rung): Promise<unknown> => {
    await stream.reconnect();
    // Journaled since, too: nothing but the key stands in the way of the straight write.
    if (stream.route === 'direct') {
      return stream.session.merge({ ...batch, journaled: table, table }, from);
    }
    const isOptimistic = from === 'optimistic';
    const turn = { stream: { ...stream.staged, table }, rowsMax: 9, start: 0, share: 1 };
    return stream.staging.merge({ ...turn, isOptimistic });
  };
  await ground.dropKey(name);
  await assert.rejects(attempt(stream.table, rung), fails('altered'));
  const keyless = await stream.session.describe(name);
  await assert.rejects(attempt(keyless, rung), (error) => {
    assert.match(String(error), /no unique index stands over \(id\) any more/);
    return fails('hold')(error);
  });
  assert.deepEqual(ids(await ground.rows(name)), [1]);
  await ground.makeKey(name);
  await attempt(await stream.session.describe(name), 'merge');
  await stream.audit();
  const { merged, duplicates } = await stream.totals();
  assert.deepEqual({ merged, duplicates }, { merged: 1, duplicates: 1 });
}

const places: readonly (readonly [string, readonly number[]])[] = [
  ['first', [0]],
  ['in the middle', [4_321]],
  ['last', [9_999]],
  ['scattered', [0, 1, 5_000, 5_002, 9_998]],
];

export const rowCases: readonly Case[] = [
  ...rungs.flatMap((rung): Case[] => [
    [`new rows are merged (${rung})`, (g) => newRows(g, rung)],
    [`absent columns get the default, nulls stay null (${rung})`, (g) => columns(g, rung)],
    [`without a key equal rows are all merged (${rung})`, (g) => noKey(g, rung)],
    [`equal content is a duplicate (${rung})`, (g) => duplicates(g, rung)],
    [`other content under a key is a dead letter (P7, ${rung})`, (g) => conflicts(g, rung)],
    [`records that never decoded are kept (P10, ${rung})`, (g) => undecoded(g, rung)],
    [
      `without its key’s index a row is held, not written twice (P6, ${rung})`,
      (g) => keyGone(g, rung),
    ],
    [`a batch of undecoded records alone settles (${rung})`, (g) => onlyUndecoded(g, rung)],
  ]),
  ['ignore: other content is superseded (P8)', ignore],
  ['update: the last row of a key wins, in sequence order', update],
  ['update: rows of one key with different columns apply in order (P9)', updateSets],
  ['newest: the highest version wins (P8)', newest],
  ...places.map(
    ([where, bad]): Case => [
      `rows refused ${where} of 10,000 leave the others alone`,
      (g) => refused(g, bad),
    ],
  ),
  ['10,000 rows may all be refused', (g) => refused(g, range(10_000))],
  ['without a key a refused row leaves the others alone', refusedLoose],
];
