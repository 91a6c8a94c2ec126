// One connection of a client of the benches: bodies rendered ahead, a raw socket that stays open, one
// request in flight; every answer must be 202.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Body, firstKey, type Keys } from './payments.ts';

interface Sending {
  /** Of a body. */
  readonly rows: number;
  /** Whether each request has an Idempotency-Key; false by default. */
  readonly isKeyed?: boolean;
}

export class HttpConnection {
  readonly #socket: Socket;
  readonly #body: Body;
  readonly #isKeyed: boolean;
  /** Where the Idempotency-Key stands. */
  readonly #keyAt: number;
  #received = '';
  #answered: (status: number) => void = () => undefined;
  #failed: (error: Error) => void = () => undefined;

  private constructor(socket: Socket, { rows, isKeyed = false }: Sending) {
    const contentLength = new Body(0, rows).bytes.length;
    const fields =
      'POST /v1/streams/payments/records HTTP/1.1\r\nHost: 127.0.0.1\r\n' +
      `Content-Type: application/x-ndjson\r\nContent-Length: ${contentLength}\r\n`;
    const keyed = `${fields}Idempotency-Key: `;
    this.#keyAt = keyed.length;
    const head = Buffer.from(isKeyed ? `${keyed}${firstKey}\r\n\r\n` : `${fields}\r\n`);
    this.#socket = socket;
    this.#isKeyed = isKeyed;
    this.#body = new Body(head.length, rows);
    this.#body.bytes.set(head);
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', (error) => this.#failed(error));
    socket.on('close', () => this.#failed(new Error('the server closed a connection')));
  }

  static async to(url: string, sending: Sending): Promise<HttpConnection> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    return new HttpConnection(socket, sending);
  }

  #take(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf('\r\n\r\n');
    if (end < 0) return;
    const length = /content-length: *(\d+)/i.exec(this.#received)?.[1];
    // Without a length the answer is no answer of ours: its status will tell.
    if (this.#received.length < end + 4 + Number(length ?? 0)) return;
    const status = Number(this.#received.slice(9, 12));
    if (status === 202) this.#answered(status);
    else this.#failed(new Error(this.#received));
    this.#received = '';
  }

  /** Sends one body; resolves with its answer. Its Idempotency-Key is the key of its first row. */
  post(first: number, keys?: Keys): Promise<number> {
    this.#body.setKeys(first, keys);
    if (this.#isKeyed) this.#body.bytes.write(String(firstKey + first), this.#keyAt);
    return new Promise((resolve, reject) => {
      this.#answered = resolve;
      this.#failed = reject;
      // A socket that has been closed says so here only.
      this.#socket.write(this.#body.bytes, (error) => {
        if (error) reject(error);
      });
    });
  }

  close(): void {
    this.#failed = () => undefined;
    this.#socket.destroy();
  }
}
