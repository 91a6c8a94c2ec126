// Attempts that may be refused without losing the transaction: each under a savepoint, which costs
// no round trip of its own, because its release or rollback goes along with the next attempt.
import type pg from 'pg';
import { TargetError } from '../target.ts';
import type { Connection, Row } from './connection.ts';

/** Why the server refused rows. */
export interface Refusal {
  readonly code: 'refused' | 'swallowed' | 'key-conflict';
  readonly sqlState: string | null;
  readonly message: string;
}

type Result = pg.QueryResult<Row>;
export type Attempted = { readonly result: Result } | { readonly refusal: Refusal };

export class Savepoint {
  readonly #connection: Connection;
  #before = '';
  #state: 'none' | 'open' | 'failed' = 'none';

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * The statement's result, or why the server refused its rows. Other errors end the transaction.
   */
  async attempt(statement: string): Promise<Attempted> {
    const opening = {
      none: '',
      open: 'RELEASE SAVEPOINT holdfast;',
      failed: 'ROLLBACK TO SAVEPOINT holdfast; RELEASE SAVEPOINT holdfast;',
    }[this.#state];
    const before = this.#before;
    this.#before = '';
    try {
      const text = `${opening} ${before} SAVEPOINT holdfast; ${statement}`;
      const results = await this.#connection.script(text);
      this.#state = 'open';
      return { result: results.at(-1) as Result };
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      if (error.kind !== 'row' && error.kind !== 'conflict') throw error;
      this.#state = 'failed';
      return { refusal: { code: 'refused', sqlState: error.code, message: error.message } };
    }
  }

  /** Undoes the last attempt, though the server took it. */
  refuse(): void {
    this.#state = 'failed';
  }

  /** A statement to run before the next attempt, and to stay whatever becomes of that. */
  prepare(statement: string): void {
    this.#before = `${statement};`;
  }

  /** After a refusal the server takes nothing but a rollback to the savepoint. */
  async end(): Promise<void> {
    if (this.#state === 'failed') await this.#connection.script('ROLLBACK TO SAVEPOINT holdfast');
    this.#state = 'none';
  }
}
