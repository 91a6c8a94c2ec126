// The only file that reads time or randomness. Everything else asks a Clock, so that a simulator
// can run the whole core in virtual time from one seed.
import { randomBytes, randomUUID } from 'node:crypto';

export interface Clock {
  /** Milliseconds since 1970, UTC; may jump. For people and for records, never for durations. */
  wallMs(): number;
  /** Milliseconds that never go back. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Runs `task` after the I/O that is ready now; all that one turn accepts shares one sync. */
  soon(task: () => void): void;
  /** A number in [0, 1). */
  random(): number;
  /** 32 random bits, unsigned. */
  random32(): number;
  uuid(): string;
}

/** Why a sleep ends early. Without a reason `abort` makes an Error with its stack, each time. */
export const woken = 'woken';

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener('abort', done, { once: true });
    }),
  soon: (task) => {
    setImmediate(task);
  },
  random: () => Math.random(),
  random32: () => randomBytes(4).readUInt32LE(),
  uuid: () => randomUUID(),
};
