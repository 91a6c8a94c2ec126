// What bench article needs of a database server, beside what each way does with it.
import type { Payment } from './load.ts';

/** Row locks that somebody had to wait for, and deadlocks, over a time. */
export interface Locks {
  readonly waits: number;
  /** Sum over all sessions, milliseconds. */
  readonly waitMs: number;
  readonly deadlocks: number;
}

/** Connections of an application that writes by itself. */
export interface Pool {
  /** Each is one statement, committed when it resolves. */
  upsertOne(row: Payment): Promise<void>;
  /** In the order given; no key twice. */
  upsertMany(rows: readonly Payment[]): Promise<void>;
  /** A deadlock, or a lock that was not to be had in time. */
  isRetryable(error: unknown): boolean;
  close(): Promise<void>;
}

/** An empty database with the table `payments`, for one run. */
export interface RunDatabase {
  readonly url: string;
  pool(connections: number): Pool;
  /** Begins to count; the answer is asked for once all other connections are closed. */
  watchLocks(): Promise<() => Promise<Locks>>;
  /** All of the table: [key, version]. */
  contents(): Promise<[number, number][]>;
  drop(): Promise<void>;
}

export interface Server {
  readonly name: 'mariadb' | 'postgres';
  createDatabase(): Promise<RunDatabase>;
  stop(): Promise<void>;
}
