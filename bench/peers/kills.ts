// What a crash costs: rows into `payments` without its key, for only there rows that came twice can
// be seen; what brings them there is killed twice on the way, and started again. Whoever hands them
// over does what a careful application does: what was not acknowledged is sent again, until it is.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { BenchOptions, Size } from '../figures.ts';
import type { PostgresGround } from '../ground.ts';
import { CpuMeter } from '../machine.ts';
import { countRows, handOver, openPeer, rowsFor } from './load.ts';
import type { OpenPeer, Peer, Unit } from './peer.ts';

const shareOf: { readonly [size in Size]: number } = { tiny: 0.002, usual: 0.5, full: 2 };
/** Of the rows, that are in the table when it is killed, or a little more. */
const killsAt = [0.4, 0.7];
/**
 * Of the time so far: up to how long after that. Rows are seen just after a commit, and who was
 * always killed right there would look worse than by a chance of crashes.
 */
const pauseShareMax = 0.2;
const pollMs = 5;
const retryMs = 20;
/** No outage is longer; Kafka Connect waits for its predecessor's session to run out. */
const outageMsMax = 60_000;
/** What comes later is counted as lost: jobs of a killed worker, for one, are noticed by time. */
const standstillMsMax = 60_000;
/** When all is there: how long to wait for rows that come again. */
const quietMs = 2_000;

/** Over both kills. */
export interface Damage {
  /** Acknowledged rows that are not in the table. */
  readonly lost: number;
  /** Rows beyond one for a key. */
  readonly doubled: number;
  readonly others: number;
}

export async function takeKills(
  { say, size }: BenchOptions,
  { ground, url, client }: PostgresGround,
  peers: readonly Peer[],
): Promise<ReadonlyMap<string, Damage>> {
  await client.query('ALTER TABLE payments DROP CONSTRAINT payments_pkey');
  const damages = new Map<string, Damage>();
  for (const peer of peers) {
    await client.query('TRUNCATE payments');
    const opened = await openPeer(peer, { ground, url, run: 'kills' }, client);
    const damage = await damageOf(client, opened, { ...peer, rows: rowsFor(peer, shareOf[size]) });
    await opened.close();
    damages.set(peer.name, damage);
    say(`killed twice: ${peer.name} lost ${damage.lost}, doubled ${damage.doubled}`);
  }
  return damages;
}

type Sizes = Pick<Peer, 'rows' | 'unitRows' | 'inFlight'>;

async function damageOf(client: pg.Client, opened: OpenPeer, of: Sizes): Promise<Damage> {
  const meter = new CpuMeter();
  // The first submission was made when it was opened.
  const handed = handOver((unit) => untilAcknowledged(opened, unit), {
    ...of,
    first: of.unitRows,
    rows: of.rows - of.unitRows,
  });
  const killed = killOnTheWay(client, opened, of.rows);
  await Promise.all([handed, killed]);
  const { rows, keys } = await allThatComes(client, opened, of.rows);
  return { lost: of.rows - keys, doubled: rows - keys, others: meter.others() };
}

async function untilAcknowledged(opened: OpenPeer, unit: Unit): Promise<void> {
  const giveUpAt = performance.now() + outageMsMax;
  for (;;) {
    try {
      return await opened.submit(unit);
    } catch (error) {
      if (performance.now() > giveUpAt) throw error;
      await sleep(retryMs);
    }
  }
}

async function killOnTheWay(client: pg.Client, opened: OpenPeer, rows: number): Promise<void> {
  const begun = performance.now();
  for (const share of killsAt) {
    const giveUpAt = performance.now() + outageMsMax;
    while ((await countRows(client)) < rows * share) {
      if (performance.now() > giveUpAt) throw new Error('no rows come to be killed among');
      await sleep(pollMs);
    }
    await sleep((performance.now() - begun) * pauseShareMax * Math.random());
    await opened.crash();
    await opened.restart();
  }
}

interface Counts {
  readonly rows: number;
  /** Different keys. */
  readonly keys: number;
}

async function counts(client: pg.Client): Promise<Counts> {
  const text = 'SELECT count(*) AS rows, count(DISTINCT tx_id) AS keys FROM payments';
  const { rows } = await client.query<{ rows: string; keys: string }>(text);
  return { rows: Number(rows[0]?.rows), keys: Number(rows[0]?.keys) };
}

/** Until all keys are there, the queue is empty, and no more come; or nothing has come for long. */
async function allThatComes(
  client: pg.Client,
  opened: OpenPeer,
  expected: number,
): Promise<Counts> {
  let last = await counts(client);
  let since = performance.now();
  for (;;) {
    await sleep(quietMs / 10);
    const now = await counts(client);
    if (now.rows !== last.rows) since = performance.now();
    last = now;
    const stoodMs = performance.now() - since;
    if (stoodMs > standstillMsMax) return now;
    const isWhole = now.keys === expected && stoodMs > quietMs;
    if (isWhole && ((await opened.waiting?.()) ?? 0) === 0) return now;
  }
}
