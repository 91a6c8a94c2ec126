// A Session of MariaDB or MySQL: each call is one transaction, or one statement, on one connection.
import type { Table } from '../../accept/columns.ts';
import type { Batch, RowEnd } from '../../merge/batch.ts';
import type { LedgerRow } from '../../merge/ledger.ts';
import type * as seam from '../target.ts';
import { ledger, prune } from './books.ts';
import { compare } from './compare.ts';
import type { Connection } from './connection.ts';
import { contention } from './contention.ts';
import { describe, tableNames } from './describe.ts';
import { claim, lanes, resolve } from './lanes.ts';
import { dropLetter, readLetters, replayLetter } from './letters.ts';
import { merge } from './merge.ts';
import { passOver } from './pass-over.ts';
import { Relations } from './relation.ts';
import { prepare } from './schema.ts';
import type { Server } from './server.ts';
import type { Ways } from './stage.ts';
import { MysqlStaging } from './staging/session.ts';

export interface SessionOptions {
  readonly server: Server;
  readonly resolveLockMsMax: number;
  readonly lockMsMax: number;
}

export class MysqlSession implements seam.Session {
  readonly identity: string;
  readonly id: string;
  readonly staging: MysqlStaging;
  readonly #connection: Connection;
  readonly #options: SessionOptions;
  readonly #ways: Ways;

  constructor(connection: Connection, options: SessionOptions) {
    const { identity, session, canLoad, canSkip, packetBytesMax } = options.server;
    this.#connection = connection;
    this.#options = options;
    this.#ways = { relations: new Relations(), canLoad, packetBytesMax };
    this.staging = new MysqlStaging(connection, { ways: this.#ways, canSkip });
    this.identity = identity;
    this.id = session;
  }

  get isClosed(): boolean {
    return this.#connection.isClosed;
  }

  prepare(create: boolean): Promise<void> {
    return prepare(this.#connection, create);
  }

  tableNames(): Promise<string[]> {
    return tableNames(this.#connection);
  }

  describe(table: string): Promise<Table> {
    return describe(this.#connection, this.#options.server, table);
  }

  claim(of: seam.Claim): Promise<{ epoch: number; lanes: seam.LaneState[] }> {
    return claim(this.#connection, of);
  }

  lanes(stream: seam.StreamId): Promise<seam.LaneState[]> {
    return lanes(this.#connection, stream);
  }

  resolve(batch: Batch, suspect: string): Promise<seam.LaneState[]> {
    const { resolveLockMsMax: lockMsMax, lockMsMax: usualMsMax } = this.#options;
    return resolve(this.#connection, batch, { suspect, own: this.id, lockMsMax, usualMsMax });
  }

  merge(batch: Batch, rung: seam.Rung): Promise<seam.MergeResult> {
    return merge(this.#connection, batch, { rung, ways: this.#ways });
  }

  passOver(order: seam.PassOver): Promise<void> {
    return passOver(this.#connection, order);
  }

  compare(batch: Batch): Promise<Uint8Array> {
    return compare(this.#connection, batch, this.#ways);
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
    return replayLetter(this.#connection, id, { batch, ways: this.#ways });
  }

  drop(id: seam.DeadLetterId): Promise<void> {
    return dropLetter(this.#connection, id);
  }

  contention(): Promise<seam.Contention> {
    return contention(this.#connection);
  }

  async position(): Promise<string> {
    return '';
  }

  async isReplicated(): Promise<boolean> {
    return false;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  destroy(): void {
    this.#connection.destroy();
  }
}
