// One connection: statements in, answers or TargetErrors out. It owns the deadline of every round
// trip and the difference between lost (COMMIT not sent) and ambiguous (sent, not answered). After
// an error it is either idle, outside any transaction, or closed: never in between.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Socket } from 'node:net';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { type Clock, woken } from '../../clock.ts';
import { TargetError } from '../target.ts';
import { Chunks } from './copy.ts';
import { classify } from './sqlstates.ts';

export interface ConnectionOptions {
  readonly clock: Clock;
  readonly connectMsMax: number;
  /** A round trip that takes longer ends the connection. */
  readonly answerMsMax: number;
}

export type Row = { readonly [column: string]: unknown };

/** Less than a chunk: the next one is gathered when the socket has taken the last. */
const copyBytesAhead = 1024;

/** After these nothing more is to be had from a connection. */
const closing = new Set<string>(['lost', 'readonly']);

const nameOf = (text: string): string =>
  createHash('sha256').update(text).digest('hex').slice(0, 32);

export class Connection {
  /** What COPYs are made in. */
  readonly chunks = new Chunks();
  /** Of the statements that it has prepared. */
  readonly #names = new Map<string, string>();
  readonly #client: pg.Client;
  readonly #socket = new Socket();
  readonly #options: ConnectionOptions;
  #closed: TargetError | undefined;

  private constructor(url: string, options: ConnectionOptions) {
    this.#options = options;
    this.#client = new pg.Client({
      connectionString: url,
      stream: () => this.#socket,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      application_name: 'holdfast',
    });
    this.#client.on('error', (error) => this.#close(error));
    this.#client.on('end', () => this.#close(new Error('The connection ended.')));
  }

  static async open(url: string, options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(url, options);
    try {
      await connection.#answer(options.connectMsMax, () => connection.#client.connect());
      return connection;
    } catch (error) {
      connection.destroy();
      throw toTargetError(error, 'connecting');
    }
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** One statement with parameters. */
  async query(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    const result = await this.#send(() => this.#client.query<Row>(text, [...values]));
    return result.rows;
  }

  /** The same for a text that is sent again and again: parsed and planned once a connection. */
  async prepared(text: string, values: readonly unknown[]): Promise<Row[]> {
    const name = this.#names.get(text) ?? nameOf(text);
    this.#names.set(text, name);
    const result = await this.#send(() =>
      this.#client.query<Row>({ name, text, values: [...values] }),
    );
    return result.rows;
  }

  /** Statements separated by semicolons, in one round trip; answers with each one's result. */
  async script(text: string): Promise<readonly pg.QueryResult<Row>[]> {
    const sent = this.#send(async (): Promise<unknown> => this.#client.query<Row>(text));
    const result = await sent;
    return (Array.isArray(result) ? result : [result]) as pg.QueryResult<Row>[];
  }

  /**
   * Statements of which the last is a COPY … FROM STDIN, then its bytes; resolves with how many
   * rows the server stored. When the COPY itself is refused the connection is closed: what was sent
   * behind the refusal is still on its way.
   */
  async copyIn(text: string, chunks: Iterable<Uint8Array>): Promise<number> {
    try {
      const stored = await this.#send(() => this.#copy(text, chunks));
      this.chunks.answered();
      return stored;
    } catch (error) {
      this.chunks.forget();
      const isBefore = error instanceof TargetError && error.code.startsWith('HF');
      if (!isBefore) this.destroy();
      throw error;
    }
  }

  async #copy(text: string, chunks: Iterable<Uint8Array>): Promise<number> {
    const stream = copyFrom(text, { highWaterMark: copyBytesAhead });
    let failure: Error | undefined;
    // Stays for good: a second error of the same loss must not become an uncaught one.
    stream.on('error', (error) => {
      failure ??= error;
    });
    this.#client.query(stream);
    for (const chunk of chunks) {
      // A chunk's head and body are two writes of pg-copy-streams: corked, they are one call.
      this.#socket.cork();
      const isTaken = stream.write(chunk);
      this.#socket.uncork();
      if (!isTaken) await once(stream, 'drain');
      if (failure) throw failure;
    }
    stream.end();
    await once(stream, 'finish');
    return stream.rowCount;
  }

  /** The bytes of a COPY … TO STDOUT, whole. */
  copyOut(text: string): Promise<Buffer> {
    return this.#send(async () => {
      const stream = this.#client.query(copyTo(text));
      const chunks: Buffer[] = [];
      for await (const chunk of stream) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks);
    });
  }

  /**
   * Ends the transaction. Resolves when the server answered COMMIT (with a warning, where a wait
   * for its standby was cancelled: committed here). Rejects with 'ambiguous' where it did not
   * answer; after any other rejection nothing is committed. `then` goes along in the round trip.
   */
  async commit(then = ''): Promise<readonly pg.QueryResult<Row>[]> {
    const results = await this.script(`COMMIT;${then}`).catch((error: unknown) => {
      if (!(error instanceof TargetError)) throw error;
      const { kind, code, message } = error;
      // With `then` an error may also be its own, after a COMMIT that went through.
      if (this.isClosed || then !== '') {
        throw new TargetError('ambiguous', code, `COMMIT was not answered: ${message}`, error);
      }
      // Refused with an error: rolled back. Whatever the code, no row can be isolated any more.
      const isLate = kind === 'row' || kind === 'conflict';
      throw new TargetError(isLate ? 'hold' : kind, code, `COMMIT was refused: ${message}`, error);
    });
    // PostgreSQL answers ROLLBACK, and no error, to the COMMIT of a failed transaction.
    if (results[0]?.command === 'COMMIT') return results;
    throw new TargetError('transient', '', 'The server answered COMMIT with ROLLBACK.');
  }

  /** Runs `work` between BEGIN, which `work` sends itself, and the end of the transaction. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
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
    await this.#answer(this.#options.connectMsMax, () => this.#client.end());
  }

  destroy(): void {
    this.#close(new Error('The connection was closed.'));
    this.#socket.destroy();
  }

  /** The first reason stays: it is the one that says why. */
  #close(reason: Error): void {
    const fault = toTargetError(reason, 'established');
    this.#closed ??= new TargetError(
      'lost',
      fault instanceof TargetError ? fault.code : '',
      reason.message,
    );
  }

  async #send<T>(send: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new TargetError('lost', this.#closed.code, this.#closed.message);
    try {
      return await this.#answer(this.#options.answerMsMax, send);
    } catch (error) {
      const fault = toTargetError(error, 'established');
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
}

/** What pg says, without a code, of a connection that has ended. */
const endings = /^(Connection terminated|timeout expired|Client has encountered|Client was closed)/;

/**
 * What the driver threw, as a TargetError. Bugs (assertions, type errors) stay what they are. FATAL
 * ends an established connection, whatever its code; before that the code says why there is none.
 */
function toTargetError(error: unknown, when: 'connecting' | 'established'): unknown {
  if (error instanceof TargetError) return error;
  if (error instanceof pg.DatabaseError) {
    const code = error.code ?? '';
    const isEnd = error.severity === 'FATAL' || error.severity === 'PANIC';
    const kind = isEnd && when === 'established' ? 'lost' : classify(code);
    return new TargetError(kind, code, error.message, error);
  }
  if (!(error instanceof Error)) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const isSystem = 'syscall' in error || endings.test(error.message);
  if (isSystem) return new TargetError('lost', code, error.message || code, error);
  if (error instanceof AggregateError) return new TargetError('lost', code, code, error);
  // No password where one is needed, no TLS, a certificate that does not fit …
  return error.constructor === Error ? new TargetError('hold', code, error.message, error) : error;
}
