// Virtual time, moved by hand: nothing sleeps for real, and the seed decides the random numbers
// and who of those that wake at the same instant wakes first. A process has a view of its own
// (`process`), which can be ended or stopped while the rest of the world goes on.
import type { Clock } from '../../src/clock.ts';
import { Random } from './random.ts';

export interface SimulatedClockOptions {
  readonly seed?: number;
  /** Wall time at the start, milliseconds since 1970. */
  readonly wallMs?: number;
  /** Nothing waits for the real world (a turn of its event loop, a file): then it is faster. */
  readonly isAlone?: boolean;
}

interface Sleeper {
  readonly at: number;
  readonly rank: number;
  readonly of: ProcessClock | undefined;
  readonly wake: () => void;
  /** Node keeps a composed signal for ever that somebody listens to (AbortSignal.any). */
  readonly deafen: () => void;
}

interface Task {
  readonly of: ProcessClock | undefined;
  readonly run: () => void;
}

interface Watcher {
  readonly of: ProcessClock;
  readonly isSo: () => boolean;
  readonly wake: () => void;
}

/** A process's view of the clock, or a thread's. */
export class ProcessClock implements Clock {
  readonly #clock: SimulatedClock;
  readonly #process: ProcessClock | undefined;
  readonly #busyMs: () => number;
  #isEnded = false;
  #stoppedUntilMs = 0;

  constructor(clock: SimulatedClock, process?: ProcessClock, busyMs = (): number => 0) {
    this.#clock = clock;
    this.#process = process;
    this.#busyMs = busyMs;
  }

  /**
   * A view for one of its threads, which ends and stops with the process, or alone. `busyMs`: how
   * long it has other things to do before it comes to a task, while the others go on.
   */
  thread(busyMs?: () => number): ProcessClock {
    return new ProcessClock(this.#clock, this, busyMs);
  }

  /** The process is gone: what waits here, now or later, is never woken. */
  end(): void {
    this.#isEnded = true;
    this.#clock.abandon(this);
  }

  get isEnded(): boolean {
    return this.#isEnded || this.#process?.isEnded === true;
  }

  /** As by SIGSTOP: until that time nothing of it is woken. */
  stopUntil(ms: number): void {
    this.#stoppedUntilMs = Math.max(this.#stoppedUntilMs, ms);
  }

  get stoppedUntilMs(): number {
    return Math.max(this.#stoppedUntilMs, this.#process?.stoppedUntilMs ?? 0);
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (this.isEnded) return new Promise(() => undefined);
    return this.#clock.sleep(ms, signal, this);
  }

  /** Resolves after `isSo`, which is asked whenever something has happened. */
  async until(isSo: () => boolean): Promise<void> {
    await this.#clock.until(isSo, this);
    if (this.isEnded || this.stoppedUntilMs > this.monotonicMs()) await this.sleep(0);
  }

  soon(task: () => void): void {
    if (this.isEnded) return;
    const busyMs = this.#busyMs();
    if (busyMs > 0) void this.sleep(busyMs).then(task);
    else this.#clock.soon(task, this);
  }

  random(): number {
    return this.#clock.random();
  }

  random32(): number {
    return this.#clock.random32();
  }

  uuid(): string {
    return this.#clock.uuid();
  }
}

/** Lets every promise that can go on do so; microtasks end before the next turn begins. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** The same without a system call, where nobody else puts anything off to the next tick. */
const nextTick = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

export class SimulatedClock implements Clock {
  readonly #random: Random;
  #nowMs = 0;
  #wallMs: number;
  #sleepers: Sleeper[] = [];
  #tasks: Task[] = [];
  #watchers: Watcher[] = [];
  readonly #work = new Set<Promise<unknown>>();

  readonly #settle: () => Promise<void>;

  constructor(options: SimulatedClockOptions = {}) {
    const { seed = 1, wallMs = Date.UTC(2026, 0, 1), isAlone = false } = options;
    this.#random = new Random(seed);
    this.#wallMs = wallMs;
    this.#settle = isAlone ? nextTick : nextTurn;
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

  /** A view of its own for a process. */
  process(): ProcessClock {
    return new ProcessClock(this);
  }

  sleep(ms: number, signal?: AbortSignal, of?: ProcessClock): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const sleeper: Sleeper = {
        at: this.#nowMs + Math.max(ms, 0),
        rank: this.#random.next32(),
        of,
        deafen: () => signal?.removeEventListener('abort', sleeper.wake),
        wake: () => {
          sleeper.deafen();
          const at = this.#sleepers.indexOf(sleeper);
          if (at !== -1) this.#sleepers.splice(at, 1);
          resolve();
        },
      };
      signal?.addEventListener('abort', sleeper.wake, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  until(isSo: () => boolean, of: ProcessClock): Promise<void> {
    return new Promise((wake) => this.#watchers.push({ of, isSo, wake }));
  }

  soon(run: () => void, of?: ProcessClock): void {
    this.#tasks.push({ of, run });
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

  /** A process died: what waits in it is never woken; without one, nothing at all is. */
  abandon(of?: ProcessClock): void {
    const isLeft = (one: Sleeper | Task | Watcher): boolean => of !== undefined && !one.of?.isEnded;
    for (const sleeper of this.#sleepers) if (!isLeft(sleeper)) sleeper.deafen();
    this.#sleepers = this.#sleepers.filter(isLeft);
    this.#tasks = this.#tasks.filter(isLeft);
    this.#watchers = this.#watchers.filter(isLeft);
  }

  /** Runs what is ready; where nothing was, wakes the next sleeper, up to `until`. */
  async #step(until: number): Promise<boolean> {
    await this.#settle();
    while (this.#work.size > 0) {
      await Promise.allSettled(this.#work);
      await this.#settle();
    }
    const tasks = this.#tasks.filter((task) => !this.#isStopped(task));
    if (tasks.length > 0) {
      this.#tasks = this.#tasks.filter((task) => this.#isStopped(task));
      for (const task of tasks) task.run();
      return true;
    }
    const seen = this.#watchers.find(({ isSo }) => isSo());
    if (seen) {
      this.#watchers.splice(this.#watchers.indexOf(seen), 1);
      seen.wake();
      return true;
    }
    const next = this.#next();
    if (!next || dueMs(next) > until) return false;
    this.#nowMs = Math.max(this.#nowMs, dueMs(next));
    next.wake();
    await this.#settle();
    return true;
  }

  #isStopped({ of }: Task): boolean {
    return of !== undefined && of.stoppedUntilMs > this.#nowMs;
  }

  #next(): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const one of this.#sleepers) {
      if (!first) first = one;
      else if (dueMs(one) < dueMs(first)) first = one;
      else if (dueMs(one) === dueMs(first) && one.rank < first.rank) first = one;
    }
    // What a stopped process had ready runs once it goes on.
    const wakes = this.#tasks.map(({ of }) => of?.stoppedUntilMs ?? this.#nowMs);
    const wakeMs = Math.min(...wakes);
    if (wakes.length === 0 || (first && dueMs(first) <= wakeMs)) return first;
    const nothing = () => undefined;
    return { at: wakeMs, rank: 0, of: undefined, wake: nothing, deafen: nothing };
  }
}

const dueMs = ({ at, of }: Sleeper): number => Math.max(at, of?.stoppedUntilMs ?? 0);
