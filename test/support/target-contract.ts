// What every target must do, in one body; test/target.test.ts runs it for each dialect. A ground is one
// empty database with the few tables that the contract needs, under names of its own.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Table } from '../../src/accept/columns.ts';
import type { Row } from '../../src/accept/rows.ts';
import { type Batch, type OnConflict, type RowEnd, rowEnd } from '../../src/merge/batch.ts';
import { countEnds, decodeEnds } from '../../src/merge/ledger.ts';
import {
  type Rung,
  type Session,
  type StreamId,
  type Target,
  TargetError,
  type TargetErrorKind,
  verdict,
} from '../../src/target/target.ts';
import { batchOf, type LaneRecords, NotDecoded, replayOf } from './batches.ts';

/**
 * - keyed: id bigint NOT NULL PRIMARY KEY, amount bigint NOT NULL DEFAULT 1, note text DEFAULT
 *   'none' CHECK (note <> 'bad'), version bigint NOT NULL DEFAULT 0
 * - loose: the same columns, no key
 */
export type Shape = 'keyed' | 'loose';

export interface Ground {
  readonly target: Target;
  /** Makes a table of that shape. */
  create(table: string, shape: Shape): Promise<void>;
  /** Its rows, ordered by id, amount, note; every value as text. */
  rows(table: string): Promise<{ readonly [column: string]: string | null }[]>;
  /** Takes one row out. */
  remove(table: string, id: number): Promise<void>;
  /** Adds a nullable bigint column. */
  widen(table: string, column: string): Promise<void>;
  drop(table: string): Promise<void>;
  close(): Promise<void>;
}

type EndName = keyof typeof rowEnd;
const names = Object.keys(rowEnd) as EndName[];

const fails = (kind: TargetErrorKind) => (error: unknown) => {
  assert(error instanceof TargetError, String(error));
  assert.equal(error.kind, kind, error.message);
  return true;
};

/** One stream with its writer, which climbs the ladder as a loader does. */
class Stream {
  readonly id: StreamId;
  readonly table: Table;
  readonly #target: Target;
  readonly #onConflict: OnConflict;
  readonly #key: readonly string[];
  session: Session;
  epoch: number;
  readonly next: number[] = [];

  constructor(of: {
    readonly target: Target;
    readonly session: Session;
    readonly id: StreamId;
    readonly table: Table;
    readonly onConflict: OnConflict;
    readonly epoch: number;
  }) {
    this.#target = of.target;
    this.session = of.session;
    this.id = of.id;
    this.table = of.table;
    this.#onConflict = of.onConflict;
    this.#key = of.table.keys[0] ?? [];
    this.epoch = of.epoch;
  }

  get options() {
    const rules = { stream: this.id.stream, key: this.#key, onConflict: this.#onConflict };
    return { writer: this.id.writer, epoch: this.epoch, rules, journaled: this.table };
  }

  /** The next records of each lane, by their place. */
  batch(...lanes: readonly (readonly (Row | NotDecoded)[])[]): Batch {
    const records = lanes.flatMap((of, lane): LaneRecords[] =>
      of.length === 0 ? [] : [{ lane, first: this.next[lane] ?? 1, records: of }],
    );
    return batchOf(this.options, records);
  }

  /** Climbs until it is settled; the end of each row, in the order given. */
  async settle(
    rung: Rung,
    ...lanes: readonly (readonly (Row | NotDecoded)[])[]
  ): Promise<EndName[]> {
    const batch = this.batch(...lanes);
    const { ends } = await this.#climb(batch, rung);
    lanes.forEach((records, lane) => {
      this.next[lane] = (this.next[lane] ?? 1) + records.length;
    });
    await this.audit();
    const given = ends ?? new Uint8Array(batch.count);
    assert.equal(given.length, batch.count, 'every row has its end');
    assert(ends === undefined || ends.some((end) => end !== rowEnd.merged), 'absent if all merged');
    return [...given].map((end) => names[end] ?? 'merged');
  }

  async #climb(batch: Batch, rung: Rung) {
    try {
      return await this.session.merge(batch, rung);
    } catch (error) {
      const isNext = error instanceof TargetError && ['conflict', 'row'].includes(error.kind);
      if (!isNext || rung === 'merge') throw error;
      await this.audit();
      return await this.session.merge(batch, 'merge');
    }
  }

  async reconnect(): Promise<void> {
    this.session.destroy();
    this.session = await this.#target.connect();
  }

  /** Lanes, ledger and dead letters tell one story, whatever came before. */
  async audit(): Promise<void> {
    // A loader too begins anew after a failure of the optimistic rung.
    await this.reconnect();
    const lanes = await this.session.lanes(this.id);
    for (const { lane, settled, epoch: _, ...totals } of lanes) {
      const range = { lane, first: 1, last: settled };
      const rows = settled === 0 ? [] : await this.session.ledger(this.id, range);
      const sums = { merged: 0, duplicates: 0, superseded: 0, deadLetters: 0 };
      let last = 0;
      for (const row of rows) {
        assert.equal(row.first, last + 1, 'the ledger has no gap');
        assert.equal(row.digest, 4_000_000_000 + lane, 'digests come back');
        last = row.last;
        const counts = countEnds(decodeEnds(row));
        for (const end of ['merged', 'duplicates', 'superseded', 'deadLetters'] as const) {
          assert.equal(row[end], counts[end], 'counts and ends agree');
          sums[end] += row[end];
        }
      }
      assert.equal(last, settled, 'the ledger reaches the watermark');
      assert.deepEqual(totals, sums, 'totals are the ledger’s sums');
      const { merged, duplicates, superseded, deadLetters } = totals;
      assert.equal(merged + duplicates + superseded + deadLetters, settled, 'the books balance');
    }
  }

  async letters() {
    return this.session.deadLetters({ stream: this.id.stream });
  }
}

let made = 0;

async function newStream(
  ground: Ground,
  shape: Shape,
  onConflict: OnConflict = 'dead-letter',
): Promise<Stream> {
  made++;
  const table = `${shape}_${made}`;
  await ground.create(table, shape);
  return joinTable(ground, table, onConflict);
}

/** A further stream, of a writer of its own, into a table that is there. */
async function joinTable(
  ground: Ground,
  table: string,
  onConflict: OnConflict = 'dead-letter',
): Promise<Stream> {
  made++;
  const { target } = ground;
  const session = await target.connect();
  await session.prepare(true);
  const writer = `00000000-0000-4000-8000-${String(made).padStart(12, '0')}`;
  const id = { writer, stream: `stream ${made} ‘é’ \\ "${table}"` };
  const { epoch } = await session.claim({ ...id, lanes: 3, owner: 'the contract' });
  return new Stream({
    target,
    session,
    id,
    table: await session.describe(table),
    onConflict,
    epoch,
  });
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i);
const ids = (rows: readonly { readonly [column: string]: string | null }[]) =>
  rows.map((row) => Number(row['id']));
const times = (end: EndName, count: number): EndName[] => new Array<EndName>(count).fill(end);
const rungs: readonly Rung[] = ['optimistic', 'merge'];

/** Registers the contract's tests for one dialect. */
export function contract(name: string, make: () => Promise<Ground>): void {
  describe(name, () => {
    let ground: Ground;
    before(async () => {
      ground = await make();
    });
    after(() => ground.close());
    const on = (run: (ground: Ground) => Promise<void>) => () => run(ground);

    for (const rung of rungs) {
      test(
        `new rows are merged (${rung})`,
        on((g) => newRows(g, rung)),
      );
      test(
        `absent columns get the default, nulls stay null (${rung})`,
        on((g) => columns(g, rung)),
      );
      test(
        `without a key equal rows are all merged (${rung})`,
        on((g) => noKey(g, rung)),
      );
      test(
        `equal content is a duplicate (${rung})`,
        on((g) => duplicates(g, rung)),
      );
      test(
        `other content under a key is a dead letter (${rung})`,
        on((g) => conflicts(g, rung)),
      );
      test(
        `records that never decoded are kept (${rung})`,
        on((g) => undecoded(g, rung)),
      );
      test(
        `a batch of undecoded records alone settles (${rung})`,
        on((g) => onlyUndecoded(g, rung)),
      );
      test(
        `a lane that has moved refuses the batch (${rung})`,
        on((g) => moved(g, rung)),
      );
      test(
        `a later claim fences the earlier owner (${rung})`,
        on((g) => fenced(g, rung)),
      );
      test(
        `an altered table refuses the batch, then takes it (${rung})`,
        on((g) => altered(g, rung)),
      );
      test(
        `a table that is gone holds the batch (${rung})`,
        on((g) => gone(g, rung)),
      );
    }
    test('ignore: other content is superseded', on(ignore));
    test('update: the last row of a key wins, in sequence order', on(update));
    test('update: rows of one key with different columns apply in order', on(updateSets));
    test('newest: the highest version wins', on(newest));
    for (const [where, bad] of [
      ['first', [0]],
      ['in the middle', [4_321]],
      ['last', [9_999]],
      ['scattered', [0, 1, 5_000, 5_002, 9_998]],
    ] as const) {
      test(
        `rows refused ${where} of 10,000 leave the others alone`,
        on((g) => refused(g, bad)),
      );
    }
    test(
      '10,000 rows may all be refused',
      on((g) => refused(g, range(10_000))),
    );
    test('without a key a refused row leaves the others alone', on(refusedLoose));
    test('claims raise the epoch of every lane', on(claims));
    test('a resolved batch is found settled, or not', on(resolved));
    test('compare finds equal, different and absent rows', on(compared));
    test('a replayed dead letter moves in the books', on(replayed));
    test('a replay never overwrites under update', on(replayUpdate));
    test('a dropped dead letter stays one', on(dropped));
    test('the ledger can be pruned up to a sequence', on(pruned));
    test('a missing table is told from one that is there', on(described));
  });
}

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
  const { epoch, lanes } = await other.claim({ ...stream.id, lanes: 3, owner: 'another' });
  assert.equal(epoch, stream.epoch + 1);
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
  await ground.widen(name, 'extra');
  const batch = stream.batch([{ id: 1n }]);
  await assert.rejects(stream.session.merge(batch, rung), fails('altered'));
  await stream.reconnect();
  const table = await stream.session.describe(name);
  assert.notEqual(table.fingerprint, stream.table.fingerprint);
  await stream.session.merge({ ...batch, table }, 'merge');
  await stream.audit();
  assert.deepEqual(ids(await ground.rows(name)), [1]);
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
  assert.deepEqual(ends, ['duplicate', 'superseded', 'merged', 'duplicate']);
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
  assert.deepEqual(
    await stream.settle('optimistic', [row(2n, 'b'), row(3n, 'c'), row(1n, 'a'), row(3n, 'c')]),
    ['superseded', 'merged', 'superseded', 'duplicate'],
  );
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

async function claims(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const { epoch, lanes } = await stream.session.claim({ ...stream.id, lanes: 5, owner: 'more' });
  assert.equal(epoch, stream.epoch + 1);
  assert.deepEqual(
    lanes.map((lane) => lane.lane),
    [0, 1, 2, 3, 4],
  );
  assert(lanes.every((lane) => lane.epoch === epoch && lane.settled === 0));
  assert.deepEqual(await stream.session.lanes(stream.id), lanes);
  const other = { ...stream.id, stream: 'never claimed' };
  assert.deepEqual(await stream.session.lanes(other), []);
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
  const [gone_] = await stream.session.deadLetters({ id });
  assert.deepEqual([gone_?.state, gone_?.row], ['replayed', '{"id":1,"note":"b"}']);
  assert.deepEqual(await stream.letters(), []);
  assert.deepEqual(ids(await ground.rows(name)), [1, 5]);
  const [lane] = await stream.session.lanes(stream.id);
  assert.deepEqual([lane?.merged, lane?.duplicates, lane?.deadLetters], [2, 1, 0]);
}

async function replayUpdate(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed', 'update');
  await stream.settle('optimistic', [
    { id: 1n, note: 'bad' },
    { id: 1n, note: 'later' },
  ]);
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
