// The clients of the benches, in a process of their own: connections that stay open, one request in
// flight on each. As fast as it goes, or paced; beside it the bare client of the same rows.
import pg from 'pg';
import { answerCalls } from './children.ts';
import { HttpConnection } from './http-connection.ts';
import { pace, type Sender } from './pace.ts';
import { bodyRows, CopyStream, type Keys } from './payments.ts';
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

async function load({ url, first, rows, connections, keys }: Load): Promise<void> {
  let next = first;
  const client = async (): Promise<void> => {
    const connection = await HttpConnection.to(url, { rows: bodyRows });
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
  const opened = Array.from({ length: of.connections }, () =>
    HttpConnection.to(url, { rows: rowsEach }),
  );
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
