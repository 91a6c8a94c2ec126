// One connection to one database file. Everything here runs to its end in one turn: no other code
// of this thread sees a transaction that is open. Errors leave as TargetErrors.
import { type BigIntStats, statSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { TargetError } from '../target.ts';
import { codeName, isDiskFailure, resultCode, toTargetError } from './codes.ts';

export type Row = { readonly [column: string]: unknown };

const statementsMax = 500;
/** How long a writer outside may keep us waiting, the thread with us, before we try again later. */
const busyMsMax = 1000;

const fileOf = (path: string): BigIntStats | undefined =>
  statSync(path, { bigint: true, throwIfNoEntry: false });

export class Connection {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #file: BigIntStats | undefined;
  readonly #statements = new Map<string, StatementSync>();

  /** Opens a file that exists; an empty one made from a mistyped name would help nobody. */
  constructor(path: string) {
    this.#path = path;
    this.#file = fileOf(path);
    if (!this.#file) {
      throw new TargetError('hold', 'SQLITE_CANTOPEN', `There is no database file ${path}.`);
    }
    const url = pathToFileURL(path);
    url.searchParams.set('mode', 'rw');
    this.#database = translated(() => new DatabaseSync(url));
    try {
      // Each holds for this connection only, but for the journal mode, which stays in the file.
      this.exec(`PRAGMA busy_timeout=${busyMsMax}; PRAGMA synchronous=FULL;
        PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON; PRAGMA foreign_keys=ON;
        PRAGMA ignore_check_constraints=OFF; PRAGMA journal_mode=WAL`);
      const [mode] = this.query('PRAGMA journal_mode');
      if (mode?.['journal_mode'] !== 'wal') {
        throw new TargetError('hold', '', `${path} cannot be switched to WAL.`);
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#database.isOpen;
  }

  get isInTransaction(): boolean {
    return this.#database.isOpen && this.#database.isTransaction;
  }

  exec(sql: string): void {
    translated(() => this.#database.exec(sql));
  }

  query(sql: string, ...values: SQLInputValue[]): Row[] {
    return translated(() => this.statement(sql).all(...values));
  }

  /** Runs a statement that writes; returns how many rows it changed itself, triggers aside. */
  write(sql: string, ...values: SQLInputValue[]): number {
    return translated(() => Number(this.statement(sql).run(...values).changes));
  }

  /** A prepared statement, kept. Errors are node:sqlite's. */
  statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known) return known;
    const made = this.#database.prepare(sql);
    if (this.#statements.size === statementsMax) this.#statements.clear();
    this.#statements.set(sql, made);
    return made;
  }

  /** Whether the statement is sound with the tables and triggers as they are now. */
  canPrepare(sql: string): boolean {
    try {
      this.#database.prepare(sql);
      return true;
    } catch (error) {
      if (resultCode(error) === undefined) throw error;
      return false;
    }
  }

  /**
   * Runs `body` in one transaction that holds the write lock from its begin. Committed, and synced,
   * when it returns; nothing is committed when it throws, unless the kind is 'ambiguous'.
   */
  transaction<T>(body: () => T): T {
    this.exec('BEGIN IMMEDIATE');
    let result: T;
    try {
      this.#assertSameFile();
      result = body();
    } catch (error) {
      this.#rollback();
      throw toTargetError(error);
    }
    this.#commit();
    return result;
  }

  /** Runs `body`, which only reads, on one snapshot. */
  reading<T>(body: () => T): T {
    this.exec('BEGIN');
    try {
      return body();
    } catch (error) {
      throw toTargetError(error);
    } finally {
      this.#rollback();
    }
  }

  /** SQLite itself does not notice in WAL mode: rows would go into a file that nobody can open. */
  #assertSameFile(): void {
    const now = fileOf(this.#path);
    if (now && now.ino === this.#file?.ino && now.dev === this.#file.dev) return;
    throw new TargetError('lost', '', `${this.#path} is not the file any more that was opened.`);
  }

  #rollback(): void {
    // A trigger's RAISE(ROLLBACK) and some disk errors have ended the transaction already.
    if (this.isInTransaction) this.exec('ROLLBACK');
  }

  #commit(): void {
    try {
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#rollback();
      const code = resultCode(error);
      if (code === undefined || !isDiskFailure(code)) throw toTargetError(error);
      // The commit's frame may be in the WAL although its sync failed; recovery would find it
      // there.
      const message = 'The disk failed while the transaction was committed.';
      throw new TargetError('ambiguous', codeName(code), message, error);
    }
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}

function translated<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw toTargetError(error);
  }
}
