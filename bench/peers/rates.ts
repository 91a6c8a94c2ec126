// How fast: from the first submission until the last row is in the table, beside what the others
// made of the same server in the same round.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { type BenchOptions, quantile, type Size } from '../figures.ts';
import type { PostgresGround } from '../ground.ts';
import { CpuMeter } from '../machine.ts';
import { firstKey } from '../payments.ts';
import { inWords, type Rate, type Round, roundsOf, takeRounds } from '../rounds.ts';
import { countRows, handOver, openPeer, rowsFor } from './load.ts';
import type { OpenPeer, Peer, Unit } from './peer.ts';

const shareOf: { readonly [size in Size]: number } = { tiny: 0.001, usual: 1, full: 5 };
const warmUpShare = 0.2;
const pollMs = 5;
/** A peer that brings no row for so long has lost them. */
const standstillMsMax = 60_000;

/** One run of one peer. */
export interface Measured extends Rate {
  /** ms of a submission until its acknowledgement. */
  readonly ackP50: number;
  readonly ackP99: number;
}

/** All stay open from the first round to the last: no run pays for a start, JVMs get warm. */
export async function takeRates(
  options: BenchOptions,
  { ground, url, client }: PostgresGround,
  peers: readonly Peer[],
): Promise<Round<Measured>[]> {
  const open = new Map<Peer, OpenPeer>();
  for (const peer of peers) {
    await client.query('TRUNCATE payments');
    open.set(peer, await openPeer(peer, { ground, url, run: 'rates' }, client));
  }
  const share = shareOf[options.size];
  // No key comes twice: peers remember.
  let first = 1_000;
  const taken = await takeRounds(options, {
    rounds: roundsOf[options.size],
    async take(isWarmUp) {
      const round = new Map<string, Measured>();
      for (const [peer, opened] of open) {
        const rows = rowsFor(peer, share * (isWarmUp ? warmUpShare : 1));
        round.set(peer.name, await measure(client, { ...peer, opened, first, rows }));
        first += rows;
      }
      return round;
    },
    tell: ({ rate, ackP50, ackP99 }) =>
      `${inWords(rate)}, acknowledged in ${ackP50.toFixed(1)} ms, p99 ${ackP99.toFixed(1)}`,
  });
  for (const opened of open.values()) await opened.close();
  return taken;
}

interface Wanted {
  readonly opened: OpenPeer;
  readonly first: number;
  readonly rows: number;
  readonly unitRows: number;
  readonly inFlight: number;
}

async function measure(client: pg.Client, { opened, ...wanted }: Wanted): Promise<Measured> {
  await client.query('TRUNCATE payments');
  // What the one before left behind, queues of jobs for one, is not for this one's time.
  await client.query('VACUUM');
  await client.query('CHECKPOINT');
  const meter = new CpuMeter();
  const begun = performance.now();
  const acknowledgedMs = await handOver((unit) => opened.submit(unit), wanted);
  await allInTable(client, wanted);
  const seconds = (performance.now() - begun) / 1000;
  const others = meter.others();
  assert.equal(await countRows(client), wanted.rows, 'every row is in the table once');
  const ackP50 = quantile(acknowledgedMs, 0.5);
  return { rate: wanted.rows / seconds, ackP50, ackP99: quantile(acknowledgedMs, 0.99), others };
}

/** Asks for the last key first: by the index, so that asking costs next to nothing. */
async function allInTable(client: pg.Client, { first, rows }: Unit) {
  const last = firstKey + first + rows - 1;
  let highest = 0;
  let giveUpAt = performance.now() + standstillMsMax;
  for (;;) {
    const found = await client.query<{ max: string | null }>('SELECT max(tx_id) FROM payments');
    const now = Number(found.rows[0]?.max ?? 0);
    if (now > highest) giveUpAt = performance.now() + standstillMsMax;
    if (now === last && (await countRows(client)) === rows) return;
    if (performance.now() > giveUpAt) throw new Error('the last rows do not come');
    highest = now;
    await sleep(pollMs);
  }
}
