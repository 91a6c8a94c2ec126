// Holdfast as its peers: bodies of 500 rows of NDJSON over 8 loopback connections that stay open, as
// `http` of bench path, into a Holdfast with its HTTP server in a process of its own.
//
// Good at: the database may be slow or away, a row that is refused blocks nobody, and what was sent
// again is there once, in a table without a key too. It is one more process to run, and the row is
// in the table a moment after its acknowledgement.
//
// Acknowledged: synced in the journal: disk. Where it is killed each request has an Idempotency-Key,
// with which it is sent again. Submissions: 500 rows.
import { join } from 'node:path';
import { HttpConnection } from '../http-connection.ts';
import { bodyRows } from '../payments.ts';
import type { Start } from '../product.ts';
import { Mover } from './mover.ts';
import type { OpenPeer, Peer, Place, Unit } from './peer.ts';

const connections = 8;
/** A server closes a connection on which nothing comes; between two runs much time may pass. */
const idleMsMax = 1_000;

interface Idle {
  readonly connection: HttpConnection;
  readonly since: number;
}

class OpenHoldfast implements OpenPeer {
  readonly #mover: Mover<string>;
  readonly #isKeyed: boolean;
  #idle: Idle[] = [];

  constructor(mover: Mover<string>, isKeyed: boolean) {
    this.#mover = mover;
    this.#isKeyed = isKeyed;
  }

  async submit({ first, rows }: Unit): Promise<void> {
    const connection = await this.#connection(rows);
    try {
      await connection.post(first);
    } catch (error) {
      connection.close();
      throw error;
    }
    this.#idle.push({ connection, since: performance.now() });
  }

  async #connection(rows: number): Promise<HttpConnection> {
    const idle = this.#idle.pop();
    if (idle && performance.now() - idle.since < idleMsMax) return idle.connection;
    // Those below have waited longer.
    idle?.connection.close();
    this.#closeIdle();
    return HttpConnection.to(this.#mover.started, { rows, isKeyed: this.#isKeyed });
  }

  async crash(): Promise<void> {
    await this.#mover.crash();
    this.#closeIdle();
  }

  restart(): Promise<void> {
    return this.#mover.restart();
  }

  async close(): Promise<void> {
    this.#closeIdle();
    await this.#mover.child.call('stop');
    await this.#mover.end();
  }

  #closeIdle(): void {
    for (const { connection } of this.#idle) connection.close();
    this.#idle = [];
  }
}

async function open({ ground, url, run }: Place): Promise<OpenPeer> {
  const journal = join(ground.folder, `journal-${run}`);
  // A stream says which key its table has: in kills it has none.
  const stream = run === 'kills' ? { key: [] } : {};
  const argument: Start = { journal, target: url, stream };
  return new OpenHoldfast(
    await Mover.start<string>(ground, { file: 'product.ts', argument }),
    run === 'kills',
  );
}

export const holdfast: Peer = {
  name: 'holdfast',
  acknowledges: 'disk',
  unitRows: bodyRows,
  inFlight: connections,
  rows: 1_000_000,
  open,
};
