// Waiting for a level, or not any more.
import { HoldfastError } from './errors.ts';

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
