// Requests that must be remembered longer than segments live: Idempotency-Keys, receipts, and how
// far loads have come (P20). The journal's request notes are the truth; this database takes them
// over before their segment is dropped, and keeps them for a day. Bounded in number. A load is kept
// for a day after its last part, whole: begun again after that, the same input is a new load.
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { HoldfastError, type Rejection } from '../errors.ts';
import { type EndCounts, noCounts } from '../merge/ledger.ts';
import { diskFailure, isShortage } from './disk-failure.ts';
import { groupOf } from './group.ts';
import type { LoadMark, RequestNote } from './notes.ts';

/** A remembered request; `counts` once all its records have their ends. */
export interface KeptRequest extends RequestNote {
  readonly counts?: EndCounts;
}

interface Stored {
  readonly body: string;
  readonly counts: string | null;
}

const schema = `
  CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, key TEXT, load TEXT, load_end INTEGER,
    at INTEGER NOT NULL, body TEXT NOT NULL, counts TEXT) STRICT;
  CREATE UNIQUE INDEX IF NOT EXISTS requests_key ON requests (stream, key) WHERE key IS NOT NULL;
  CREATE INDEX IF NOT EXISTS requests_load ON requests (load, id) WHERE load IS NOT NULL;
  CREATE INDEX IF NOT EXISTS requests_open ON requests (stream, id) WHERE counts IS NULL;
  CREATE TABLE IF NOT EXISTS taken (
    one INTEGER PRIMARY KEY CHECK (one = 1), id INTEGER NOT NULL) STRICT;
`;

const parse = (row: Stored | undefined): KeptRequest | undefined => {
  if (!row) return undefined;
  const note = JSON.parse(row.body) as RequestNote;
  return row.counts === null ? note : { ...note, counts: JSON.parse(row.counts) as EndCounts };
};

export class Requests {
  /** Loads that are being continued, one at a time each: they are not forgotten meanwhile. */
  readonly loadsInHand = new Set<string>();
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Journaled, not yet in the database. */
  readonly #fresh = new Map<number, KeptRequest>();
  readonly #freshKeys = new Map<string, number>();
  #settled = new Map<number, EndCounts>();
  #lastAdded = -1;
  readonly #keptMax: number;
  #count: number;
  #keyed: number;
  /** The last request that the database has taken over, even if it forgot it since. */
  #taken: number;

  constructor(database: DatabaseSync, keptMax: number) {
    this.#database = database;
    this.#keptMax = keptMax;
    database.exec(schema);
    this.#taken = Number(this.#prepared('SELECT id FROM taken').get()?.['id'] ?? -1);
    ({ count: this.#count, keyed: this.#keyed } = this.#counts());
  }

  /** The last group of which it has durably taken over a request; -1 where there was none. */
  get lastGroup(): number {
    return this.#taken < 0 ? -1 : groupOf(this.#taken);
  }

  /** Whether it has durably taken over this request and all before it. */
  hasTaken(request: number): boolean {
    return request <= this.#taken;
  }

  /** Whether a further keyed request would be forgotten too early. */
  get isFull(): boolean {
    return this.#keyed + this.#freshKeys.size >= this.#keptMax;
  }

  /**
   * Takes a request that recovery read, unless it was taken before: what was forgotten stays so.
   */
  recover(note: RequestNote): void {
    if (!this.hasTaken(note.id)) this.add(note);
  }

  /** Takes a request that is durable in the journal. */
  add(note: RequestNote): void {
    this.#fresh.set(note.id, note);
    this.#lastAdded = Math.max(this.#lastAdded, note.id);
    if (note.key !== undefined) this.#freshKeys.set(`${note.stream} ${note.key}`, note.id);
  }

  settled(id: number, counts: EndCounts): void {
    const fresh = this.#fresh.get(id);
    if (fresh) this.#fresh.set(id, { ...fresh, counts });
    else this.#settled.set(id, counts);
  }

  byId(id: number): KeptRequest | undefined {
    const fresh = this.#fresh.get(id);
    if (fresh) return fresh;
    this.#mustBeOpen();
    const sql = 'SELECT body, counts FROM requests WHERE id = ?';
    const found = parse(this.#prepared(sql).get(id) as Stored | undefined);
    const counts = this.#settled.get(id);
    return found && counts ? { ...found, counts } : found;
  }

  byKey(stream: number, key: string): KeptRequest | undefined {
    const id = this.#freshKeys.get(`${stream} ${key}`);
    if (id !== undefined) return this.#fresh.get(id);
    this.#mustBeOpen();
    const sql = 'SELECT body, counts FROM requests WHERE stream = ? AND key = ?';
    try {
      return parse(this.#prepared(sql).get(stream, key) as Stored | undefined);
    } catch (error) {
      // It may be a request that was written and is sent again.
      throw diskFailure(error, 'unknown');
    }
  }

  /** All parts of a load that are durable, in order. */
  ofLoad(load: string): KeptRequest[] {
    this.#mustBeOpen();
    this.#flushOrRefuse();
    const sql = 'SELECT body, counts FROM requests WHERE load = ? ORDER BY id';
    const rows = this.#prepared(sql).all(load) as unknown as Stored[];
    return rows.flatMap((row) => parse(row) ?? []);
  }

  /** The load's result was told: the same input is a new load from now on. Durable on return. */
  forgetLoad(load: string): void {
    this.#mustBeOpen();
    this.#flushOrRefuse();
    this.#prepared('UPDATE requests SET load = NULL WHERE load = ?').run(load);
  }

  /**
   * Requests after `id` whose records have not all found their ends, in order. Writes nothing: a
   * full disk must not keep the loaders from what was journaled.
   */
  open(stream: number, after: number, limit: number): KeptRequest[] {
    const sql =
      'SELECT body, counts FROM requests WHERE stream = ? AND counts IS NULL AND id > ? ORDER BY id LIMIT ?';
    const most = limit + this.#settled.size;
    const rows = this.#prepared(sql).all(stream, after, most) as unknown as Stored[];
    const kept = rows.flatMap((row) => parse(row) ?? []).filter(({ id }) => !this.#settled.has(id));
    // What is fresh was journaled after all that the database has.
    for (const request of this.#fresh.values()) {
      if (kept.length >= limit) break;
      const isOpen = request.counts === undefined && request.id > after;
      if (request.stream === stream && isOpen) kept.push(request);
    }
    return kept.slice(0, limit);
  }

  /**
   * Some of these records are lost: of requests that have them nobody tells any more how they
   * ended. Durable on return.
   */
  lost(
    stream: number,
    lost: readonly { readonly lane: number; readonly first: number; readonly last: number }[],
  ): void {
    this.#mustBeOpen();
    this.#flushOrRefuse();
    const isHit = ({ ranges }: KeptRequest): boolean =>
      ranges.some(([lane, first, count]) =>
        lost.some((one) => {
          return one.lane === lane && one.first < first + count && one.last >= first;
        }),
      );
    const sql = 'SELECT body, counts FROM requests WHERE stream = ? AND counts IS NOT NULL';
    for (const row of this.#prepared(sql).iterate(stream)) {
      const request = parse(row as unknown as Stored);
      if (request && isHit(request)) this.#settled.set(request.id, noCounts);
    }
    this.#flushOrRefuse();
  }

  get freshCount(): number {
    return this.#fresh.size + this.#settled.size;
  }

  /** The last request that was added; -1 where there was none. */
  get lastAdded(): number {
    return this.#lastAdded;
  }

  /** Everything added so far, or up to that request, is durable in the database when it returns. */
  flush(upTo = this.#lastAdded): void {
    const due = this.#freshUpTo(upTo);
    if (due.length + this.#settled.size === 0) return;
    this.#database.exec('BEGIN');
    try {
      this.#write(due);
      this.#database.exec('COMMIT');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
    for (const { id, stream, key } of due) {
      this.#taken = Math.max(this.#taken, id);
      this.#fresh.delete(id);
      if (key === undefined) continue;
      this.#freshKeys.delete(`${stream} ${key}`);
      this.#keyed++;
    }
    this.#count += due.length;
    this.#settled = new Map();
  }

  #freshUpTo(id: number): KeptRequest[] {
    const due: KeptRequest[] = [];
    for (const request of this.#fresh.values()) {
      if (request.id > id) break;
      due.push(request);
    }
    return due;
  }

  #write(due: readonly KeptRequest[]): void {
    let taken = this.#taken;
    const insert = this.#prepared('INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
    for (const note of due) {
      const { counts, ...body } = note;
      insert.run(
        note.id,
        note.stream,
        note.key ?? null,
        note.load?.load ?? null,
        note.load?.isLast ? 1 : 0,
        Math.floor(note.at),
        JSON.stringify(body),
        counts ? JSON.stringify(counts) : null,
      );
      taken = Math.max(taken, note.id);
    }
    this.#prepared('INSERT OR REPLACE INTO taken VALUES (1, ?)').run(taken);
    const settle = this.#prepared('UPDATE requests SET counts = ? WHERE id = ?');
    for (const [id, counts] of this.#settled) settle.run(JSON.stringify(counts), id);
  }

  /** Makes all that it has taken over this much younger, in milliseconds. */
  moveTimes(byMs: number): void {
    this.#prepared('UPDATE requests SET at = at + ?').run(Math.round(byMs));
  }

  /**
   * Forgets what is older than `before` (milliseconds), and the oldest beyond the bound, if
   * settled.
   */
  expire(before: number): void {
    this.flush();
    this.#expireLoads(before);
    // A tenth more than the bound asks for, so that this is not done for every request.
    const over = Math.max(0, this.#count - Math.floor(this.#keptMax * 0.9));
    const sql = `DELETE FROM requests WHERE counts IS NOT NULL AND load IS NULL
      AND (at < ? OR (key IS NULL
      AND id IN (SELECT id FROM requests WHERE key IS NULL ORDER BY id LIMIT ?)))`;
    this.#prepared(sql).run(before, over);
    ({ count: this.#count, keyed: this.#keyed } = this.#counts());
  }

  /** Nobody went on with these, or asked what became of them: they are requests like others now. */
  #expireLoads(before: number): void {
    const sql = `SELECT load FROM requests WHERE load IS NOT NULL
      GROUP BY load HAVING max(at) < ? AND count(*) = count(counts)`;
    for (const { load } of this.#prepared(sql).all(before)) {
      if (typeof load === 'string' && !this.loadsInHand.has(load)) this.forgetLoad(load);
    }
  }

  #counts(): { readonly count: number; readonly keyed: number } {
    const row = this.#prepared('SELECT count(*) AS n, count(key) AS keyed FROM requests').get();
    return { count: Number(row?.['n']), keyed: Number(row?.['keyed']) };
  }

  /** Prepared where it is first wanted, and kept. */
  #prepared(sql: string): StatementSync {
    const statement = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  /** Where there is no room for what is fresh, the journal keeps it for the next owner. */
  close(): void {
    try {
      this.flush();
    } catch (error) {
      if (!isShortage(error)) throw error;
    } finally {
      this.#database.close();
    }
  }

  /** Whoever still asks when all is closed hears so: what is journaled stays known. */
  #mustBeOpen(): void {
    if (this.#database.isOpen) return;
    const message = 'Holdfast was closed; send the same again to the process that follows.';
    throw new HoldfastError('HF_DRAINING', message, { outcome: 'unknown' });
  }

  #flushOrRefuse(): void {
    try {
      this.flush();
    } catch (error) {
      // Asked for loads, whose parts may be in the journal already.
      throw diskFailure(error, 'unknown');
    }
  }

  /** Of a journal that cannot be opened, nothing is kept that the database does not have yet. */
  letGo(): void {
    this.#database.close();
  }
}

const loadFailed = (what: string): HoldfastError => new HoldfastError('HF_USAGE', what);

/** The whole of a load's marks, checked to follow each other. */
export function lastMark(parts: readonly KeptRequest[]): LoadMark | undefined {
  let offset = -1;
  for (const { load } of parts) {
    if (!load || load.offset < offset) throw loadFailed('The marks of the load are out of order.');
    offset = load.offset;
  }
  return parts.at(-1)?.load;
}

export const rejectionsOf = (parts: readonly KeptRequest[]): Rejection[] =>
  parts.flatMap((part) => [...(part.rejected ?? [])]);
