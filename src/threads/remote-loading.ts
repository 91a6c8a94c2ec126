// The loaders' side, seen from the main thread: each call crosses to the loader thread and back.
import { Worker } from 'node:worker_threads';
import { HoldfastError } from '../errors.ts';
import type { LoadingCalls } from '../merge/loading.ts';
import type { LoadingEvents } from '../merge/stream.ts';
import { type Answer, fromFailure, type LoaderThreadStart } from './messages.ts';

interface Waiter {
  resolve(value: unknown): void;
  reject(error: HoldfastError): void;
}

const ownCalls = new Set(['openStream', 'extend', 'hurry']);

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
  const waiting = new Map<number, Waiter>();
  const listeners = events as unknown as Record<string, (...args: unknown[]) => void>;
  let nextId = 1;
  let death: HoldfastError | undefined;
  let isStopping = false;
  const die = (why: string): void => {
    if (death) return;
    death = new HoldfastError('HF_BUG', `The loader thread ended: ${why}.`);
    for (const waiter of waiting.values()) waiter.reject(death);
    waiting.clear();
    if (!isStopping) onDeath(death);
  };
  /** Thrown from here, an error would end the process that we are a guest in. */
  const tell = (event: string, args: readonly unknown[]): void => {
    try {
      listeners[event]?.(...args);
    } catch (error) {
      onDeath(error instanceof Error ? error : new Error(String(error)));
    }
  };
  worker.on('message', (answer: Answer) => {
    if ('event' in answer) {
      tell(answer.event, answer.args);
      return;
    }
    const waiter = waiting.get(answer.id);
    waiting.delete(answer.id);
    if ('failure' in answer) waiter?.reject(fromFailure(answer.failure));
    else waiter?.resolve(answer.value);
  });
  worker.on('error', (error) => die(error instanceof Error ? error.message : String(error)));
  worker.on('exit', (code) => die(`exit code ${code}`));
  const call = (method: string, args: readonly unknown[]): Promise<unknown> | undefined => {
    if (method === 'stop') isStopping = true;
    if (ownCalls.has(method)) {
      worker.postMessage({ id: 0, method, args });
      return undefined;
    }
    if (death) return Promise.reject(death);
    const id = nextId++;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      worker.postMessage({ id, method, args });
    });
  };
  return new Proxy({} as LoadingCalls, {
    get:
      (_, method) =>
      (...args: unknown[]) =>
        call(String(method), args),
  });
}
