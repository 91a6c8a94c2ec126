// A TCP proxy in front of a server that fails at an exact point: around the client's COMMIT, or in
// the middle of its rows.
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/**
 * - pass: nothing
 * - before: COMMIT never reaches the server; the client is cut off
 * - after: COMMIT is delivered; the answer is swallowed and the client cut off
 * - hang: COMMIT is delivered; the answer is swallowed and the client left waiting
 * - hold: COMMIT and all that follows wait for `release`; the server's side stays open meanwhile
 * - rows: cut off when the first bytes of the rows come
 */
export type Fault = 'pass' | 'before' | 'after' | 'hang' | 'hold' | 'rows';

export interface FaultProxy {
  readonly port: number;
  fault: Fault;
  /** How often the fault happened. */
  hits: number;
  /** Resolves when it happens next. */
  hit(): Promise<void>;
  /** Delivers what `hold` has kept back. */
  release(): void;
  close(): Promise<void>;
}

/** What the client's bytes hold where it commits, and where it sends rows. */
export interface Marks {
  readonly commit: string;
  readonly rows: string;
}

/** The simple query that ends a transaction, not the words in ON COMMIT DELETE ROWS; a COPY. */
const ofPostgres: Marks = { commit: 'COMMIT;', rows: 'PGCOPY\n' };

export async function startProxy(
  serverPort: number,
  marks: Marks = ofPostgres,
): Promise<FaultProxy> {
  const sockets = new Set<Socket>();
  const hits = new EventEmitter();
  let held: (() => void)[] = [];
  const server = createServer((client) => {
    const upstream = connect(serverPort, '127.0.0.1');
    let state: 'open' | 'silent' | 'held' = 'open';
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      // A reset is what the proxy is for.
      socket.on('error', () => socket.destroy());
    }
    client.on('data', (bytes) => {
      const isHit = bytes.includes(proxy.fault === 'rows' ? marks.rows : marks.commit);
      if (isHit && proxy.fault !== 'pass') {
        proxy.hits++;
        hits.emit('hit');
        if (proxy.fault === 'before' || proxy.fault === 'rows') {
          client.resetAndDestroy();
          upstream.destroy();
          return;
        }
        state = proxy.fault === 'hold' ? 'held' : 'silent';
        if (proxy.fault === 'after') upstream.once('data', () => client.resetAndDestroy());
      }
      if (state === 'held') held.push(() => upstream.write(bytes));
      else upstream.write(bytes);
    });
    upstream.on('data', (bytes) => {
      if (state === 'open') client.write(bytes);
    });
    client.on('close', () => {
      if (state !== 'held') upstream.end();
    });
    upstream.on('close', () => {
      if (state === 'open') client.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(address !== null && typeof address === 'object', 'a TCP server has a port');
  const proxy: FaultProxy = {
    port: address.port,
    fault: 'pass',
    hits: 0,
    hit: async () => {
      await once(hits, 'hit');
    },
    release: () => {
      for (const deliver of held) deliver();
      held = [];
    },
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      if (server.listening) await once(server, 'close');
    },
  };
  return proxy;
}
