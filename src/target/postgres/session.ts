// A Session of PostgreSQL: each call is one transaction, or one statement, on one connection.
import type { Table } from '../../accept/columns.ts';
import type { Batch, RowEnd } from '../../merge/batch.ts';
import type { LedgerRow } from '../../merge/ledger.ts';
import type * as seam from '../target.ts';
import { ledger, prune } from './books.ts';
import { compare } from './compare.ts';
import type { Connection } from './connection.ts';
import { describe, tableNames } from './describe.ts';
import { claim, lanes, resolve } from './lanes.ts';
import { dropLetter, readLetters, replayLetter } from './letters.ts';
import { merge } from './merge.ts';
import { passOver } from './pass-over.ts';
import { prepare } from './schema.ts';
import { PostgresStaging } from './staging/session.ts';
import { checkStandbyRights, isReplicated } from './standby.ts';

export interface SessionOptions {
  readonly identity: string;
  readonly id: string;
  readonly positions: boolean;
  readonly encoding: string;
  readonly resolveLockMsMax: number;
}

export class PostgresSession implements seam.Session {
  readonly identity: string;
  readonly id: string;
  readonly staging: PostgresStaging;
  readonly #connection: Connection;
  readonly #options: SessionOptions;

  constructor(connection: Connection, options: SessionOptions) {
    this.#connection = connection;
    this.#options = options;
    this.identity = options.identity;
    this.id = options.id;
    this.staging = new PostgresStaging(connection, options);
  }

  get isClosed(): boolean {
    return this.#connection.isClosed;
  }

  async prepare(create: boolean): Promise<void> {
    if (this.#options.positions) await checkStandbyRights(this.#connection);
    await prepare(this.#connection, create);
  }

  tableNames(): Promise<string[]> {
    return tableNames(this.#connection);
  }

  describe(table: string): Promise<Table> {
    return describe(this.#connection, table);
  }

  claim(of: seam.Claim): Promise<{ epoch: number; lanes: seam.LaneState[] }> {
    return claim(this.#connection, of);
  }

  lanes(stream: seam.StreamId): Promise<seam.LaneState[]> {
    return lanes(this.#connection, stream);
  }

  resolve(batch: Batch, suspect: string): Promise<seam.LaneState[]> {
    const lockMsMax = this.#options.resolveLockMsMax;
    return resolve(this.#connection, batch, { suspect, lockMsMax });
  }

  merge(batch: Batch, rung: seam.Rung): Promise<seam.MergeResult> {
    return merge(this.#connection, batch, { rung, ...this.#options });
  }

  passOver(order: seam.PassOver): Promise<void> {
    return passOver(this.#connection, order);
  }

  compare(batch: Batch): Promise<Uint8Array> {
    return compare(this.#connection, batch);
  }

  ledger(stream: seam.StreamId, range: seam.LedgerRange): Promise<LedgerRow[]> {
    return ledger(this.#connection, stream, range);
  }

  prune(stream: seam.StreamId, upTo: readonly { lane: number; last: number }[]): Promise<number> {
    return prune(this.#connection, stream, upTo);
  }

  deadLetters(filter: seam.LetterFilter): Promise<seam.DeadLetter[]> {
    return readLetters(this.#connection, filter);
  }

  replay(id: seam.DeadLetterId, batch: Batch): Promise<RowEnd> {
    return replayLetter(this.#connection, id, { batch, encoding: this.#options.encoding });
  }

  drop(id: seam.DeadLetterId): Promise<void> {
    return dropLetter(this.#connection, id);
  }

  /** PostgreSQL counts deadlocks and no waits: who waits now is seen (waitstart is of 14). */
  async contention(sinceMs: number): Promise<seam.Contention> {
    const [row] = await this.#connection.query(
      `SELECT count(*) FILTER (WHERE NOT l.granted) AS waits,
         coalesce(sum(least($1, extract(epoch FROM clock_timestamp() -
           (to_json(l.*) ->> 'waitstart')::timestamptz) * 1000)) FILTER (WHERE NOT l.granted), 0)
           AS ms,
         (SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()) AS deadlocks
       FROM pg_locks l WHERE l.database IS NULL OR l.database =
         (SELECT oid FROM pg_database WHERE datname = current_database())`,
      [sinceMs],
    );
    return {
      lockWaits: Number(row?.['waits']),
      lockTimeMs: Math.round(Number(row?.['ms'])),
      deadlocks: Number(row?.['deadlocks']),
      isSampled: true,
    };
  }

  async position(): Promise<string> {
    const [row] = await this.#connection.query('SELECT pg_current_wal_insert_lsn()::text AS lsn');
    return String(row?.['lsn']);
  }

  isReplicated(position: string): Promise<boolean> {
    return isReplicated(this.#connection, position);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  destroy(): void {
    this.#connection.destroy();
  }
}
