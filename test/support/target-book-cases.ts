// The contract's cases about the books: lanes, epochs, the guard, ledger and dead letters.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import type { Row } from '../../src/accept/rows.ts';
import { limits } from '../../src/limits.ts';
import type { RowEnd } from '../../src/merge/batch.ts';
import { type DeadLetter, type Rung, TargetError, verdict } from '../../src/target/target.ts';
import { NotDecoded, replayOf } from './batches.ts';
import {
  type Case,
  type EndName,
  fails,
  type Ground,
  ids,
  names,
  newStream,
  rungs,
} from './target-stream.ts';

async function moved(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const batch = stream.batch([{ id: 1n }], [{ id: 2n }]);
  await stream.session.merge(batch, rung);
  await assert.rejects(stream.session.merge(batch, rung), fails('moved'));
  await stream.reconnect();
  // One lane alone is enough, and the other's rows do not go in either.
  stream.next[0] = 2;
  const half = stream.batch([{ id: 3n }], [{ id: 4n }]);
  await assert.rejects(stream.session.merge(half, rung), fails('moved'));
  stream.next[0] = 7;
  await stream.reconnect();
  await assert.rejects(stream.session.merge(stream.batch([{ id: 5n }]), rung), fails('moved'));
  await stream.audit();
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2]);
}

async function fenced(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.settle(rung, [{ id: 1n }]);
  const other = await ground.target.connect();
  const { epoch, lanes } = await other.claim({
    ...stream.id,
    lanes: 3,
    owner: 'another',
    route: stream.route,
  });
  assert(epoch > stream.epoch);
  assert.equal(lanes[0]?.settled, 1);
  await assert.rejects(stream.session.merge(stream.batch([{ id: 2n }]), rung), fails('fenced'));
  stream.epoch = epoch;
  await stream.reconnect();
  assert.deepEqual(await stream.settle(rung, [{ id: 2n }]), ['merged']);
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2]);
}

async function altered(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const { name } = stream.table;
  // The session has written to the table as it was.
  await stream.session.merge(stream.batch([{ id: 9n }]), rung);
  stream.next[0] = 2;
  await ground.widen(name, 'extra');
  const batch = stream.batch([{ id: 1n }]);
  await assert.rejects(stream.session.merge(batch, rung), fails('altered'));
  await stream.reconnect();
  const table = await stream.session.describe(name);
  assert.notEqual(table.fingerprint, stream.table.fingerprint);
  await stream.session.merge({ ...batch, table }, 'merge');
  await stream.audit();
  assert.deepEqual(ids(await ground.rows(name)), [1, 9]);
}

async function gone(ground: Ground, rung: Rung): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await ground.drop(stream.table.name);
  await assert.rejects(stream.session.merge(stream.batch([{ id: 1n }]), rung), (error) => {
    assert(error instanceof TargetError);
    assert(['hold', 'altered'].includes(error.kind), error.kind);
    return true;
  });
  await stream.reconnect();
  await assert.rejects(stream.session.describe(stream.table.name), fails('hold'));
}

async function claims(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const { epoch, lanes } = await stream.session.claim({
    ...stream.id,
    lanes: 5,
    owner: 'more',
    route: stream.route,
  });
  assert(epoch > stream.epoch);
  assert.deepEqual(
    lanes.map((lane) => lane.lane),
    [0, 1, 2, 3, 4],
  );
  assert(lanes.every((lane) => lane.epoch === epoch && lane.settled === 0));
  assert.deepEqual(await stream.session.lanes(stream.id), lanes);
  const other = { ...stream.id, stream: 'never claimed' };
  assert.deepEqual(await stream.session.lanes(other), []);
  // By the server's clock, which may count milliseconds: a claim that a failover forgets is not
  // given out to another again.
  let later = 0;
  for (let tries = 0; tries < 200 && later <= epoch; tries++) {
    const fresh = { ...stream.id, stream: `new ${tries}`, lanes: 1, owner: 'new' };
    ({ epoch: later } = await stream.session.claim({ ...fresh, route: 'direct' }));
  }
  assert(later > epoch);
}

async function claimedSince(ground: Ground): Promise<void> {
  const { session, id, route } = await newStream(ground, 'keyed');
  const claim = { ...id, lanes: 3, owner: 'one', route };
  const { epoch: after } = await session.claim(claim);
  // As where this one is not answered: a later epoch is its own then.
  await session.claim({ ...claim, after });
  const own = await session.claim({ ...claim, after });
  const other = await session.claim({ ...claim, owner: 'another' });
  await assert.rejects(session.claim({ ...claim, after: own.epoch }), fails('fenced'));
  assert.deepEqual(await session.lanes(id), other.lanes);
  const back = await session.claim({ ...claim, after: other.epoch });
  assert(back.epoch > other.epoch);
}

async function resolved(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const batch = stream.batch([{ id: 1n }], [], [{ id: 2n }]);
  const suspect = stream.session.id;
  const settled = async () => {
    await stream.reconnect();
    const lanes = await stream.session.resolve(batch, suspect);
    return lanes.filter(({ lane }) => lane !== 1).map((lane) => lane.settled);
  };
  assert.deepEqual(await settled(), [0, 0]);
  await stream.session.merge(batch, 'optimistic');
  assert.deepEqual(await settled(), [1, 1]);
}

async function compared(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const rows = [{ id: 1n, note: 'a' }, { id: 2n }, { id: 3n, amount: 4n, note: null }];
  await stream.settle('optimistic', rows);
  const { equal, different, absent } = verdict;
  const asked = stream.batch([...rows, { id: 3n, note: 'x' }, { id: 9n }, { id: 2n, note: null }]);
  const verdicts = await stream.session.compare(asked);
  assert.deepEqual([...verdicts], [equal, equal, equal, different, absent, different]);
  assert.deepEqual(await stream.settle('optimistic', [{ id: 4n }]), ['merged']);
}

async function replayed(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const rows = [
    { id: 1n, note: 'a' },
    { id: 1n, note: 'b' },
    { id: 1n, note: 'c' },
  ];
  await stream.settle('optimistic', rows, [new NotDecoded('{')]);
  const { name } = stream.table;
  const again = async (sequence: number, row: Row, lane = 0): Promise<EndName | undefined> => {
    const id = { ...stream.id, lane, sequence };
    const end: RowEnd = await stream.session.replay(id, replayOf(stream.options, row));
    return names[end];
  };
  assert.equal(await again(2, { id: 1n, note: 'b' }), 'deadLetter');
  const id = { ...stream.id, lane: 0, sequence: 2 };
  const [still] = await stream.session.deadLetters({ id });
  assert.deepEqual([still?.state, still?.attempts, still?.code], ['dead', 2, 'key-conflict']);
  await ground.remove(name, 1);
  assert.equal(await again(2, { id: 1n, note: 'b' }), 'merged');
  assert.equal(await again(3, { id: 1n, note: 'b' }), 'duplicate');
  assert.equal(await again(1, { id: 5n, note: 'fixed' }, 1), 'merged');
  await assert.rejects(again(2, { id: 1n, note: 'b' }), fails('moved'));
  await assert.rejects(again(9, { id: 1n }), fails('moved'));
  await stream.audit();
  const [then] = await stream.session.deadLetters({ id });
  assert.deepEqual([then?.state, then?.row], ['replayed', '{"id":1,"note":"b"}']);
  assert.deepEqual(await stream.letters(), []);
  assert.deepEqual(ids(await ground.rows(name)), [1, 5]);
  const [lane] = await stream.session.lanes(stream.id);
  assert.deepEqual([lane?.merged, lane?.duplicates, lane?.deadLetters], [2, 1, 0]);
}

async function replayUpdate(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed', 'update');
  await stream.settle('optimistic', [{ id: 1n, note: 'bad' }]);
  await stream.settle('optimistic', [{ id: 1n, note: 'later' }]);
  const id = { ...stream.id, lane: 0, sequence: 1 };
  const end = await stream.session.replay(id, replayOf(stream.options, { id: 1n, note: 'mended' }));
  assert.equal(names[end], 'superseded');
  await stream.audit();
  assert.equal((await ground.rows(stream.table.name))[0]?.['note'], 'later');
}

async function dropped(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.settle('merge', [{ id: 1n, note: 'bad' }]);
  const id = { ...stream.id, lane: 0, sequence: 1 };
  await stream.session.drop(id);
  await assert.rejects(stream.session.drop(id), fails('moved'));
  const replay = stream.session.replay(id, replayOf(stream.options, { id: 1n }));
  await assert.rejects(replay, fails('moved'));
  await stream.audit();
  const [lane] = await stream.session.lanes(stream.id);
  assert.equal(lane?.deadLetters, 1);
  assert.deepEqual(await stream.letters(), []);
  assert.equal((await stream.session.deadLetters({ id }))[0]?.state, 'dropped');
}

/** The letter that reaches the bound is the last of its page; what is behind one is found by it. */
async function paged(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  // MySQL 5.6 takes packets of 4 MiB, and bytes in hexadecimal.
  const third = Buffer.alloc(Math.ceil(limits.lettersListedBytes / 3), 'x');
  const large = new NotDecoded(third);
  const small = new NotDecoded('{');
  await stream.settle('optimistic', [large, small, large, large, small], [large, large, small]);
  const own = { stream: stream.id.stream };
  const sizes: number[][] = [];
  const seen = new Set<string>();
  const pages = async (limit?: number): Promise<void> => {
    for (let after: DeadLetter | undefined; ; ) {
      const page = await stream.session.deadLetters({ ...own, after, limit });
      after = page.at(-1);
      if (!after) return;
      sizes.push(page.map(({ raw }) => raw.length));
      for (const { lane, sequence } of page) seen.add(`${lane}/${sequence}`);
      await stream.session.drop(after);
    }
  };
  const [some, few] = [third.length, 1];
  await pages();
  assert.deepEqual(sizes, [
    [some, few, some, some],
    [few, some, some, few],
  ]);
  assert.equal(seen.size, 8);
  await pages(2);
  assert.deepEqual(sizes.slice(2), [
    [some, few],
    [some, few],
    [some, some],
  ]);
  const after = { ...stream.id, lane: 2, sequence: 0 };
  assert.deepEqual(await stream.session.deadLetters({ ...own, after }), []);
}

async function byId(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const letter = new NotDecoded('{');
  await stream.settle('optimistic', [], [letter]);
  await pause(10);
  await stream.settle('optimistic', [letter]);
  const lanes = async (after?: DeadLetter): Promise<number[]> => {
    const page = await stream.session.deadLetters({ stream: stream.id.stream, after });
    return page.map(({ lane }) => lane);
  };
  assert.deepEqual(await lanes(), [0, 1]);
  assert.deepEqual(await stream.session.deadLetters({ limit: -1 }), []);
  const [first] = await stream.session.deadLetters({ stream: stream.id.stream, limit: 1 });
  assert.deepEqual(await lanes(first), [1]);
}

async function pruned(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  for (const id of [1n, 2n, 3n]) await stream.settle('optimistic', [{ id }], [{ id: id + 10n }]);
  const upTo = [
    { lane: 0, last: 2 },
    { lane: 1, last: 0 },
  ];
  assert.equal(await stream.session.prune(stream.id, upTo), 2);
  const left = (lane: number) => stream.session.ledger(stream.id, { lane, first: 2, last: 9 });
  assert.deepEqual(
    (await left(0)).map(({ first }) => first),
    [3],
  );
  assert.deepEqual(
    (await left(1)).map(({ first }) => first),
    [2, 3],
  );
}

async function described(ground: Ground): Promise<void> {
  const { table, session } = await newStream(ground, 'keyed');
  assert.deepEqual(table.keys, [['id']]);
  assert.deepEqual(
    table.columns.map(({ name, nullable, hasDefault, writable }) => {
      return [name, nullable, hasDefault, writable];
    }),
    [
      ['id', false, false, true],
      ['amount', false, true, true],
      ['note', true, true, true],
      ['version', false, true, true],
    ],
  );
  assert((await session.tableNames()).includes(table.name));
  await assert.rejects(session.describe('no_such_table'), fails('hold'));
}

/** What is the same for every route. */
export const commonBookCases: readonly Case[] = [
  ['claims raise the epoch of every lane', claims],
  ['lanes that another owner has claimed since are not claimed back', claimedSince],
  ['compare finds equal, different and absent rows', compared],
  ['a replayed dead letter moves in the books (P11)', replayed],
  ['a replay never overwrites under update (P11)', replayUpdate],
  ['a dropped dead letter stays one (P11)', dropped],
  ['dead letters are listed in pages of some MiB', paged],
  ['dead letters are listed by their ids, whatever their age', byId],
  ['the ledger can be pruned up to a sequence', pruned],
  ['a missing table is told from one that is there', described],
];

export const bookCases: readonly Case[] = [
  ...rungs.flatMap((rung): Case[] => [
    [`a lane that has moved refuses the batch (P1, ${rung})`, (g) => moved(g, rung)],
    [`a later claim fences the earlier owner (${rung})`, (g) => fenced(g, rung)],
    [`an altered table refuses the batch, then takes it (P5, ${rung})`, (g) => altered(g, rung)],
    [`a table that is gone holds the batch (${rung})`, (g) => gone(g, rung)],
  ]),
  ['a resolved batch is found settled, or not', resolved],
  ...commonBookCases,
];
