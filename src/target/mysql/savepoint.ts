// Attempts that may be refused without losing the transaction: each under a savepoint, which costs
// no round trip of its own, because its release or rollback goes along with the next attempt.
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';

/** Why the server refused rows. */
export interface Refusal {
  readonly code: 'refused' | 'swallowed' | 'key-conflict';
  /** The name of the server's error. */
  readonly sqlState: string | null;
  readonly message: string;
}

export class Savepoint {
  readonly #connection: Connection;
  #state: 'none' | 'open' | 'failed' = 'none';

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Undefined where `run` went through, else why the server refused its rows: nothing of them is
   * left then. `run` sends what it is given in front of its first statement, and may answer with a
   * refusal of its own. Other errors end the transaction.
   */
  async attempt(
    run: (before: string) => Promise<Refusal | undefined>,
  ): Promise<Refusal | undefined> {
    const undo = this.#state === 'failed' ? 'ROLLBACK TO SAVEPOINT holdfast; ' : '';
    try {
      // A savepoint of the same name takes the place of the one before.
      const refusal = await run(`${undo}SAVEPOINT holdfast; `);
      this.#state = refusal ? 'failed' : 'open';
      return refusal;
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      if (error.kind !== 'row' && error.kind !== 'conflict') throw error;
      this.#state = 'failed';
      return { code: 'refused', sqlState: error.code, message: error.message };
    }
  }

  /** Undoes the last attempt where it was refused. */
  async end(): Promise<void> {
    if (this.#state === 'failed') await this.#connection.script('ROLLBACK TO SAVEPOINT holdfast');
    this.#state = 'none';
  }
}
