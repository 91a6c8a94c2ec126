// Starts the threads of a ring under test (ring-worker.ts).
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { SideName } from '../../src/threads/ring-side.ts';
import type { Flow, Flown } from './ring-flow.ts';

export interface RingThread {
  readonly worker: Worker;
  /** Rejects where the thread fails, or is ended before. */
  readonly flown: Promise<Flown>;
}

export function startSide(side: SideName, memory: SharedArrayBuffer, flow: Flow): RingThread {
  const worker = new Worker(new URL('./ring-worker.ts', import.meta.url), {
    workerData: { side, memory, flow },
  });
  return { worker, flown: flownOf(worker) };
}

async function flownOf(worker: Worker): Promise<Flown> {
  const told = once(worker, 'message') as Promise<[Flown]>;
  const ended = once(worker, 'exit').then(() => {
    throw new Error('The thread ended before it had told.');
  });
  const [flown] = await Promise.race([told, ended]);
  return flown;
}
