// The loaders' side, seen from the main thread: each call crosses to the loader thread and back.
import { Worker } from 'node:worker_threads';
import { HoldfastError, isErrorCode } from '../errors.ts';
import { diskFailure } from '../journal/disk-failure.ts';
import type { LoadingCalls } from '../merge/loading.ts';
import type { LoadingEvents } from '../merge/stream.ts';
import { Calls } from './calls.ts';
import type { Thread } from './thread.ts';

export interface LoaderThreadStart {
  readonly target: string;
  readonly directory: string;
  readonly writer: string;
  readonly owner: string;
  readonly createTables: boolean;
  readonly positions: boolean;
}

const notices = new Set(['openStream', 'extend', 'hurry']);

export function startLoaderThread(start: LoaderThreadStart): Thread {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new Worker(new URL(`./loader.${extension}`, import.meta.url), {
    workerData: start,
    // Batches are short-lived and large: a roomy nursery only grows the process (466 to 354 MB of
    // RSS in `bench path`).
    resourceLimits: { maxYoungGenerationSizeMb: 24 },
  });
}

/**
 * What a loader thread does for its parent. `onDeath` is called if the thread ends without having
 * been stopped, or if what it told cannot be taken in: nothing acknowledged is lost by it, but
 * nothing is merged or remembered any more, so the process should leave.
 */
export function remoteLoading(
  thread: Thread,
  events: LoadingEvents,
  onDeath: (error: Error) => void,
): LoadingCalls {
  // Thrown from an event, an error would end the process that we are a guest in.
  const calls = new Calls(thread, events, (error) =>
    onDeath(error instanceof Error ? error : new Error(String(error))),
  );
  let isDead = false;
  let isStopping = false;
  const die = (of: unknown): void => {
    if (isDead) return;
    isDead = true;
    const death = deathOf(of);
    calls.end(death);
    if (!isStopping) onDeath(death);
  };
  thread.on('message', (messages) => void calls.take(messages));
  thread.on('error', die);
  thread.on('exit', (code) => die(`exit code ${code}`));
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

/**
 * An error that has crossed is of no class of ours any more; its `code` still tells what it was:
 * ours, or the disk's.
 */
function deathOf(of: unknown): HoldfastError {
  const told = diskFailure(of);
  if (told instanceof HoldfastError) return told;
  const code = of instanceof Error && 'code' in of && isErrorCode(of.code) ? of.code : 'HF_BUG';
  const why = of instanceof Error ? of.message : String(of);
  return new HoldfastError(code, `The loader thread ended: ${why}.`, { cause: of });
}
