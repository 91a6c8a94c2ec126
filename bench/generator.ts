// The HTTP client of bench path: bodies rendered ahead, raw sockets that stay open, one request in
// flight on each. Every answer must be 202.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { answerCalls } from './children.ts';
import { Body, bodyRows, type Keys } from './payments.ts';

export interface Load {
  readonly url: string;
  readonly first: number;
  readonly rows: number;
  readonly connections: number;
  readonly keys?: Keys;
}

class Connection {
  readonly #socket: Socket;
  readonly #body: Body;
  #received = '';
  #answered: (status: number) => void = () => undefined;
  #failed: (error: Error) => void = () => undefined;

  constructor(socket: Socket) {
    const contentLength = new Body().bytes.length;
    const head = Buffer.from(
      'POST /v1/streams/payments/records HTTP/1.1\r\nHost: 127.0.0.1\r\n' +
        `Content-Type: application/x-ndjson\r\nContent-Length: ${contentLength}\r\n\r\n`,
    );
    this.#socket = socket;
    this.#body = new Body(head.length);
    this.#body.bytes.set(head);
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', (error) => this.#failed(error));
    socket.on('close', () => this.#failed(new Error('the server closed a connection')));
  }

  static async to(url: string): Promise<Connection> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    return new Connection(socket);
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

  /** Sends one body; resolves with its answer. */
  post(first: number, keys?: Keys): Promise<number> {
    this.#body.setKeys(first, keys);
    return new Promise((resolve, reject) => {
      this.#answered = resolve;
      this.#failed = reject;
      this.#socket.write(this.#body.bytes);
    });
  }

  close(): void {
    this.#failed = () => undefined;
    this.#socket.destroy();
  }
}

async function load({ url, first, rows, connections, keys }: Load): Promise<void> {
  let next = first;
  const client = async (): Promise<void> => {
    const connection = await Connection.to(url);
    while (next < first + rows) {
      const own = next;
      next += bodyRows;
      await connection.post(own, keys);
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: connections }, client));
}

answerCalls({ load });
