// Entry of the loader thread: what feeds the target never waits behind a decode or a sync, which
// alone is worth a third of the rate (HOTPATH §4). Only the hand-over is here.
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.ts';
import { systemDisk } from '../disk.ts';
import { openTarget } from '../target/open.ts';
import type { LoaderThreadStart } from './remote-loading.ts';
import { serveLoading } from './serve-loading.ts';

if (!parentPort) throw new Error('This file is the entry of a worker thread.');
const start = workerData as LoaderThreadStart;
serveLoading(parentPort, {
  ...start,
  clock: systemClock,
  disk: systemDisk,
  target: await openTarget(start.target, { clock: systemClock, positions: start.positions }),
});
