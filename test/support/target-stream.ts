// What the contract's cases stand on: a ground for each dialect, and streams that write to it.
import assert from 'node:assert/strict';
import type { Table } from '../../src/accept/columns.ts';
import type { Row } from '../../src/accept/rows.ts';
import { type Batch, type OnConflict, rowEnd } from '../../src/merge/batch.ts';
import { countEnds, decodeEnds } from '../../src/merge/ledger.ts';
import {
  type Rung,
  type Session,
  type StreamId,
  type Target,
  TargetError,
  type TargetErrorKind,
} from '../../src/target/target.ts';
import { batchOf, type LaneRecords, type NotDecoded } from './batches.ts';

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

/** Name and body of one test. */
export type Case = readonly [string, (ground: Ground) => Promise<void>];

export type EndName = keyof typeof rowEnd;
export const names = Object.keys(rowEnd) as EndName[];

export const fails = (kind: TargetErrorKind) => (error: unknown) => {
  assert(error instanceof TargetError, String(error));
  assert.equal(error.kind, kind, error.message);
  return true;
};

/** One stream with its writer, which climbs the ladder as a loader does. */
export class Stream {
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
    for (const { lane, staged, settled, epoch: _, ...totals } of lanes) {
      assert.equal(staged, settled, 'the direct route stages and settles at once');
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

export async function newStream(
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
export async function joinTable(
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
  const { epoch } = await session.claim({
    ...id,
    lanes: 3,
    owner: 'the contract',
    route: 'direct',
  });
  return new Stream({
    target,
    session,
    id,
    table: await session.describe(table),
    onConflict,
    epoch,
  });
}

export const range = (count: number) => Array.from({ length: count }, (_, i) => i);
export const ids = (rows: readonly { readonly [column: string]: string | null }[]) =>
  rows.map((row) => Number(row['id']));
export const times = (end: EndName, count: number): EndName[] =>
  new Array<EndName>(count).fill(end);
export const rungs: readonly Rung[] = ['optimistic', 'merge'];
