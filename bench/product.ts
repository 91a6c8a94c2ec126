// The product of bench path in a process of its own: a Holdfast with its server, and a caller of the
// library beside it.
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { open } from '../src/holdfast.ts';
import { type RunningServer, startServer } from '../src/server/server.ts';
import type { Holdfast } from '../src/types.ts';
import { answerCalls } from './children.ts';
import { Body, bodyRows } from './payments.ts';

export interface Start {
  readonly journal: string;
  readonly target: string;
}

export interface Rows {
  readonly first: number;
  readonly rows: number;
}

/** Counts of the stream once nothing of it is in flight. */
export interface Settled {
  readonly accepted: number;
  readonly merged: number;
  readonly unaccounted: number;
  readonly rssMax: number;
}

const callsInFlight = 8;
/** A status asks the target, on a connection of its own: not too often. */
const pollMs = 30;
let running: { holdfast: Holdfast; server: RunningServer } | undefined;

function product() {
  if (!running) throw new Error('start comes first');
  return running;
}

async function start({ journal, target }: Start): Promise<string> {
  const streams = { payments: { table: 'payments', key: ['tx_id'] } };
  const holdfast = await open({ journal, target, streams });
  const server = await startServer(holdfast, { port: 0 });
  running = { holdfast, server };
  return server.url;
}

/** Writes bodies, several in flight; each is on disk when the next takes its place. */
async function write({ first, rows }: Rows): Promise<void> {
  const { holdfast } = product();
  let next = first;
  const caller = async (): Promise<void> => {
    const body = new Body();
    while (next < first + rows) {
      body.setKeys(next);
      next += bodyRows;
      await holdfast.writeBytes('payments', body.bytes, { format: 'ndjson' });
    }
  };
  await Promise.all(Array.from({ length: callsInFlight }, caller));
}

async function settle(): Promise<Settled> {
  const { holdfast } = product();
  for (;;) {
    const stream = (await holdfast.status()).streams['payments'];
    if (!stream) throw new Error('the stream is open');
    const { accepted, merged, unaccounted, inFlight, reason } = stream;
    if (reason !== undefined) throw new Error(`the stream is held: ${reason}`);
    const rssMax = process.resourceUsage().maxRSS / 1024;
    if (inFlight === 0) return { accepted, merged, unaccounted, rssMax };
    await sleep(pollMs);
  }
}

async function stop(): Promise<void> {
  const { holdfast, server } = product();
  await server.close();
  await holdfast.close();
}

answerCalls({ start, write, settle, stop });
