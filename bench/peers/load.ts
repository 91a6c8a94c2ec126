// What every run of bench peers does to a peer: hand rows over, and wait until they are in the table.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { OpenPeer, Peer, Place, Unit } from './peer.ts';

interface HandOver extends Unit {
  /** Rows of one submission. */
  readonly unitRows: number;
  /** Submissions under way at once. */
  readonly inFlight: number;
}

/** As fast as it goes; answers with how long each submission waited for its acknowledgement, ms. */
export async function handOver(
  submit: (unit: Unit) => Promise<void>,
  { first, rows, unitRows, inFlight }: HandOver,
): Promise<number[]> {
  const acknowledgedMs: number[] = [];
  let next = first;
  const caller = async (): Promise<void> => {
    while (next < first + rows) {
      const unit = { first: next, rows: unitRows };
      next += unitRows;
      const begun = performance.now();
      await submit(unit);
      acknowledgedMs.push(performance.now() - begun);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, caller));
  return acknowledgedMs;
}

/** A share of what a run of it is, in whole submissions. */
export const rowsFor = ({ rows, unitRows }: Peer, share: number): number =>
  Math.max(2, Math.round((rows * share) / unitRows)) * unitRows;

export async function countRows(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ count: string }>('SELECT count(*) FROM payments');
  return Number(rows[0]?.count);
}

/** The first rows through a peer may wait for much to start: a JVM, a consumer group. */
const startMsMax = 120_000;
const startPollMs = 50;

/** Opens a peer and sends one submission through it, so that all of it stands when it is timed. */
export async function openPeer(peer: Peer, place: Place, client: pg.Client): Promise<OpenPeer> {
  const open = await peer.open(place);
  const before = await countRows(client);
  await open.submit({ first: 0, rows: peer.unitRows });
  const giveUpAt = performance.now() + startMsMax;
  while ((await countRows(client)) < before + peer.unitRows) {
    open.check?.();
    if (performance.now() > giveUpAt) throw new Error(`${peer.name} brings no rows`);
    await sleep(startPollMs);
  }
  return open;
}
