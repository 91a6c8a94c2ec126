// One connection to a simulated target.
import assert from 'node:assert/strict';
import type { Table } from '../../src/accept/columns.ts';
import type { Clock } from '../../src/clock.ts';
import { type Batch, type RowEnd, rowEnd } from '../../src/merge/batch.ts';
import type { LedgerRow } from '../../src/merge/ledger.ts';
import { isLost } from '../../src/merge/lost.ts';
import { requireUnclaimed } from '../../src/target/rows.ts';
import type { Staging } from '../../src/target/staging.ts';
import {
  type Claim,
  type Contention,
  type DeadLetter,
  type DeadLetterId,
  type LaneState,
  type LedgerRange,
  type LetterFilter,
  type MergeResult,
  type PassOver,
  type Rung,
  type Session,
  type StreamId,
  TargetError,
} from '../../src/target/target.ts';
import { passOver, readLetters } from './simulated-books.ts';
import { kept, SimulatedMerge, streamOf } from './simulated-merge.ts';
import type { Call, Caller, SimulatedServer } from './simulated-server.ts';
import { SimulatedStaging } from './simulated-staging.ts';
import { laneKey, ledgerPlace, type SimulatedStore } from './simulated-store.ts';

export interface SessionParts {
  readonly server: SimulatedServer;
  readonly store: SimulatedStore;
  readonly clock: Clock;
  readonly id: string;
  readonly identity: string;
  /** Where the log stands, for a target with a standby. */
  position(): string;
  isReplicated(position: string): boolean;
  readonly prepared: { isPrepared: boolean };
  /** What it tells of waits; left out: nothing, and nobody needs to ask. */
  readonly contention?: Contention;
}

const read = { writes: false } as const;
const write = { writes: true } as const;

/** So long `resolve` waits for locks before it ends who holds them, and so often. */
const lockMsMax = 30;
const resolveTriesMax = 5;

const locksOf = (batch: Batch): string[] =>
  batch.slices.map(({ lane }) => laneKey(streamOf(batch), lane));

export class SimulatedSession implements Session, Caller {
  readonly identity: string;
  readonly id: string;
  readonly life: number;
  readonly staging: Staging;
  readonly #parts: SessionParts;
  readonly #store: SimulatedStore;
  readonly #merge: SimulatedMerge;
  /** Made only where somebody waits for it. */
  #end: AbortController | undefined;
  isGone = false;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.#store = parts.store;
    this.#merge = new SimulatedMerge(parts.store);
    this.identity = parts.identity;
    this.id = parts.id;
    this.life = parts.server.life;
    const call = <T>(of: Call<T>) => this.#call(of);
    this.staging = new SimulatedStaging({ ...parts, call });
  }

  get gone(): AbortSignal {
    this.#end ??= new AbortController();
    return this.isGone ? AbortSignal.abort() : this.#end.signal;
  }

  async #call<T>(of: Call<T>): Promise<T> {
    if (this.isGone) throw new TargetError('lost', '', 'The connection is gone.');
    try {
      const answer = await this.#parts.server.call(this, of);
      if (of.keep) this.#store.brought(of.locks ?? [], Number(this.id));
      return answer;
    } catch (error) {
      const isOver = error instanceof TargetError && ['lost', 'ambiguous'].includes(error.kind);
      if (isOver) this.destroy();
      throw error;
    }
  }

  prepare(create: boolean): Promise<void> {
    const { prepared } = this.#parts;
    const body = () => {
      if (!create && !prepared.isPrepared) {
        throw new TargetError('hold', '', 'Holdfast’s own tables are missing.');
      }
      prepared.isPrepared = true;
    };
    return this.#call({ name: 'prepare', ...write, body });
  }

  tableNames(): Promise<string[]> {
    const body = () => [...this.#store.tables.keys()].sort();
    return this.#call({ name: 'tableNames', ...read, body });
  }

  describe(table: string): Promise<Table> {
    const body = () => this.#store.describe(table);
    return this.#call({ name: 'describe', ...read, body });
  }

  claim(of: Claim): Promise<{ epoch: number; lanes: LaneState[] }> {
    const id = { writer: of.writer, stream: of.stream };
    const locks = Array.from({ length: of.lanes }, (_, lane) => laneKey(id, lane));
    const body = () => this.#store.transaction(() => this.#takeOver(of));
    return this.#call({ name: 'claim', ...write, locks, body });
  }

  #takeOver({ writer, stream, lanes: count, owner, after, route }: Claim) {
    const id = { writer, stream };
    const known = this.#store.lanesOf(id);
    const { owners } = this.#store;
    const owned = known.map((lane) => ({ ...lane, owner: owners.get(laneKey(id, lane.lane)) }));
    requireUnclaimed(owned, { owner, after });
    const highest = known.reduce((most, lane) => Math.max(most, lane.epoch), 0);
    // The server's clock, which nobody sets.
    const now = Math.floor(this.#parts.clock.monotonicMs() * 1_000);
    const epoch = Math.max(highest + 1, now);
    const marks = { staged: 0, settled: 0 };
    const totals = { merged: 0, duplicates: 0, superseded: 0, deadLetters: 0 };
    for (let lane = 0; lane < Math.max(count, known.length); lane++) {
      const state = known[lane] ?? { lane, epoch, ...marks, ...totals };
      const key = laneKey(id, lane);
      if (route === 'direct') this.#toDirect(key, state);
      else this.#toStaged(key);
      this.#store.setLane(id, { ...state, epoch });
      this.#store.set(owners, key, owner);
    }
    this.#store.claims.push({ stream, owner });
    return { epoch, lanes: this.#store.lanesOf(id) };
  }

  #toDirect(key: string, { lane, staged, settled }: LaneState): void {
    if (staged > settled) throw new TargetError('hold', '', `Records of lane ${lane} wait.`);
    if (this.#store.stagedLanes.has(key)) this.#store.set(this.#store.stagedLanes, key, undefined);
  }

  #toStaged(key: string): void {
    const all = this.#store.stagedLanes;
    if (all.has(key)) return;
    const source = 1 + [...all.values()].reduce((last, of) => Math.max(last, of.source), 0);
    this.#store.set(all, key, { source, confirmed: 0 });
  }

  lanes(stream: StreamId): Promise<LaneState[]> {
    const body = () => this.#store.lanesOf(stream);
    return this.#call({ name: 'lanes', ...read, body });
  }

  /** Waits for the lanes' locks; after a while it ends the session that may have them (P1). */
  async resolve(batch: Batch, suspect: string): Promise<LaneState[]> {
    const { server, clock } = this.#parts;
    const own = new Set(batch.slices.map(({ lane }) => lane));
    const locks = locksOf(batch);
    for (let tries = 1; tries <= resolveTriesMax; tries++) {
      const body = () => {
        if (tries > 1 && server.isLocked(locks)) server.terminate(suspect);
        if (server.isLocked(locks)) return undefined;
        return this.#store.lanesOf(streamOf(batch)).filter(({ lane }) => own.has(lane));
      };
      const found = await this.#call({ name: 'resolve', ...read, body });
      if (found) return found;
      await clock.sleep(lockMsMax);
    }
    throw new TargetError('transient', '55P03', 'simulated: the lanes stay locked.');
  }

  merge(given: Batch, rung: Rung): Promise<MergeResult> {
    let batch = given;
    const keep = (): void => {
      batch = kept(given);
    };
    const body = () => {
      const ends = this.#merge.merge(batch, rung);
      const position = this.#parts.position();
      return ends.every((end) => end === rowEnd.merged) ? { position } : { ends, position };
    };
    const name = `merge ${rung}`;
    return this.#call({ name, ...write, locks: locksOf(batch), isGuarded: true, keep, body });
  }

  passOver(order: PassOver): Promise<void> {
    const locks = order.ranges.map(({ lane }) => laneKey(order, lane));
    const body = () => passOver(this.#store, order, this.#parts.clock.wallMs());
    return this.#call({ name: 'passOver', ...write, locks, isGuarded: true, body });
  }

  compare(batch: Batch): Promise<Uint8Array> {
    return this.#call({ name: 'compare', ...read, body: () => this.#merge.compare(batch) });
  }

  ledger(stream: StreamId, range: LedgerRange): Promise<LedgerRow[]> {
    const body = () => this.#store.ledgerOf(stream, range);
    return this.#call({ name: 'ledger', ...read, body });
  }

  prune(stream: StreamId, upTo: readonly { lane: number; last: number }[]): Promise<number> {
    const prune = ({ lane, last }: { lane: number; last: number }): number => {
      const entries = this.#store.entries(laneKey(stream, lane));
      const old = entries.slice(0, ledgerPlace(entries, last + 1));
      const kept = old.filter(({ row, isMerged }) => !isMerged || isLost(row));
      this.#store.splice(entries, { start: 0, count: old.length }, ...kept);
      return old.length - kept.length;
    };
    const body = () =>
      this.#store.transaction(() => upTo.reduce((sum, lane) => sum + prune(lane), 0));
    return this.#call({ name: 'prune', ...write, body });
  }

  deadLetters(filter: LetterFilter): Promise<DeadLetter[]> {
    const body = () => readLetters(this.#store, filter);
    return this.#call({ name: 'deadLetters', ...read, body });
  }

  replay(id: DeadLetterId, batch: Batch): Promise<RowEnd> {
    assert.equal(batch.count, 1, 'one row is replayed');
    const locks = [laneKey(id, id.lane)];
    const body = () => this.#merge.replay(id, batch);
    return this.#call({ name: 'replay', ...write, locks, body });
  }

  drop(id: DeadLetterId): Promise<void> {
    const body = () => this.#merge.drop(id, this.#parts.clock.wallMs());
    return this.#call({ name: 'drop', ...write, body });
  }

  async contention(): Promise<Contention | undefined> {
    const { contention } = this.#parts;
    return contention && this.#call({ name: 'contention', ...read, body: () => contention });
  }

  position(): Promise<string> {
    return this.#call({ name: 'position', ...read, body: () => String(this.#store.commits) });
  }

  isReplicated(position: string): Promise<boolean> {
    const body = () => this.#parts.isReplicated(position);
    return this.#call({ name: 'isReplicated', ...read, body });
  }

  async close(): Promise<void> {
    this.destroy();
  }

  destroy(): void {
    this.isGone = true;
    this.#end?.abort();
  }
}
