// What the contract's cases stand on: a ground for each dialect, and streams that write to it.
import assert from 'node:assert/strict';
import type { Table } from '../../src/accept/columns.ts';
import type { Row } from '../../src/accept/rows.ts';
import { type Batch, type OnConflict, rowEnd } from '../../src/merge/batch.ts';
import { addCounts, countEnds, decodeEnds, noCounts } from '../../src/merge/ledger.ts';
import { isLost } from '../../src/merge/lost.ts';
import type { MergedTurn, StagedStream, Staging } from '../../src/target/staging.ts';
import {
  type Route,
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
  /** Direct where left out. */
  readonly route?: Route;
  /** Makes a table of that shape. */
  create(table: string, shape: Shape): Promise<void>;
  /** Its rows, ordered by id, amount, note; every value as text. */
  rows(table: string): Promise<{ readonly [column: string]: string | null }[]>;
  /** Takes one row out. */
  remove(table: string, id: number): Promise<void>;
  /** Adds a nullable bigint column. */
  widen(table: string, column: string): Promise<void>;
  /** Drops the unique index on id, and makes it again. */
  dropKey(table: string): Promise<void>;
  makeKey(table: string): Promise<void>;
  drop(table: string): Promise<void>;
  /** What only grounds with a staged route can do. */
  readonly staged?: StagedGround;
  close(): Promise<void>;
}

export interface StagedGround {
  /** Empties the stream's staging table, as a crash does with an unlogged one. */
  wipe(stream: string): Promise<void>;
  /** Takes out the staged row with this id. */
  lose(stream: string, id: number): Promise<void>;
  /** Makes the staged rows those of other batches: their digests are not the ledger's. */
  retag(stream: string): Promise<void>;
  /** Somebody else has the claim on a lane number meanwhile. */
  claimed(stream: string, lane: number, work: () => Promise<void>): Promise<void>;
  /** Makes the rows that are staged now some days older. */
  age(stream: string, days: number): Promise<void>;
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

export interface StreamParts {
  readonly target: Target;
  readonly session: Session;
  readonly id: StreamId;
  readonly table: Table;
  readonly onConflict: OnConflict;
  readonly route: Route;
  readonly epoch: number;
}

/** One stream with its writer, which climbs the ladder as a loader does. */
export class Stream {
  readonly id: StreamId;
  readonly table: Table;
  readonly #target: Target;
  readonly #onConflict: OnConflict;
  readonly #key: readonly string[];
  readonly route: Route;
  /** What it was made of: a further one differs in some of it. */
  readonly parts: StreamParts;
  session: Session;
  epoch: number;
  readonly next: number[] = [];

  constructor(of: StreamParts) {
    this.parts = of;
    this.#target = of.target;
    this.session = of.session;
    this.id = of.id;
    this.table = of.table;
    this.#onConflict = of.onConflict;
    this.route = of.route;
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
    const { ends } =
      this.route === 'direct'
        ? await this.#climb(batch, rung)
        : await this.#stageAndMerge(batch, rung);
    lanes.forEach((records, lane) => {
      this.next[lane] = (this.next[lane] ?? 1) + records.length;
    });
    await this.audit();
    const given = ends ?? new Uint8Array(batch.count);
    assert.equal(given.length, batch.count, 'every row has its end');
    assert(ends === undefined || ends.some((end) => end !== rowEnd.merged), 'absent if all merged');
    return [...given].map((end) => names[end] ?? 'merged');
  }

  /** For a session's calls about the staging table. */
  get staged(): StagedStream {
    return { rules: this.options.rules, table: this.table, isLogged: true };
  }

  get staging(): Staging {
    assert(this.session.staging, 'the target has a staged route');
    return this.session.staging;
  }

  /** The next records, staged; nothing is merged. */
  async stage(...lanes: readonly (readonly (Row | NotDecoded)[])[]): Promise<Batch> {
    const batch = this.batch(...lanes);
    await this.staging.stage(batch, this.staged);
    lanes.forEach((records, lane) => {
      this.next[lane] = (this.next[lane] ?? 1) + records.length;
    });
    return batch;
  }

  /** Merges until nothing waits; what each merge did. */
  async mergeAll(rung: Rung = 'optimistic'): Promise<MergedTurn[]> {
    const done: MergedTurn[] = [];
    for (;;) {
      const merged = await this.staging.merge({
        stream: this.staged,
        rowsMax: 20_000,
        start: 0,
        share: 1,
        isOptimistic: rung === 'optimistic',
      });
      if (!merged) return done;
      done.push(merged);
    }
  }

  async #stageAndMerge(batch: Batch, rung: Rung) {
    await this.staging.stage(batch, this.staged);
    const [waiting] = await this.session.lanes(this.id);
    assert(waiting && waiting.staged >= waiting.settled, 'staged goes before settled');
    await this.mergeAll(rung);
    return { ends: await this.endsOf(batch) };
  }

  /** How the ledger says that the batch's rows ended; absent where all were merged. */
  async endsOf(batch: Batch): Promise<Uint8Array | undefined> {
    const bySlice: Uint8Array[] = [];
    for (const { lane, first, last } of batch.slices) {
      const ends = new Uint8Array(last - first + 1).fill(255);
      for (const row of await this.session.ledger(this.id, { lane, first, last })) {
        ends.set(decodeEnds(row), row.first - first);
      }
      bySlice.push(ends);
    }
    const ends = Uint8Array.from({ length: batch.count }, (_, row) => {
      const slice = batch.sliceOf[row] ?? 0;
      return (
        bySlice[slice]?.[(batch.sequences[row] ?? 0) - (batch.slices[slice]?.first ?? 0)] ?? 255
      );
    });
    return ends.every((end) => end === rowEnd.merged) ? undefined : ends;
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
      assert.equal(staged, settled, 'nothing waits');
      const range = { lane, first: 1, last: settled };
      const rows = settled === 0 ? [] : await this.session.ledger(this.id, range);
      const sums = { merged: 0, duplicates: 0, superseded: 0, deadLetters: 0 };
      let last = 0;
      let lost = 0;
      for (const row of rows) {
        assert.equal(row.first, last + 1, 'the ledger has no gap');
        if (isLost(row)) lost += row.rowCount;
        else assert.equal(row.digest, 4_000_000_000 + lane, 'digests come back');
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
      const ended = merged + duplicates + superseded + deadLetters;
      assert.equal(ended + lost, settled, 'the books balance');
    }
  }

  /** Over all lanes. */
  async totals() {
    const lanes = await this.session.lanes(this.id);
    return lanes.reduce(addCounts, noCounts);
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
  return joinTable(ground, table, { onConflict });
}

/** A further stream, of a writer of its own, into a table that is there. */
export async function joinTable(
  ground: Ground,
  table: string,
  of: { readonly onConflict?: OnConflict; readonly stream?: string } = {},
): Promise<Stream> {
  const { onConflict = 'dead-letter' } = of;
  made++;
  const { target } = ground;
  const session = await target.connect();
  await session.prepare(true);
  const writer = `00000000-0000-4000-8000-${String(made).padStart(12, '0')}`;
  const { route = 'direct' } = ground;
  // The names of staging tables come from those of streams, which the options keep plain.
  const plain = route === 'direct' ? `stream ${made} ‘é’ \\ "${table}"` : `stream-${made}.A`;
  const stream = of.stream ?? plain;
  const id = { writer, stream };
  const { epoch } = await session.claim({ ...id, lanes: 3, owner: 'the contract', route });
  return new Stream({
    target,
    session,
    id,
    table: await session.describe(table),
    onConflict,
    route,
    epoch,
  });
}

export const range = (count: number) => Array.from({ length: count }, (_, i) => i);
export const ids = (rows: readonly { readonly [column: string]: string | null }[]) =>
  rows.map((row) => Number(row['id']));
export const times = (end: EndName, count: number): EndName[] =>
  new Array<EndName>(count).fill(end);
export const rungs: readonly Rung[] = ['optimistic', 'merge'];
