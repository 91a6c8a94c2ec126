// The contract's cases about records that are passed over (P3).
import assert from 'node:assert/strict';
import { rowEnd } from '../../src/merge/batch.ts';
import { decodeEnds } from '../../src/merge/ledger.ts';
import type { LostRange } from '../../src/merge/lost.ts';
import { type Case, fails, type Ground, ids, newStream, type Stream } from './target-stream.ts';

const order = ({ id, epoch }: Stream, ranges: readonly LostRange[]) => ({ ...id, epoch, ranges });

async function passedOver(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.settle('optimistic', [{ id: 1n }, { id: 2n }]);
  const ranges = [
    { lane: 0, first: 3, last: 7 },
    { lane: 2, first: 1, last: 1_200_000 },
  ];
  await stream.session.passOver(order(stream, ranges));
  const lanes = await stream.session.lanes(stream.id);
  assert.deepEqual(
    lanes.map(({ staged, settled, merged }) => [staged, settled, merged]),
    [
      [7, 7, 2],
      [0, 0, 0],
      [1_200_000, 1_200_000, 0],
    ],
  );
  const [row, ...none] = await stream.session.ledger(stream.id, { lane: 0, first: 3, last: 9 });
  assert.deepEqual([row?.first, row?.last, row?.digest, none.length], [3, 7, 0, 0]);
  assert(row && decodeEnds(row).every((end) => end === rowEnd.lost));
  await stream.audit();
  stream.next[0] = 8;
  assert.deepEqual(await stream.settle('optimistic', [{ id: 8n }]), ['merged']);
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2, 8]);
  // What was lost is said for ever.
  const upTo = [{ lane: 0, last: 8 }];
  assert.equal(await stream.session.prune(stream.id, upTo), 2);
  const left = await stream.session.ledger(stream.id, { lane: 0, first: 1, last: 9 });
  assert.deepEqual(
    left.map(({ first, last }) => [first, last]),
    [[3, 7]],
  );
}

async function guarded(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.settle('optimistic', [{ id: 1n }]);
  const range = { lane: 0, first: 2, last: 5 };
  const refused = async (ranges: readonly LostRange[], kind: 'moved' | 'fenced') => {
    await assert.rejects(stream.session.passOver(order(stream, ranges)), fails(kind));
    await stream.audit();
    const lanes = await stream.session.lanes(stream.id);
    assert.deepEqual(
      lanes.map(({ settled }) => settled),
      [1, 0, 0],
    );
  };
  await refused([{ ...range, first: 1 }], 'moved');
  await refused([{ ...range, first: 3 }], 'moved');
  // One lane that stands elsewhere is enough.
  await refused([range, { lane: 1, first: 2, last: 2 }], 'moved');
  await refused([{ lane: 9, first: 1, last: 2 }], 'moved');
  const claim = { ...stream.id, lanes: 3, owner: 'another', route: stream.route };
  const { epoch } = await stream.session.claim(claim);
  await refused([range], 'fenced');
  const [before, later] = [stream.epoch, epoch + 1];
  // A claim that the target has forgotten.
  stream.epoch = later;
  await refused([range], 'moved');
  stream.epoch = epoch;
  await stream.session.passOver(order(stream, [range]));
  await assert.rejects(stream.session.passOver(order(stream, [range])), fails('moved'));
  await stream.audit();
  stream.epoch = before;
  stream.next[0] = 6;
  await assert.rejects(stream.settle('optimistic', [{ id: 6n }]), fails('fenced'));
}

async function waiting(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage([{ id: 1n }, { id: 2n }], [{ id: 3n }]);
  const ranges = [{ lane: 0, first: 3, last: 4 }];
  const early = [{ lane: 0, first: 1, last: 4 }];
  for (const range of [ranges, early]) {
    await assert.rejects(stream.session.passOver(order(stream, range)), fails('moved'));
    await stream.reconnect();
  }
  await stream.mergeAll();
  await stream.session.passOver(order(stream, ranges));
  assert.deepEqual(
    (await stream.staging.mergedAfter(stream.id, [2, 1])).map(({ first, last }) => [first, last]),
    [[3, 4]],
  );
  stream.next[0] = 5;
  await stream.settle('optimistic', [{ id: 5n }]);
  assert.deepEqual(ids(await ground.rows(stream.table.name)), [1, 2, 3, 5]);
  // What is lost stays that through another route, too.
  const claim = { ...stream.id, lanes: 3, owner: 'direct', route: 'direct' } as const;
  const { lanes } = await stream.session.claim(claim);
  assert.deepEqual([lanes[0]?.settled, lanes[0]?.merged], [5, 3]);
  await stream.audit();
}

export const lostCases: readonly Case[] = [
  ['lost records are passed over, and counted nowhere (P3)', passedOver],
  ['nothing is passed over but what comes next, by the owner, once (P3)', guarded],
];

export const stagedLostCases: readonly Case[] = [
  ...lostCases,
  ['what is staged before lost records is merged first (P3)', waiting],
];
