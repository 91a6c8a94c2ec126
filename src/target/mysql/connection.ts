// One connection: statements in, answers or TargetErrors out. It owns the deadline of every round
// trip and the difference between lost (COMMIT not sent) and ambiguous (sent, not answered). After
// an error it is either idle, outside any transaction, or closed: never in between.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import mysql from 'mysql2';
import { type Clock, woken } from '../../clock.ts';
import { TargetError } from '../target.ts';
import { classify, errnoName, isRolledBack, type Vendor } from './errnos.ts';
import type { Place } from './url.ts';

export interface ConnectionOptions {
  readonly clock: Clock;
  readonly connectMsMax: number;
  /** A round trip that takes longer ends the connection. */
  readonly answerMsMax: number;
}

export type Row = { readonly [column: string]: unknown };

/** What one statement answered. */
export interface Answer {
  readonly rows: readonly Row[];
  /** Rows that it wrote; a row that ON DUPLICATE KEY UPDATE changed counts twice. */
  readonly affected: number;
  readonly warnings: number;
}

/** What the server has pending of a LOAD before it is sent on: bounds memory, keeps it busy. */
const loadBytesAhead = 256 * 1024;

/** After these nothing more is to be had from a connection. */
const closing = new Set<string>(['lost', 'readonly']);

export class Connection {
  readonly #client: mysql.Connection;
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  /** Its error numbers are read by this; the first query tells. */
  vendor: Vendor = 'MariaDB';
  #closed: TargetError | undefined;

  private constructor(place: Place, options: ConnectionOptions) {
    this.#options = options;
    this.#socket = connect({ host: place.host, port: place.port, keepAlive: true });
    this.#socket.setKeepAlive(true, 10_000).setNoDelay(true);
    this.#client = mysql.createConnection({
      host: place.host,
      user: place.user,
      password: place.password,
      ...(place.database !== undefined && { database: place.database }),
      ...(place.ssl && { ssl: place.ssl }),
      stream: () => this.#socket,
      // Ours is the deadline.
      connectTimeout: 0,
      charset: 'utf8mb4',
      multipleStatements: true,
      // An UPDATE answers with the rows that it changed, not with those that it found.
      flags: ['-FOUND_ROWS'],
      supportBigNumbers: true,
      bigNumberStrings: true,
      dateStrings: true,
      jsonStrings: true,
      connectAttributes: { program_name: 'holdfast' },
    });
    this.#client.on('error', (error) => this.#close(error));
    this.#client.on('end', () => this.#close(new Error('The connection ended.')));
  }

  static async open(place: Place, options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(place, options);
    try {
      await connection.#answer(options.connectMsMax, () => connection.#handshake());
      return connection;
    } catch (error) {
      connection.destroy();
      throw connection.#fault(error, 'connecting');
    }
  }

  #handshake(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.connect((error) => (error ? reject(error) : resolve()));
    });
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** The server's id of this connection. */
  get threadId(): number {
    return this.#client.threadId;
  }

  async query(text: string): Promise<readonly Row[]> {
    const [answer] = await this.script(text);
    return answer?.rows ?? [];
  }

  /** Statements separated by semicolons, in one round trip; answers with each one's result. */
  script(text: string): Promise<readonly Answer[]> {
    return this.#send(() => this.#run({ sql: text }));
  }

  /**
   * One LOAD DATA LOCAL INFILE with these bytes. `statement` makes its text for the name of a file,
   * which is new each time: a server that asks for any other gets nothing.
   */
  async load(statement: (file: string) => string, chunks: Iterable<Uint8Array>): Promise<Answer> {
    const file = `holdfast-${randomUUID()}`;
    const stream = Readable.from(chunks, { objectMode: false, highWaterMark: loadBytesAhead });
    // Stays for good: its end after the connection's is no uncaught error.
    stream.on('error', () => undefined);
    const infileStreamFactory = (asked: string): Readable =>
      asked === file ? stream : Readable.from([]);
    try {
      const sql = statement(file);
      const [answer] = await this.#send(() => this.#run({ sql, infileStreamFactory }));
      assert(answer, 'a statement has an answer');
      return answer;
    } finally {
      stream.destroy();
    }
  }

  #run(options: mysql.QueryOptions): Promise<readonly Answer[]> {
    return new Promise((resolve, reject) => {
      this.#client.query(options, (error, result: unknown, fields: unknown) => {
        if (error) reject(error);
        else resolve(answersOf(result, fields));
      });
    });
  }

  /**
   * Ends the transaction. Resolves when the server answered COMMIT. Rejects with 'ambiguous' where
   * it did not answer, or not with an error that says what was done; after any other rejection
   * nothing is committed.
   */
  async commit(): Promise<void> {
    await this.script('COMMIT').catch((error: unknown) => {
      if (!(error instanceof TargetError)) throw error;
      const { kind, code, message, cause } = error;
      const errno = cause instanceof Error && 'errno' in cause ? Number(cause.errno) : 0;
      if (this.isClosed || !isRolledBack(this.vendor, errno)) {
        this.destroy();
        throw new TargetError('ambiguous', code, `COMMIT was not answered: ${message}`, error);
      }
      // Rolled back. Whatever the code, no row can be isolated any more.
      const isLate = kind === 'row' || kind === 'conflict';
      throw new TargetError(isLate ? 'hold' : kind, code, `COMMIT was refused: ${message}`, error);
    });
  }

  /**
   * Runs `work` between START TRANSACTION, which `work` sends itself, and the transaction's end.
   */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      // 1213 has ended the whole transaction, 1205 only its statement: ROLLBACK is right for both.
      if (!this.isClosed) await this.#rollback();
      throw error;
    }
  }

  async #rollback(): Promise<void> {
    try {
      await this.script('ROLLBACK');
    } catch (error) {
      // The first error says more; a connection that cannot roll back is of no use.
      assert(this.isClosed || error instanceof TargetError, 'only the server refuses a ROLLBACK');
      this.destroy();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return this.destroy();
    this.#close(new Error('The connection was closed.'));
    await this.#answer(
      this.#options.connectMsMax,
      () => new Promise<void>((resolve) => this.#client.end(() => resolve())),
    );
    this.#socket.destroy();
  }

  destroy(): void {
    this.#close(new Error('The connection was closed.'));
    this.#socket.destroy();
  }

  /** The first reason stays: it is the one that says why. */
  #close(reason: Error): void {
    const fault = this.#fault(reason, 'established');
    const code = fault instanceof TargetError ? fault.code : '';
    this.#closed ??= new TargetError('lost', code, reason.message);
  }

  async #send<T>(send: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new TargetError('lost', this.#closed.code, this.#closed.message);
    try {
      return await this.#answer(this.#options.answerMsMax, send);
    } catch (error) {
      const fault = this.#fault(error, 'established');
      // Closed already: by its deadline, or by the loss of which `error` is only an echo.
      const isUsable = fault instanceof TargetError && !closing.has(fault.kind) && !this.#closed;
      if (!isUsable) this.destroy();
      throw fault;
    }
  }

  /** Ends the connection, and with it `send`, unless it is answered within `ms`. */
  async #answer<T>(ms: number, send: () => Promise<T>): Promise<T> {
    const answered = new AbortController();
    const deadline = this.#options.clock.sleep(ms, answered.signal).then(() => {
      if (!answered.signal.aborted) {
        this.#socket.destroy(new TargetError('lost', '', `No answer within ${ms} ms.`));
      }
    });
    try {
      return await send();
    } finally {
      answered.abort(woken);
      await deadline;
    }
  }

  /**
   * What the driver threw, as a TargetError. Bugs (assertions, type errors) stay what they are.
   * What ends an established connection is a loss; before that the number says why there is none.
   */
  #fault(error: unknown, when: 'connecting' | 'established'): unknown {
    if (error instanceof TargetError || !(error instanceof Error)) return error;
    const { errno, code, fatal } = error as Partial<mysql.QueryError>;
    const text = typeof code === 'string' ? code : '';
    // The numbers of the system's own errors are negative.
    if (typeof errno === 'number' && errno > 0) {
      const kind = classify(this.vendor, errno);
      const isEnd = fatal === true && when === 'established' && kind !== 'readonly';
      const message = error.message || text;
      return new TargetError(isEnd ? 'lost' : kind, errnoName(this.vendor, errno), message, error);
    }
    const isSystem = 'syscall' in error || error instanceof AggregateError;
    if (isSystem || text.startsWith('PROTOCOL_') || when === 'established') {
      const isBug = error.constructor !== Error && !isSystem;
      return isBug ? error : new TargetError('lost', text, error.message || text, error);
    }
    // TLS that the server does not speak, a certificate that does not fit, a way to log in …
    return error.constructor === Error || text !== ''
      ? new TargetError('hold', text, error.message, error)
      : error;
  }
}

/** The driver answers several statements with a list, one with what would stand in the list. */
function answersOf(result: unknown, fields: unknown): readonly Answer[] {
  const isList =
    Array.isArray(fields) && fields.some((of) => of === undefined || Array.isArray(of));
  const results: readonly unknown[] = isList && Array.isArray(result) ? result : [result];
  return results.map((one): Answer => {
    if (Array.isArray(one)) return { rows: one as Row[], affected: 0, warnings: 0 };
    const { affectedRows, warningStatus } = one as mysql.ResultSetHeader;
    return { rows: [], affected: Number(affectedRows), warnings: warningStatus };
  });
}
