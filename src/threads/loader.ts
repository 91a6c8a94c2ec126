// Entry of the loader thread: what feeds the target never waits behind a decode or a sync, which
// alone is worth a third of the rate (HOTPATH §4). Only the hand-over is here.
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.ts';
import { systemDisk } from '../disk.ts';
import { Loading, type LoadingCalls } from '../merge/loading.ts';
import type { LoadingEvents } from '../merge/stream.ts';
import { openTarget } from '../target/open.ts';
import { type Answer, type Call, type LoaderThreadStart, toFailure } from './messages.ts';

const port = parentPort;
if (!port) throw new Error('This file is the entry of a worker thread.');
const send = (answer: Answer): void => port.postMessage(answer);
const tell =
  (event: keyof LoadingEvents) =>
  (...args: unknown[]): void =>
    send({ event, args });

const start = workerData as LoaderThreadStart;
const loading: LoadingCalls = new Loading({
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

const calls = loading as unknown as Record<string, (...args: unknown[]) => unknown>;

port.on('message', ({ id, method, args }: Call) => {
  void (async () => {
    try {
      const value = await calls[method]?.call(loading, ...args);
      send({ id, value });
    } catch (error) {
      send({ id, failure: toFailure(error) });
    }
    if (method === 'stop') port.close();
  })();
});
