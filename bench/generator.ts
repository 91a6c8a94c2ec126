// The clients of the benches, in a process of their own: bodies rendered ahead, raw sockets that
// stay open, one request in flight on each; every answer must be 202. As fast as it goes, or paced;
// beside it the bare client of the same rows.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import pg from 'pg';
import { answerCalls } from './children.ts';
import { pace, type Sender } from './pace.ts';
import { Body, bodyRows, CopyStream, type Keys } from './payments.ts';
import { copyStream } from './postgres.ts';
import { Watcher } from './watcher.ts';

export interface Load {
  readonly url: string;
  readonly first: number;
  readonly rows: number;
  readonly connections: number;
  readonly keys?: Keys;
}

export interface PacedLoad {
  readonly url: string;
  readonly first: number;
  readonly rowsPerSecond: number;
  readonly rowsEach: number;
  readonly ms: number;
  readonly connections: number;
  /** Of the database, where it is asked when rows are visible; `first` is 0 then. */
  readonly watch?: string;
}

/** Per body, from when it was due. */
export interface PacedTimes {
  readonly rows: number;
  readonly answeredMs: readonly number[];
  /** Empty where it was not asked for. */
  readonly visibleMs: readonly number[];
}

class Connection {
  readonly #socket: Socket;
  readonly #body: Body;
  #received = '';
  #answered: (status: number) => void = () => undefined;
  #failed: (error: Error) => void = () => undefined;

  constructor(socket: Socket, rows: number) {
    const contentLength = new Body(0, rows).bytes.length;
    const head = Buffer.from(
      'POST /v1/streams/payments/records HTTP/1.1\r\nHost: 127.0.0.1\r\n' +
        `Content-Type: application/x-ndjson\r\nContent-Length: ${contentLength}\r\n\r\n`,
    );
    this.#socket = socket;
    this.#body = new Body(head.length, rows);
    this.#body.bytes.set(head);
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', (error) => this.#failed(error));
    socket.on('close', () => this.#failed(new Error('the server closed a connection')));
  }

  static async to(url: string, rows: number): Promise<Connection> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    return new Connection(socket, rows);
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
    const connection = await Connection.to(url, bodyRows);
    while (next < first + rows) {
      const own = next;
      next += bodyRows;
      await connection.post(own, keys);
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: connections }, client));
}

/** Bodies over HTTP. */
async function paced(of: PacedLoad): Promise<PacedTimes> {
  const { url, first, rowsEach } = of;
  const opened = Array.from({ length: of.connections }, () => Connection.to(url, rowsEach));
  const connections = await Promise.all(opened);
  const senders = connections.map(
    (connection): Sender =>
      (body) =>
        connection.post(first + body * rowsEach),
  );
  const times = await timed(senders, of);
  for (const connection of connections) connection.close();
  return times;
}

/** The same rows straight to the database, each body a COPY and a transaction of its own. */
async function pacedCopy(of: PacedLoad): Promise<PacedTimes> {
  const { url, first, rowsEach } = of;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const stream = new CopyStream(rowsEach);
  const copy: Sender = (body) => {
    stream.setKeys(first + body * rowsEach);
    return copyStream(client, 'payments', stream);
  };
  const times = await timed([copy], of);
  await client.end();
  return times;
}

async function timed(senders: readonly Sender[], of: PacedLoad): Promise<PacedTimes> {
  const { rowsPerSecond, rowsEach, ms } = of;
  const everyMs = (rowsEach * 1000) / rowsPerSecond;
  const ticks = Math.ceil(ms / everyMs);
  const watcher = of.watch === undefined ? undefined : await Watcher.on(of.watch, rowsEach);
  const watched = watcher?.watch() ?? [];
  const sent = pace(senders, { everyMs, ticks }, (body, due) => watcher?.expect(body, due));
  const [answeredMs, visibleMs] = await Promise.all([sent.finally(() => watcher?.end()), watched]);
  return { rows: ticks * rowsEach, answeredMs: [...answeredMs], visibleMs };
}

answerCalls({ load, paced, pacedCopy });
