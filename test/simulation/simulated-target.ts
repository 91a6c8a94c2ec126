// A target in memory that can fail in every way that the seam knows. Each call of a session
// counts, and a fault strikes the k-th. All that a call does, it does at once; before and after,
// others may run.
import assert from 'node:assert/strict';
import type { Table } from '../../src/accept/columns.ts';
import type { Clock } from '../../src/clock.ts';
import { type Batch, type RowEnd, rowEnd } from '../../src/merge/batch.ts';
import type { LedgerRow } from '../../src/merge/ledger.ts';
import {
  type Capabilities,
  type Claim,
  type DeadLetter,
  type DeadLetterId,
  type LaneState,
  type LedgerRange,
  type MergeResult,
  type Rung,
  type Session,
  type StreamId,
  type Target,
  TargetError,
} from '../../src/target/target.ts';
import { SimulatedDeath } from './simulated-disk.ts';
import { SimulatedMerge } from './simulated-merge.ts';
import {
  laneKey,
  letterKey,
  type SimulatedColumn,
  SimulatedStore,
  type StoredRow,
} from './simulated-store.ts';

export type TargetFault =
  /** The connection breaks before the call does anything. */
  | 'lost'
  /** It breaks with the COMMIT on its way; done, or not done. For calls that only read: lost. */
  | 'ambiguous, committed'
  | 'ambiguous, not committed'
  | 'transient'
  | 'hold'
  | 'readonly'
  /** The process that calls dies; before the call, or when it is done and not answered. */
  | 'die'
  | 'die, committed';

export interface SimulatedTargetOptions {
  readonly clock: Clock;
  readonly loadersMax?: number;
  /** `replicate()` says what the standby has. */
  readonly standby?: boolean;
  /** Each call takes up to this, by chance. */
  readonly latencyMsMax?: number;
  /** Called at a `die`, before SimulatedDeath is thrown: ends the disk of that process too. */
  readonly onDeath?: () => void;
}

export interface TableShape {
  readonly columns: readonly SimulatedColumn[];
  readonly key: readonly string[];
  readonly refuse?: (row: StoredRow) => string | undefined;
}

export class SimulatedTarget implements Target {
  readonly capabilities: Capabilities;
  readonly store = new SimulatedStore();
  /** What was called, in order. */
  readonly trace: string[] = [];
  readonly #options: SimulatedTargetOptions;
  readonly #faults = new Map<number, TargetFault>();
  #history = 1;
  #sessions = 0;
  #replicated = 0;
  #isUp = true;
  isPrepared = false;

  constructor(options: SimulatedTargetOptions) {
    this.#options = options;
    const { loadersMax = 2, standby = false } = options;
    this.capabilities = { loadersMax, mergersMax: 0, standby };
  }

  get calls(): number {
    return this.trace.length;
  }

  get identity(): string {
    return `simulated ${this.#history}`;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** `fault` strikes the `at`-th call from the beginning. */
  inject(at: number, fault: TargetFault): void {
    this.#faults.set(at, fault);
  }

  /** No injected fault strikes any more. */
  heal(): void {
    this.#faults.clear();
  }

  down(): void {
    this.#isUp = false;
  }

  up(): void {
    this.#isUp = true;
  }

  /** The standby has all that is committed. */
  replicate(): void {
    this.#replicated = this.store.commits;
  }

  isReplicated(position: string): boolean {
    return Number(position) <= this.#replicated;
  }

  /** A standby takes over that lacks the last `count` commits; every session is lost. */
  failover(count: number): void {
    this.store.forget(count);
    this.#replicated = Math.min(this.#replicated, this.store.commits);
    this.#history++;
  }

  createTable(name: string, { columns, key, ...rest }: TableShape): void {
    this.store.tables.set(name, { columns, key, ...rest, rows: new Map() });
  }

  /** Changes the columns; the rows keep what they have. */
  alterTable(name: string, columns: readonly SimulatedColumn[]): void {
    this.store.tables.set(name, { ...this.store.table(name), columns });
  }

  dropTable(name: string): void {
    this.store.tables.delete(name);
  }

  rows(name: string): StoredRow[] {
    return [...this.store.table(name).rows.values()];
  }

  async connect(): Promise<Session> {
    return this.call({ name: 'connect', writes: false }, () => {
      const id = String(++this.#sessions);
      return new SimulatedSession(this, { id, clock: this.#options.clock });
    });
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }

  /** One call: a round trip to the server, which faults may strike. */
  async call<T>(of: { name: string; writes: boolean }, body: () => T): Promise<T> {
    this.trace.push(of.name);
    const fault = this.#faults.get(this.calls);
    const { clock, latencyMsMax } = this.#options;
    if (latencyMsMax === undefined) await Promise.resolve();
    else await clock.sleep(clock.random() * latencyMsMax);
    if (!this.#isUp) throw new TargetError('lost', 'ECONNREFUSED', 'The target is down.');
    if (fault === 'die') throw this.#death(of.name);
    if (fault && !fault.includes(', committed')) throw faultError(fault, of.writes);
    const result = body();
    if (fault === 'die, committed') throw this.#death(of.name);
    if (fault) throw faultError(fault, of.writes);
    return result;
  }

  #death(name: string): SimulatedDeath {
    this.#options.onDeath?.();
    return new SimulatedDeath(`died at call ${this.calls} of the target, ${name}`);
  }
}

function faultError(fault: TargetFault, writes: boolean): TargetError {
  const message = `simulated: ${fault}`;
  if (fault === 'transient' || fault === 'hold' || fault === 'readonly') {
    return new TargetError(fault, 'SIMULATED', message);
  }
  const isAmbiguous = writes && fault.startsWith('ambiguous');
  return new TargetError(isAmbiguous ? 'ambiguous' : 'lost', '', message);
}

class SimulatedSession implements Session {
  readonly identity: string;
  readonly id: string;
  readonly staging = undefined;
  readonly #target: SimulatedTarget;
  readonly #store: SimulatedStore;
  readonly #merge: SimulatedMerge;
  readonly #clock: Clock;
  #isOpen = true;

  constructor(target: SimulatedTarget, { id, clock }: { id: string; clock: Clock }) {
    this.#target = target;
    this.#store = target.store;
    this.#merge = new SimulatedMerge(target.store);
    this.#clock = clock;
    this.identity = target.identity;
    this.id = id;
  }

  async #call<T>(name: string, writes: boolean, body: () => T): Promise<T> {
    const mustBeConnected = (): void => {
      if (this.#isOpen && this.identity === this.#target.identity) return;
      throw new TargetError('lost', '', 'The connection is gone.');
    };
    mustBeConnected();
    try {
      return await this.#target.call({ name, writes }, () => {
        mustBeConnected();
        return body();
      });
    } catch (error) {
      const isOver = error instanceof TargetError && ['lost', 'ambiguous'].includes(error.kind);
      if (isOver) this.#isOpen = false;
      throw error;
    }
  }

  prepare(create: boolean): Promise<void> {
    return this.#call('prepare', true, () => {
      if (!create && !this.#target.isPrepared) {
        throw new TargetError('hold', '', 'Holdfast’s own tables are missing.');
      }
      this.#target.isPrepared = true;
    });
  }

  tableNames(): Promise<string[]> {
    return this.#call('tableNames', false, () => [...this.#store.tables.keys()].sort());
  }

  describe(table: string): Promise<Table> {
    return this.#call('describe', false, () => this.#store.describe(table));
  }

  claim(of: Claim): Promise<{ epoch: number; lanes: LaneState[] }> {
    const id = { writer: of.writer, stream: of.stream };
    return this.#call('claim', true, () =>
      this.#store.transaction(() => {
        const known = this.#store.lanesOf(id);
        const epoch = 1 + known.reduce((highest, lane) => Math.max(highest, lane.epoch), 0);
        const zeros = {
          staged: 0,
          settled: 0,
          merged: 0,
          duplicates: 0,
          superseded: 0,
          deadLetters: 0,
        };
        const fresh = Array.from({ length: of.lanes }, (_, lane) => ({ lane, epoch, ...zeros }));
        for (const state of [...fresh.slice(known.length), ...known]) {
          this.#store.set(this.#store.lanes, laneKey(id, state.lane), { ...state, epoch });
        }
        return { epoch, lanes: this.#store.lanesOf(id) };
      }),
    );
  }

  lanes(stream: StreamId): Promise<LaneState[]> {
    return this.#call('lanes', false, () => this.#store.lanesOf(stream));
  }

  resolve(batch: Batch): Promise<LaneState[]> {
    const own = new Set(batch.slices.map(({ lane }) => lane));
    return this.#call('resolve', false, () =>
      this.#store
        .lanesOf({ writer: batch.writer, stream: batch.rules.stream })
        .filter(({ lane }) => own.has(lane)),
    );
  }

  merge(batch: Batch, rung: Rung): Promise<MergeResult> {
    return this.#call(`merge ${rung}`, true, () => {
      const ends = this.#merge.merge(batch, rung);
      const position = this.#target.capabilities.standby ? String(this.#store.commits) : '';
      return ends.every((end) => end === rowEnd.merged) ? { position } : { ends, position };
    });
  }

  compare(batch: Batch): Promise<Uint8Array> {
    return this.#call('compare', false, () => this.#merge.compare(batch));
  }

  ledger(stream: StreamId, range: LedgerRange): Promise<LedgerRow[]> {
    return this.#call('ledger', false, () => this.#store.ledgerOf(stream, range));
  }

  prune(stream: StreamId, upTo: readonly { lane: number; last: number }[]): Promise<number> {
    return this.#call('prune', true, () =>
      this.#store.transaction(() => {
        const gone = upTo.flatMap(({ lane, last }) =>
          this.#store.ledgerOf(stream, { lane, first: 0, last }).filter((row) => row.last <= last),
        );
        for (const { lane, last } of gone) {
          this.#store.set(this.#store.ledger, `${laneKey(stream, lane)} ${last}`, undefined);
        }
        return gone.length;
      }),
    );
  }

  deadLetters(filter: {
    stream?: string;
    id?: DeadLetterId;
    limit?: number;
  }): Promise<DeadLetter[]> {
    const { id, stream, limit = 1000 } = filter;
    return this.#call('deadLetters', false, () => {
      const all = this.#store.letters;
      if (id) return [all.get(letterKey(id))].filter((letter) => letter !== undefined);
      return [...all.values()]
        .filter((letter) => letter.state === 'dead')
        .filter((letter) => stream === undefined || letter.stream === stream)
        .sort((a, b) => a.firstAt - b.firstAt || a.lane - b.lane || a.sequence - b.sequence)
        .slice(0, limit);
    });
  }

  replay(id: DeadLetterId, batch: Batch): Promise<RowEnd> {
    assert.equal(batch.count, 1, 'one row is replayed');
    return this.#call('replay', true, () => this.#merge.replay(id, batch));
  }

  drop(id: DeadLetterId): Promise<void> {
    return this.#call('drop', true, () => this.#merge.drop(id, this.#clock.wallMs()));
  }

  async contention(): Promise<undefined> {
    // Nothing waits here.
  }

  position(): Promise<string> {
    return this.#call('position', false, () => String(this.#target.store.commits));
  }

  isReplicated(position: string): Promise<boolean> {
    return this.#call('isReplicated', false, () => this.#target.isReplicated(position));
  }

  async close(): Promise<void> {
    this.destroy();
  }

  destroy(): void {
    this.#isOpen = false;
  }
}
