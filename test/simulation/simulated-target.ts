// A target in memory that can fail in every way that the seam knows. Each call of a session counts,
// and a fault strikes the k-th, or those that `strike` says. It is deterministic: what is drawn, it
// asks of its clock.
import type { Clock } from '../../src/clock.ts';
import type { Capabilities, Contention, Session, Target } from '../../src/target/target.ts';
import type { TargetFault } from './simulated-call-fault.ts';
import {
  type Caller,
  type ServerOptions,
  SimulatedServer,
  type Struck,
} from './simulated-server.ts';
import { SimulatedSession } from './simulated-session.ts';
import {
  type SimulatedColumn,
  SimulatedStore,
  type SimulatedTable,
  type StoredRow,
} from './simulated-store.ts';

export type { TargetFault } from './simulated-call-fault.ts';

export interface SimulatedTargetOptions extends ServerOptions {
  readonly loadersMax?: number;
  readonly mergersMax?: number;
  /** `replicate()` and `follow()` say what the standby has. */
  readonly standby?: boolean;
  /** What each session tells of waits, when it is asked; left out: nothing, and without a call. */
  readonly contention?: Contention;
}

export interface TableShape {
  readonly columns: readonly SimulatedColumn[];
  readonly key: readonly string[];
  readonly refuse?: (row: StoredRow) => string | undefined;
  readonly swallow?: (row: StoredRow) => boolean;
}

const never = new AbortController().signal;

/** Who has no session yet. */
const nobodyOf = (life: number): Caller => ({
  id: '',
  life,
  isGone: false,
  gone: never,
});

export class SimulatedTarget implements Target {
  readonly capabilities: Capabilities;
  readonly store: SimulatedStore;
  readonly server: SimulatedServer;
  readonly #clock: Clock;
  readonly #prepared = { isPrepared: false };
  #history = 1;
  readonly #contention: Pick<SimulatedTargetOptions, 'contention'>;
  #sessions = 0;
  #replicated = 0;
  /** How far the standby is behind; undefined while it follows only when it is told to. */
  #lagMs: number | undefined;

  constructor(options: SimulatedTargetOptions) {
    const { clock, loadersMax = 2, mergersMax = 2, standby = false } = options;
    this.#clock = clock;
    this.#contention = options.contention ? { contention: options.contention } : {};
    this.store = new SimulatedStore(() => clock.monotonicMs());
    this.server = new SimulatedServer(options);
    this.capabilities = { loadersMax, mergersMax, standby };
  }

  /** What was called, in order. */
  get trace(): readonly string[] {
    return this.server.trace;
  }

  get calls(): number {
    return this.server.trace.length;
  }

  get identity(): string {
    return `simulated ${this.#history}`;
  }

  get isUp(): boolean {
    return this.server.isUp;
  }

  /** `fault` strikes the `at`-th call from the beginning. */
  inject(at: number, fault: TargetFault): void {
    this.server.inject(at, fault);
  }

  /** Every call is asked about, where none is injected. */
  strikeWhere(strike: (call: Struck) => TargetFault | undefined): void {
    this.server.strike = strike;
  }

  /** No fault strikes any more, and it is up. */
  heal(): void {
    this.server.heal();
    this.up();
  }

  down(forMs = Number.POSITIVE_INFINITY): void {
    this.server.become('down', forMs);
  }

  /** It takes no writes, as a server that became a standby. */
  readOnly(forMs = Number.POSITIVE_INFINITY): void {
    this.server.become('read-only', forMs);
  }

  up(): void {
    this.server.become('down', 0);
  }

  /** The standby has all that is committed. */
  replicate(): void {
    this.#replicated = this.store.commits;
  }

  /** From now on the standby has what was committed so long ago; undefined: no more than now. */
  follow(lagMs: number | undefined): void {
    this.#replicatedNow();
    this.#lagMs = lagMs;
  }

  #replicatedNow(): number {
    if (this.#lagMs !== undefined) {
      const ms = this.#clock.monotonicMs() - this.#lagMs;
      this.#replicated = this.store.commitsAt(ms, this.#replicated);
    }
    return this.#replicated;
  }

  isReplicated(position: string): boolean {
    return Number(position) <= this.#replicatedNow();
  }

  /**
   * A standby takes over that lacks the last `count` commits, or else what it had not received;
   * every session is lost, and what no log has.
   */
  failover(count = this.store.commits - this.#replicatedNow()): void {
    this.server.restart();
    this.store.forget(count);
    this.#replicated = Math.min(this.#replicated, this.store.commits);
    this.#history++;
    this.emptyUnlogged();
  }

  /** The server crashes and is there again: what is committed stays, but for unlogged tables. */
  crash(): void {
    this.server.restart();
    this.emptyUnlogged();
  }

  /** As a crash leaves staging tables that are not logged: no row, with all their books. */
  emptyUnlogged(): void {
    for (const stage of this.store.stages.values()) {
      if (!stage.isLogged) stage.slices.clear();
    }
  }

  createTable(name: string, { columns, key, ...rest }: TableShape): void {
    this.store.tables.set(name, { columns, key, ...rest, rows: new Map() });
  }

  /** Changes the columns, the key, or what it does with rows; the rows keep what they have. */
  alterTable(name: string, to: readonly SimulatedColumn[] | Partial<TableShape>): void {
    const table = this.store.table(name);
    const changed = 'length' in to ? { columns: to } : to;
    this.store.tables.set(name, { ...table, ...changed });
  }

  /** What `putBack` needs to put it back. */
  dropTable(name: string): SimulatedTable {
    const dropped = this.store.table(name);
    this.store.tables.delete(name);
    return dropped;
  }

  putBack(name: string, table: SimulatedTable): void {
    this.store.tables.set(name, table);
  }

  rows(name: string): StoredRow[] {
    this.server.runLate();
    return [...this.store.table(name).rows.values()];
  }

  async connect(): Promise<Session> {
    const { life } = this.server;
    return this.server.call(nobodyOf(life), {
      name: 'connect',
      writes: false,
      // One that takes no writes is not the one that is looked for.
      wantsWritable: true,
      body: () => this.#session(),
    });
  }

  #session(): Session {
    return new SimulatedSession({
      server: this.server,
      store: this.store,
      clock: this.#clock,
      id: String(++this.#sessions),
      identity: this.identity,
      prepared: this.#prepared,
      ...this.#contention,
      position: () => (this.capabilities.standby ? String(this.store.commits) : ''),
      isReplicated: (position) => this.isReplicated(position),
    });
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}
