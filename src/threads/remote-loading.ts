// The loaders' side, seen from the main thread: each call crosses to the loader thread and back.
import { Worker } from 'node:worker_threads';
import { HoldfastError } from '../errors.ts';
import type { LoadingCalls } from '../merge/loading.ts';
import type { LoadingEvents } from '../merge/stream.ts';
import { Calls, type Message } from './calls.ts';

export interface LoaderThreadStart {
  readonly target: string;
  readonly directory: string;
  readonly writer: string;
  readonly owner: string;
  readonly createTables: boolean;
  readonly positions: boolean;
}

const notices = new Set(['openStream', 'extend', 'hurry']);

/**
 * Starts the loader thread. `onDeath` is called if the thread ends without having been stopped, or
 * if what it told cannot be taken in: nothing acknowledged is lost by it, but nothing is merged or
 * remembered any more, so the process should leave.
 */
export function startLoaderThread(
  start: LoaderThreadStart,
  events: LoadingEvents,
  onDeath: (error: Error) => void,
): LoadingCalls {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const worker = new Worker(new URL(`./loader.${extension}`, import.meta.url), {
    workerData: start,
    // Batches are short-lived and large: a roomy nursery only grows the process (466 to 354 MB of
    // RSS in `bench path`).
    resourceLimits: { maxYoungGenerationSizeMb: 24 },
  });
  // Thrown from an event, an error would end the process that we are a guest in.
  const calls = new Calls(worker, events, (error) =>
    onDeath(error instanceof Error ? error : new Error(String(error))),
  );
  let isDead = false;
  let isStopping = false;
  const die = (why: string): void => {
    if (isDead) return;
    isDead = true;
    const death = new HoldfastError('HF_BUG', `The loader thread ended: ${why}.`);
    calls.end(death);
    if (!isStopping) onDeath(death);
  };
  worker.on('message', (messages: readonly Message[]) => void calls.take(messages));
  worker.on('error', (error) => die(error instanceof Error ? error.message : String(error)));
  worker.on('exit', (code) => die(`exit code ${code}`));
  const ask = (method: string, args: readonly unknown[]): Promise<unknown> | undefined => {
    if (method === 'stop') isStopping = true;
    if (!notices.has(method)) return calls.call(method, ...args);
    calls.tell(method, ...args);
    return undefined;
  };
  return new Proxy({} as LoadingCalls, {
    get:
      (_, method) =>
      (...args: unknown[]) =>
        ask(String(method), args),
  });
}
