// The product of the benches in a process of its own: a Holdfast with its server, and a
// caller of the library beside it.
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import { open, type Ports } from '../src/holdfast.ts';
import { defaults, type JournalOptions } from '../src/options.ts';
import type { RunningServer } from '../src/server/server.ts';
import { startServing } from '../src/serving.ts';
import { openTarget } from '../src/target/open.ts';
import type { Holdfast, StreamStatus } from '../src/types.ts';
import { answerCalls } from './children.ts';
import { Body, bodyRows, type Keys } from './payments.ts';
import { withoutBooks } from './without-books.ts';

export interface Start {
  readonly journal: string;
  readonly target: string;
  /** Options of the stream beside its table and key. */
  readonly stream?: object;
  readonly limits?: JournalOptions;
  /**
   * On which thread: 'worker' by default. 'plain': on the caller's, into a target that keeps no
   * books.
   */
  readonly loaders?: 'worker' | 'own' | 'plain';
}

export interface Rows {
  readonly first: number;
  readonly rows: number;
  readonly keys?: Keys;
}

/** Where the stream stands. */
export interface Standing {
  readonly accepted: number;
  readonly staged: number;
  readonly settled: number;
  readonly merged: number;
  readonly unaccounted: number;
  /** Transactions so far. */
  readonly batches: number;
  readonly rssMax: number;
}

/** Threads that take requests: as many as `serve` has, or HOLDFAST_BENCH_WORKERS. */
const workers = (): number =>
  Number(process.env['HOLDFAST_BENCH_WORKERS'] ?? defaults.server.workers);

const callsInFlight = 8;
/** A status asks the target, on a connection of its own: not too often. */
const pollMs = 30;
let running: { holdfast: Holdfast; server: RunningServer } | undefined;

function product() {
  if (!running) throw new Error('start comes first');
  return running;
}

async function start({ stream, loaders = 'worker', limits = {}, ...of }: Start): Promise<string> {
  const streams = { payments: { table: 'payments', key: ['tx_id'], ...stream } };
  const loaderThread = loaders === 'worker' ? 'worker' : 'own';
  const options = { ...of, streams, limits, loaderThread } as const;
  const holdfast = await open(
    options,
    ...(loaders === 'plain' ? [await plainPorts(of.target)] : []),
  );
  const server = await startServing(holdfast, { port: 0, workers: workers() });
  running = { holdfast, server };
  return server.url;
}

const plainPorts = async (url: string): Promise<Ports> => ({
  disk: systemDisk,
  clock: systemClock,
  target: withoutBooks(await openTarget(url, { clock: systemClock }), url),
});

/** Writes bodies, several in flight; each is on disk when the next takes its place. */
async function write({ first, rows, keys }: Rows): Promise<void> {
  const { holdfast } = product();
  let next = first;
  const caller = async (): Promise<void> => {
    const body = new Body();
    while (next < first + rows) {
      body.setKeys(next, keys);
      next += bodyRows;
      await holdfast.writeBytes('payments', body.bytes, { format: 'ndjson' });
    }
  };
  await Promise.all(Array.from({ length: callsInFlight }, caller));
}

async function status(): Promise<StreamStatus> {
  const stream = (await product().holdfast.status()).streams['payments'];
  if (!stream) throw new Error('the stream is open');
  const { state, reason } = stream;
  // Where a bench keeps the table locked, the stream is called held after a while.
  const isLocked = reason?.includes('lock timeout') === true;
  if (state === 'held' && !isLocked) throw new Error(`the stream is held: ${reason}`);
  return stream;
}

async function standing(): Promise<Standing> {
  const { accepted, merged, unaccounted, watermarks } = await status();
  const { staged, settled } = watermarks;
  const rssMax = process.resourceUsage().maxRSS / 1024;
  const batches = product().holdfast.metrics.mergeBatchRows.count;
  return { accepted, staged, settled, merged, unaccounted, batches, rssMax };
}

/** Waits until that watermark covers all that was accepted. */
async function reach({ mark }: { readonly mark: 'staged' | 'settled' }): Promise<Standing> {
  for (;;) {
    const now = await standing();
    if (now[mark] === now.accepted) return now;
    await sleep(pollMs);
  }
}

/** Without `drainMs`: when all is settled, or after the product's own patience. */
async function stop(options: { readonly drainMs?: number }): Promise<void> {
  const { holdfast, server } = product();
  await server.close();
  await holdfast.close(options);
}

answerCalls({ start, write, standing, reach, stop });
