// A stream on a database of one dialect, for tests of what only that dialect does.
import assert from 'node:assert/strict';
import type { Table } from '../../src/accept/columns.ts';
import type { Row } from '../../src/accept/rows.ts';
import { type Batch, type OnConflict, rowEnd } from '../../src/merge/batch.ts';
import type { Rung, Session, Target } from '../../src/target/target.ts';
import { batchOf, type NotDecoded } from './batches.ts';

const ends = Object.keys(rowEnd);
let made = 0;

type Query = (url: string, text: string) => Promise<Record<string, unknown>[]>;

/** Everything that one test opens; `close` ends it. */
export class TargetRig {
  readonly url: string;
  readonly target: Target;
  readonly #query: Query;
  readonly #sessions: Session[] = [];

  constructor(url: string, target: Target, query: Query) {
    this.url = url;
    this.target = target;
    this.#query = query;
  }

  sql(text: string) {
    return this.#query(this.url, text);
  }

  async connect(): Promise<Session> {
    const session = await this.target.connect();
    this.#sessions.push(session);
    return session;
  }

  /** A stream into `table`, claimed, with nothing written. */
  async stream(table: string, rules: { key?: readonly string[]; onConflict?: OnConflict } = {}) {
    const session = await this.connect();
    await session.prepare(true);
    made++;
    const writer = `00000000-0000-4000-8000-${String(made).padStart(12, '0')}`;
    const id = { writer, stream: `s${made}` };
    const { epoch } = await session.claim({ ...id, lanes: 2, owner: 'test', route: 'direct' });
    const described = await session.describe(table);
    const { onConflict = 'dead-letter', key = described.keys[0] ?? [] } = rules;
    return new RigStream(session, { id, epoch, table: described, key, onConflict });
  }

  async close(): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    await this.target.close();
  }
}

class RigStream {
  session: Session;
  readonly id: { readonly writer: string; readonly stream: string };
  /** As it was when the rows were journaled. */
  readonly table: Table;
  next = 1;
  readonly #rules;
  readonly #epoch: number;

  constructor(
    session: Session,
    of: {
      readonly id: { readonly writer: string; readonly stream: string };
      readonly epoch: number;
      readonly table: Table;
      readonly key: readonly string[];
      readonly onConflict: OnConflict;
    },
  ) {
    this.session = session;
    this.id = of.id;
    this.table = of.table;
    this.#epoch = of.epoch;
    this.#rules = { stream: of.id.stream, key: of.key, onConflict: of.onConflict };
  }

  batch(rows: readonly (Row | NotDecoded)[], table: Table = this.table): Batch {
    const { writer } = this.id;
    const journaled = this.table;
    return batchOf({ writer, epoch: this.#epoch, rules: this.#rules, journaled, table }, [
      { lane: 0, first: this.next, records: rows },
    ]);
  }

  /** One attempt; the end of each row. */
  async merge(rung: Rung, rows: readonly (Row | NotDecoded)[], table?: Table): Promise<string[]> {
    const batch = this.batch(rows, table);
    const result = await this.session.merge(batch, rung);
    this.next += rows.length;
    const given = result.ends ?? new Uint8Array(rows.length);
    return [...given].map((end) => ends[end] ?? '');
  }

  async letters() {
    return this.session.deadLetters({ stream: this.id.stream });
  }

  async settled(): Promise<number> {
    const [lane] = await this.session.lanes(this.id);
    assert(lane, 'the lane was claimed');
    return lane.settled;
  }
}
