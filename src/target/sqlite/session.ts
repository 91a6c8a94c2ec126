// A Session of SQLite: each call runs to its end, synchronously, on one connection.
import type { Table } from '../../accept/columns.ts';
import type { Clock } from '../../clock.ts';
import type { Batch, RowEnd } from '../../merge/batch.ts';
import type { LedgerRow } from '../../merge/ledger.ts';
import type * as seam from '../target.ts';
import { ledger, passOver, prune } from './books.ts';
import type { Connection } from './connection.ts';
import { describe, tableNames } from './describe.ts';
import { claim, Fingerprints, lanes, resolve } from './lanes.ts';
import { dropLetter, readLetters, replayLetter } from './letters.ts';
import { compare, merge } from './merge.ts';
import { identityOf, prepare } from './schema.ts';

export class SqliteSession implements seam.Session {
  readonly id: string;
  /** One file, one writer: there is nobody to merge beside the loader. */
  readonly staging = undefined;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #known = new Fingerprints();
  #identity: string;

  constructor(connection: Connection, { id, clock }: { id: string; clock: Clock }) {
    this.id = id;
    this.#connection = connection;
    this.#clock = clock;
    this.#identity = identityOf(connection);
  }

  /** '' until `prepare` has made the table that it stands in. */
  get identity(): string {
    return this.#identity;
  }

  get isClosed(): boolean {
    return !this.#connection.isOpen;
  }

  async prepare(create: boolean): Promise<void> {
    prepare(this.#connection, create);
    this.#identity = identityOf(this.#connection);
  }

  async tableNames(): Promise<string[]> {
    return tableNames(this.#connection);
  }

  async describe(table: string): Promise<Table> {
    return this.#connection.reading(() => describe(this.#connection, table));
  }

  async claim(of: seam.Claim): Promise<{ epoch: number; lanes: seam.LaneState[] }> {
    return claim(this.#connection, of);
  }

  async lanes(stream: seam.StreamId): Promise<seam.LaneState[]> {
    return lanes(this.#connection, stream);
  }

  async resolve(batch: Batch): Promise<seam.LaneState[]> {
    return resolve(this.#connection, batch);
  }

  async merge(batch: Batch, rung: seam.Rung): Promise<seam.MergeResult> {
    return merge({ connection: this.#connection, known: this.#known }, batch, rung);
  }

  async passOver(order: seam.PassOver): Promise<void> {
    passOver(this.#connection, order, this.#clock.wallMs());
  }

  async compare(batch: Batch): Promise<Uint8Array> {
    return compare(this.#connection, batch);
  }

  async ledger(stream: seam.StreamId, range: seam.LedgerRange): Promise<LedgerRow[]> {
    return ledger(this.#connection, stream, range);
  }

  async prune(
    stream: seam.StreamId,
    upTo: readonly { lane: number; last: number }[],
  ): Promise<number> {
    return prune(this.#connection, stream, upTo);
  }

  async deadLetters(filter: seam.LetterFilter): Promise<seam.DeadLetter[]> {
    return readLetters(this.#connection, filter);
  }

  async replay(id: seam.DeadLetterId, batch: Batch): Promise<RowEnd> {
    return replayLetter({ connection: this.#connection, known: this.#known }, id, batch);
  }

  async drop(id: seam.DeadLetterId): Promise<void> {
    dropLetter(this.#connection, id, this.#clock.wallMs());
  }

  async contention(): Promise<undefined> {
    // One writer at a time: SQLite counts nothing.
  }

  async position(): Promise<string> {
    return '';
  }

  async isReplicated(): Promise<boolean> {
    return false;
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  destroy(): void {
    this.#connection.close();
  }
}
