// Virtual time, moved by hand: nothing sleeps for real, and the seed decides the random numbers
// and who of those that wake at the same instant wakes first.
import type { Clock } from '../../src/clock.ts';
import { Random } from './random.ts';

export interface SimulatedClockOptions {
  readonly seed?: number;
  /** Wall time at the start, milliseconds since 1970. */
  readonly wallMs?: number;
}

interface Sleeper {
  readonly at: number;
  readonly rank: number;
  readonly wake: () => void;
}

/** Lets every promise that can go on do so; microtasks end before the next turn begins. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class SimulatedClock implements Clock {
  readonly #random: Random;
  #nowMs = 0;
  #wallMs: number;
  #sleepers: Sleeper[] = [];
  #tasks: (() => void)[] = [];
  readonly #work = new Set<Promise<unknown>>();

  constructor({ seed = 1, wallMs = Date.UTC(2026, 0, 1) }: SimulatedClockOptions = {}) {
    this.#random = new Random(seed);
    this.#wallMs = wallMs;
  }

  wallMs(): number {
    return this.#wallMs + this.#nowMs;
  }

  /** Somebody sets the wall clock; monotonic time does not notice. */
  jump(ms: number): void {
    this.#wallMs += ms;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const sleeper: Sleeper = {
        at: this.#nowMs + Math.max(ms, 0),
        rank: this.#random.next32(),
        wake: () => {
          signal?.removeEventListener('abort', sleeper.wake);
          this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
          resolve();
        },
      };
      signal?.addEventListener('abort', sleeper.wake, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  soon(task: () => void): void {
    this.#tasks.push(task);
  }

  random(): number {
    return this.#random.next();
  }

  random32(): number {
    return this.#random.next32();
  }

  uuid(): string {
    const hex = [1, 2, 3, 4].map(() => this.random32().toString(16).padStart(8, '0')).join('');
    const parts = [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`];
    return `${parts.join('-')}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
  }

  /**
   * Moves time from sleeper to sleeper until `work` is done, and returns what it resolves to.
   * Throws where nobody sleeps and nothing is to be done, or where `msMax` of virtual time have
   * passed.
   */
  async run<T>(work: Promise<T>, msMax = 24 * 60 * 60 * 1000): Promise<T> {
    let isDone = false;
    const end = () => {
      isDone = true;
    };
    // Its rejection is the caller's; here it only ends the loop.
    work.then(end, end);
    const until = this.#nowMs + msMax;
    while (!isDone) {
      const hasMoved = await this.#step(until);
      if (!hasMoved && !isDone) {
        throw new Error(`nothing happens any more at ${this.#nowMs} ms, and the work is not done`);
      }
    }
    return work;
  }

  /** Lets `ms` pass, with all that happens in them. */
  async advance(ms: number): Promise<void> {
    const until = this.#nowMs + ms;
    while (await this.#step(until));
    this.#nowMs = until;
  }

  /** Time stands still while `work` of the real world goes on. */
  async during<T>(work: Promise<T>): Promise<T> {
    this.#work.add(work);
    try {
      return await work;
    } finally {
      this.#work.delete(work);
    }
  }

  /** The process died: what waits here is never woken. */
  abandon(): void {
    this.#sleepers = [];
    this.#tasks = [];
  }

  /** Runs what is ready; where nothing was, wakes the next sleeper, up to `until`. */
  async #step(until: number): Promise<boolean> {
    await settle();
    while (this.#work.size > 0) {
      await Promise.allSettled(this.#work);
      await settle();
    }
    const tasks = this.#tasks.splice(0);
    for (const task of tasks) task();
    if (tasks.length > 0) return true;
    const [next] = this.#sleepers.toSorted((a, b) => a.at - b.at || a.rank - b.rank);
    if (!next || next.at > until) return false;
    this.#nowMs = Math.max(this.#nowMs, next.at);
    next.wake();
    await settle();
    return true;
  }
}
