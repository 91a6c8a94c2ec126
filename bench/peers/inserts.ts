// What people write first, and need nothing but `pg` for: the application inserts by itself.
//
// pool: one INSERT a row from a pool of 10 connections. Good at: nothing to run, nothing to learn,
//   the row is in the table when it is acknowledged, and an error is the error of that row.
// inserts, unnest: 500 rows a statement from 4 workers, as a list of values or an array a column.
//   Good at the same, and fast. Who has one row at a time must gather them first; that is not done
//   here, in their favour.
//
// Acknowledged: committed, with fsync: disk. A commit whose answer is lost with the application is
// unknown; sent again it doubles, but for a key in the table (then a row that differs is dropped
// without a word). Submissions: a row (pool), 500 rows.
import pg from 'pg';
import { insertListed, insertOne, insertUnnested } from './insert.ts';
import { Mover } from './mover.ts';
import type { OpenPeer, Peer, Place, Unit } from './peer.ts';
import { paymentsOf } from './rows.ts';

const ways = {
  async pool(pool: pg.Pool, unit: Unit) {
    for (const row of paymentsOf(unit)) await insertOne(pool, row);
  },
  inserts: (pool: pg.Pool, unit: Unit) => insertListed(pool, paymentsOf(unit)),
  unnest: (pool: pg.Pool, unit: Unit) => insertUnnested(pool, paymentsOf(unit)),
};

type Way = keyof typeof ways;

export interface ApplicationStart {
  readonly url: string;
  readonly way: Way;
  readonly connections: number;
}

/** Of a process that writes by itself. */
export class Application {
  readonly #pool: pg.Pool;
  readonly #way: Way;

  constructor({ url, way, connections }: ApplicationStart) {
    this.#pool = new pg.Pool({ connectionString: url, max: connections });
    this.#way = way;
  }

  submit(unit: Unit): Promise<void> {
    return ways[this.#way](this.#pool, unit);
  }

  close(): Promise<void> {
    return this.#pool.end();
  }
}

/** In the bench's process where it lives on: a process between would cost one row at a time much. */
async function openHere(start: ApplicationStart): Promise<OpenPeer> {
  const application = new Application(start);
  const never = (): never => {
    throw new Error('the bench does not kill itself');
  };
  return {
    submit: (unit) => application.submit(unit),
    crash: never,
    restart: never,
    close: () => application.close(),
  };
}

async function openThere({ ground }: Place, start: ApplicationStart): Promise<OpenPeer> {
  const mover = await Mover.start(ground, { file: 'peers/application.ts', argument: start });
  return {
    submit: (unit) => mover.child.call('submit', unit),
    crash: () => mover.crash(),
    restart: () => mover.restart(),
    close: () => mover.end(),
  };
}

function applicationPeer(
  name: Way,
  of: Pick<Peer, 'unitRows' | 'rows'> & { readonly connections: number },
): Peer {
  const { connections, ...sizes } = of;
  return {
    name,
    acknowledges: 'disk',
    ...sizes,
    inFlight: connections,
    open(place) {
      const start = { url: place.url, way: name, connections };
      return place.run === 'rates' ? openHere(start) : openThere(place, start);
    },
  };
}

export const applications: readonly Peer[] = [
  applicationPeer('pool', { unitRows: 1, connections: 10, rows: 20_000 }),
  applicationPeer('inserts', { unitRows: 500, connections: 4, rows: 500_000 }),
  applicationPeer('unnest', { unitRows: 500, connections: 4, rows: 500_000 }),
];
