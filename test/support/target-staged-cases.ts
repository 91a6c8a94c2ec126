// The contract's cases about the staged route: what waits, what a merge takes, what is noticed.
import assert from 'node:assert/strict';
import { NotDecoded, replayOf } from './batches.ts';
import {
  type Case,
  fails,
  type Ground,
  ids,
  joinTable,
  newStream,
  range,
  rungs,
  type StagedGround,
  Stream,
  times,
} from './target-stream.ts';

const minute = 60_000;

function staged(ground: Ground): StagedGround {
  assert(ground.staged, 'the ground has a staged route');
  return ground.staged;
}

async function waits(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const batch = await stream.stage([{ id: 1n }, { id: 2n, note: null }], [{ id: 3n }]);
  assert.deepEqual(await ground.rows(stream.table.name), []);
  const [lane] = await stream.session.lanes(stream.id);
  assert.deepEqual([lane?.staged, lane?.settled], [2, 0]);
  const whole = { lane: 0, first: 1, last: 9 };
  assert.deepEqual(await stream.session.ledger(stream.id, whole), []);
  assert.equal((await stream.session.ledger(stream.id, { ...whole, isStagedToo: true })).length, 1);
  const { records, oldestAt = 0 } = await stream.staging.waiting(stream.id.stream);
  assert.equal(records, 3);
  assert(Math.abs(Date.now() - oldestAt) < 10 * minute, 'since when they wait');
  const [merged, ...more] = await stream.mergeAll();
  assert.deepEqual([merged?.records, merged?.lost, merged?.optimistic], [3, 0, 'passed']);
  assert.deepEqual(more, []);
  assert.equal(await stream.endsOf(batch), undefined);
  const none = { records: 0, oldestAt: undefined };
  assert.deepEqual(await stream.staging.waiting(stream.id.stream), none);
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2, 3]);
  await stream.audit();
}

async function moved(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const batch = await stream.stage([{ id: 1n }], [{ id: 2n }]);
  await assert.rejects(stream.staging.stage(batch, stream.staged), fails('moved'));
  await stream.reconnect();
  stream.next[0] = 7;
  const later = stream.batch([{ id: 3n }]);
  await assert.rejects(stream.staging.stage(later, stream.staged), fails('moved'));
  await stream.reconnect();
  await stream.mergeAll();
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2]);
  await stream.audit();
}

async function fenced(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage([{ id: 1n }]);
  const other = await ground.target.connect();
  const claim = { ...stream.id, lanes: 3, owner: 'another', route: 'staged' } as const;
  const { epoch, lanes } = await other.claim(claim);
  assert.deepEqual([lanes[0]?.staged, lanes[0]?.settled], [1, 0]);
  const late = stream.batch([{ id: 2n }]);
  await assert.rejects(stream.staging.stage(late, stream.staged), fails('fenced'));
  await stream.reconnect();
  // The fence is for staging: who merges owns no epoch.
  await stream.mergeAll();
  stream.epoch = epoch;
  await stream.stage([{ id: 2n }]);
  await stream.mergeAll();
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2]);
  await stream.audit();
}

async function resolved(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const batch = stream.batch([{ id: 1n }], [], [{ id: 2n }]);
  const stand = async () => {
    const suspect = stream.session.id;
    await stream.reconnect();
    return (await stream.session.resolve(batch, suspect)).map((lane) => lane.staged);
  };
  assert.deepEqual(await stand(), [0, 0]);
  await stream.staging.stage(batch, stream.staged);
  assert.deepEqual(await stand(), [1, 1]);
}

async function emptied(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.settle('optimistic', [{ id: 1n }]);
  await stream.stage([{ id: 2n }, new NotDecoded('x')], [{ id: 3n }]);
  await staged(ground).wipe(stream.id.stream);
  // P14: the batch after those that were lost must not carry the watermark over them.
  await stream.stage([{ id: 4n }]);
  const [merged] = await stream.mergeAll();
  assert.equal(merged?.records, 0);
  assert((merged?.lost ?? 0) >= 3, 'what is not there is told');
  const lanes = await stream.session.lanes(stream.id);
  assert.deepEqual(
    lanes.map((lane) => lane.staged - lane.settled),
    [0, 0, 0],
  );
  assert.deepEqual([lanes[0]?.settled, lanes[1]?.settled], [1, 0]);
  stream.next.splice(0, 2, 2, 1);
  await stream.stage([{ id: 2n }, new NotDecoded('x'), { id: 4n }], [{ id: 3n }]);
  await stream.mergeAll();
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2, 3, 4]);
  assert.equal((await stream.letters()).length, 1);
  await stream.audit();
}

async function tooSoon(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage([new NotDecoded('{')]);
  const id = { ...stream.id, lane: 0, sequence: 1 };
  const replay = () => stream.session.replay(id, replayOf(stream.options, { id: 1n }));
  await assert.rejects(replay(), fails('transient'));
  await stream.reconnect();
  await stream.mergeAll();
  await replay();
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1]);
  await stream.audit();
}

async function lost(ground: Ground, rung: 'optimistic' | 'merge'): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage(range(10).map((id) => ({ id: BigInt(id) })));
  await staged(ground).lose(stream.id.stream, 4);
  const [merged] = await stream.mergeAll(rung);
  assert.deepEqual([merged?.records, merged?.lost], [0, 10]);
  assert.deepEqual(await ground.rows(stream.table.name), []);
  stream.next[0] = 1;
  const again = range(10).map((id) => ({ id: BigInt(id) }));
  assert.deepEqual(await stream.settle(rung, again), times('merged', 10));
}

async function retagged(ground: Ground, rung: 'optimistic' | 'merge'): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage([{ id: 1n }, { id: 2n }]);
  await staged(ground).retag(stream.id.stream);
  const [merged] = await stream.mergeAll(rung);
  assert.deepEqual([merged?.records, merged?.lost], [0, 2]);
  assert.deepEqual(await ground.rows(stream.table.name), []);
  stream.next[0] = 1;
  assert.deepEqual(await stream.settle(rung, [{ id: 1n }, { id: 2n }]), times('merged', 2));
}

async function claimed(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage([{ id: 1n }, { id: 1n }], [{ id: 2n }]);
  await staged(ground).claimed(stream.id.stream, 0, async () => {
    const merged = await stream.mergeAll();
    assert.deepEqual(
      merged.map(({ records }) => records),
      [1],
      'the other lane alone',
    );
    assert.equal(await stream.staging.dedupe(stream.staged, 0, 10), undefined);
    assert.deepEqual(ids(await ground.rows(stream.table.name)), [2]);
  });
  await stream.mergeAll();
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2]);
  await stream.audit();
}

async function altered(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage([{ id: 1n, note: 'a' }]);
  await ground.widen(stream.table.name, 'extra');
  await assert.rejects(stream.mergeAll(), fails('altered'));
  await stream.reconnect();
  const table = await stream.session.describe(stream.table.name);
  const wider = new Stream({ ...stream.parts, session: stream.session, table });
  wider.next[0] = 2;
  await wider.stage([
    { id: 2n, extra: 5n },
    { id: 3n, note: 'c' },
  ]);
  await wider.mergeAll();
  const rows = await ground.rows(stream.table.name);
  assert.deepEqual(
    rows.map(({ id, note }) => [id, note]),
    [
      ['1', 'a'],
      ['2', 'none'],
      ['3', 'c'],
    ],
  );
  await stream.audit();
}

async function writers(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const other = await joinTable(ground, stream.table.name, { stream: stream.id.stream });
  await stream.stage([{ id: 1n }, { id: 2n, note: 'mine' }], [{ id: 3n }]);
  await other.stage([{ id: 1n }, { id: 2n, note: 'yours' }, { id: 4n }]);
  await stream.mergeAll();
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2, 3, 4]);
  const ends = [await stream.totals(), await other.totals()];
  const sum = (end: 'merged' | 'duplicates' | 'deadLetters') =>
    ends.reduce((total, own) => total + own[end], 0);
  assert.deepEqual([sum('merged'), sum('duplicates'), sum('deadLetters')], [4, 1, 1]);
  await stream.audit();
  await other.audit();
}

async function together(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  for (const step of range(20)) {
    const rows = (lane: number) =>
      range(50).map((i) => ({ id: BigInt((step * 50 + i) * 3 + lane), note: `n${step}` }));
    await stream.stage(rows(0), rows(1), rows(2));
  }
  const mergers = await Promise.all(
    range(4).map(async () => {
      const own = new Stream({ ...stream.parts, session: await ground.target.connect() });
      const merged = await own.mergeAll();
      await own.session.close();
      return merged;
    }),
  );
  const records = mergers.flat().reduce((sum, merged) => sum + merged.records, 0);
  assert.equal(records, 3_000);
  assert.equal((await ground.rows(stream.table.name)).length, 3_000);
  await stream.audit();
}

async function routes(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.settle('optimistic', [{ id: 1n }, { id: 1n }, { id: 1n, note: 'x' }]);
  await stream.stage([{ id: 2n }]);
  const claim = { ...stream.id, lanes: 3, owner: 'me', route: 'direct' } as const;
  await assert.rejects(stream.session.claim(claim), fails('hold'));
  await stream.reconnect();
  await stream.mergeAll();
  const { epoch, lanes } = await stream.session.claim(claim);
  const totals = { merged: 2, duplicates: 1, superseded: 0, deadLetters: 1 };
  assert.deepEqual(lanes[0], { lane: 0, epoch, staged: 4, settled: 4, ...totals });
  const direct = new Stream({ ...stream.parts, session: stream.session, route: 'direct', epoch });
  direct.next[0] = 5;
  assert.deepEqual(await direct.settle('optimistic', [{ id: 3n }]), ['merged']);
  const back = await direct.session.claim({ ...claim, route: 'staged' });
  assert.deepEqual([back.lanes[0]?.merged, back.lanes[0]?.settled], [3, 5]);
  const again = new Stream({ ...stream.parts, session: direct.session, epoch: back.epoch });
  again.next[0] = 6;
  assert.deepEqual(await again.settle('optimistic', [{ id: 4n }]), ['merged']);
}

async function otherRules(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage([{ id: 1n }]);
  const other = new Stream({ ...stream.parts, session: stream.session, onConflict: 'ignore' });
  await assert.rejects(other.staging.open(other.staged), fails('hold'));
  await assert.rejects(other.mergeAll(), fails('hold'));
  await stream.reconnect();
  await stream.mergeAll();
  other.session = stream.session;
  await other.staging.open(other.staged);
  other.next[0] = 2;
  await other.stage([{ id: 2n }]);
  await assert.rejects(stream.mergeAll(), fails('hold'));
  await stream.reconnect();
  stream.next[0] = 3;
  await assert.rejects(stream.stage([{ id: 3n }]), fails('hold'));
}

async function collapsed(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const row = (id: number, note = 'same') => ({ id: BigInt(id), note });
  const batch = await stream.stage(
    [row(1), row(2), row(1), row(1, 'other'), row(2)],
    [row(3), new NotDecoded('x'), row(3)],
  );
  await stream.stage([row(2), row(4)]);
  const found = await stream.staging.duplicates(stream.staged, 2);
  assert.deepEqual([found.rows, found.duplicates], [9, 4]);
  assert.deepEqual(found.byKey[0], { key: found.byKey[0]?.key, duplicates: 2 });
  assert.match(found.byKey[0]?.key ?? '', /^\{"id" ?: ?2\}$/);
  assert.equal(found.byKey.length, 2);
  assert.equal(
    found.byTime.reduce((sum, { duplicates }) => sum + duplicates, 0),
    4,
  );
  assert.deepEqual(found.byLane, [
    { lane: 0, rows: 7, duplicates: 3 },
    { lane: 1, rows: 2, duplicates: 1 },
  ]);
  const steps = [];
  for (const lane of range(3)) steps.push(await stream.staging.dedupe(stream.staged, lane, 4));
  assert.deepEqual(
    steps.map((step) => step?.collapsed),
    [3, 1, 0],
  );
  const after = await stream.staging.duplicates(stream.staged, 2);
  assert.deepEqual([after.rows, after.duplicates], [5, 0]);
  await stream.mergeAll();
  assert.deepEqual(
    [...((await stream.endsOf(batch)) ?? [])],
    [0, 0, 1, 3, 1, 0, 1],
    'as a merge would have said',
  );
  await stream.audit();
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2, 3, 4]);
}

async function days(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const name = stream.id.stream;
  await stream.settle('optimistic', [{ id: 1n, note: null }, { id: 2n }]);
  const [today, tomorrow, ...more] = await stream.staging.partitions(name);
  assert.equal(Date.parse(tomorrow?.day ?? '') - Date.parse(today?.day ?? ''), 24 * 60 * minute);
  assert.deepEqual([today?.rows, today?.isConfirmed, more], [2, false, []]);
  await staged(ground).age(name, 3);
  const [old] = await stream.staging.partitions(name);
  assert(old && old.day < (today?.day ?? ''), 'a day of the past');
  assert.deepEqual([old.rows, old.isConfirmed], [2, false], 'merged, and not confirmed');
  const told = [old, today, tomorrow].map((of) => ({ name: of?.name, day: of?.day }));
  assert.deepEqual(await stream.staging.days(name), told);
  assert.equal(await stream.staging.dropPartition(name, old.name), false);
  await stream.staging.confirm(stream.id, [{ lane: 0, last: 2 }]);
  assert.equal((await stream.staging.partitions(name))[0]?.isConfirmed, true);
  const first = await stream.staging.archivePage(name, old.name, { from: '', rowsMax: 1 });
  const rest = { from: first.next ?? '', rowsMax: 5 };
  const { lines, next } = await stream.staging.archivePage(name, old.name, rest);
  const place = { writer: stream.id.writer, lane: 0 };
  assert.deepEqual(
    [...first.lines, ...lines].map((line) => JSON.parse(line)),
    [
      { ...place, sequence: 1, row: { id: 1, note: null } },
      { ...place, sequence: 2, row: { id: 2 } },
    ],
  );
  assert.equal(next, undefined);
  assert.equal(await stream.staging.dropPartition(name, old.name, 1), false, 'it has two rows');
  const again = await stream.staging.archivePage(name, old.name, { from: '', rowsMax: 5 });
  assert.equal(again.lines.length, 2, 'all of it is still there');
  assert.equal(await stream.staging.dropPartition(name, old.name, 2), true);
  assert.equal((await stream.staging.partitions(name)).length, 2);
  assert.equal(await stream.staging.dropPartition(name, today?.name ?? ''), false);
  assert.deepEqual(await stream.settle('optimistic', [{ id: 3n }]), ['merged']);
}

async function told(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage([{ id: 1n }], [{ id: 2n }]);
  assert.deepEqual(await stream.staging.mergedAfter(stream.id, [0, 0, 0]), []);
  await stream.mergeAll();
  await stream.stage([{ id: 3n }, { id: 3n }]);
  await stream.mergeAll();
  const rows = await stream.staging.mergedAfter(stream.id, [1, 0, 0]);
  assert.deepEqual(
    rows.map(({ lane, first, last, merged, duplicates }) => [
      lane,
      first,
      last,
      merged,
      duplicates,
    ]),
    [
      [0, 2, 3, 1, 1],
      [1, 1, 1, 1, 0],
    ],
  );
}

export const stagedCases: readonly Case[] = [
  ['staged rows wait, and a merge brings them into the table', waits],
  ['a lane that has moved refuses the staging of a batch', moved],
  ['a later claim fences who stages, not who merges', fenced],
  ['a resolved batch is found staged, or not', resolved],
  ['an emptied staging table is noticed and nothing is passed over (P14)', emptied],
  ['a dead letter is replayed when its record is settled, not before', tooSoon],
  ...rungs.map(
    (rung): Case => [`one lost row sends its lane back (P14, ${rung})`, (g) => lost(g, rung)],
  ),
  ...rungs.map(
    (rung): Case => [
      `rows of another batch are not the ledger’s (P14, ${rung})`,
      (g) => retagged(g, rung),
    ],
  ),
  ['a table that was altered takes rows of both shapes', altered],
  ['rows of all writers are merged by anybody', writers],
  ['a lane that another one has claimed is left alone (P14)', claimed],
  ['mergers side by side merge each row once (P14)', together],
  ['a stream changes its route when nothing waits, with its totals', routes],
  ['rules change when nothing waits', otherRules],
  ['duplicates are collapsed as a merge would have ended them', collapsed],
  ['a day goes when all of it is confirmed, page by page if wanted', days],
  ['what was merged is told after a place', told],
];
