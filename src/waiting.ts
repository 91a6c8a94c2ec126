// Waiting for a level, or not any more.
import type { Clock } from './clock.ts';
import { HoldfastError } from './errors.ts';

/** `awaited`, or undefined after so long: then nobody hears of it, nor of its failure. */
export async function within<T>(
  clock: Clock,
  ms: number,
  awaited: Promise<T>,
): Promise<T | undefined> {
  const enough = new AbortController();
  const late = clock.sleep(ms, enough.signal).then(() => undefined);
  try {
    return await Promise.race([awaited, late]);
  } finally {
    enough.abort();
    awaited.catch(() => undefined);
  }
}

/** `awaited`, or HF_NOT_SETTLED when `signal` aborts first: the rows stay written. */
export async function unlessAborted<T>(
  awaited: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (!signal) return awaited;
  const refusal = (): HoldfastError =>
    new HoldfastError('HF_NOT_SETTLED', 'The rows are on disk and not settled yet.');
  let abort = (): void => undefined;
  const gaveUp = new Promise<never>((_, reject) => {
    abort = () => reject(refusal());
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([awaited, gaveUp]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
