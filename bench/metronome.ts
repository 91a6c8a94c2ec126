// Ticks at exact times, for what is paced: a thread that waits in the kernel, because a timer of
// the event loop comes up to a millisecond late, which is as long as what is measured.
import process from 'node:process';
import { parentPort, Worker, workerData } from 'node:worker_threads';

/** Milliseconds of the machine's monotonic clock: the same in every thread and process. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export interface Beat {
  /** When the first tick is due, by `monotonicMs`. */
  readonly from: number;
  readonly everyMs: number;
  readonly ticks: number;
}

/** Calls `tick` with the number of each tick, when it is due; resolves after the last one. */
export function beat(of: Beat, tick: (number: number) => void): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: of });
  worker.on('message', tick);
  return new Promise((resolve, reject) => {
    worker.on('error', reject);
    worker.on('exit', () => resolve());
  });
}

if (parentPort) {
  const { from, everyMs, ticks } = workerData as Beat;
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (let number = 0; number < ticks; number++) {
    const leftMs = from + number * everyMs - monotonicMs();
    if (leftMs > 0) Atomics.wait(never, 0, 0, leftMs);
    parentPort.postMessage(number);
  }
}
