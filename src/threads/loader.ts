// Entry of the loader thread: what feeds the target never waits behind a decode or a sync, which
// alone is worth a third of the rate (HOTPATH §4). Only the hand-over is here.
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.ts';
import { systemDisk } from '../disk.ts';
import { Loading } from '../merge/loading.ts';
import type { LoadingEvents } from '../merge/stream.ts';
import { openTarget } from '../target/open.ts';
import { Calls, type Message } from './calls.ts';
import type { LoaderThreadStart } from './remote-loading.ts';

const port = parentPort;
if (!port) throw new Error('This file is the entry of a worker thread.');
const tell =
  (event: keyof LoadingEvents) =>
  (...args: readonly unknown[]): void =>
    calls.tell(event, ...args);

const start = workerData as LoaderThreadStart;
const loading = new Loading({
  ...start,
  clock: systemClock,
  disk: systemDisk,
  target: await openTarget(start.target, { clock: systemClock, positions: start.positions }),
  events: {
    onTable: tell('onTable'),
    onLanes: tell('onLanes'),
    onStaged: tell('onStaged'),
    onSettled: tell('onSettled'),
    onConfirmed: tell('onConfirmed'),
    onState: tell('onState'),
    onRetry: tell('onRetry'),
    onBatch: tell('onBatch'),
  },
});
/** Of a thread, an uncaught error ends it, and its parent hears of it. */
const die = (error: unknown): void => {
  throw error;
};
const calls = new Calls(port, loading, die);

port.on('message', (messages: readonly Message[]) => {
  const isLast = messages.some((one) => 'method' in one && one.method === 'stop');
  void calls.take(messages).then(() => {
    if (isLast) port.close();
  });
});
