// The threads of one process of a simulation, where the plan says that it has some: messages between
// them take their time, each of them may stall, and one that dies ends the process.
import { HoldfastError } from '../../src/errors.ts';
import type { Ports } from '../../src/holdfast.ts';
import { serveLoading } from '../../src/threads/serve-loading.ts';
import type { Random } from '../../test/simulation/random.ts';
import type { ProcessClock } from '../../test/simulation/simulated-clock.ts';
import { SimulatedDeath, type SimulatedDisk } from '../../test/simulation/simulated-disk.ts';
import { SimulatedThread } from '../../test/simulation/simulated-thread.ts';
import type { ThreadName, ThreadsPlan } from './plan.ts';

export interface ThreadsParts {
  readonly plan: ThreadsPlan;
  readonly random: Random;
  readonly process: ProcessClock;
  readonly disk: SimulatedDisk;
  /** The target, as a thread with that clock reaches it. */
  readonly target: (clock: ProcessClock) => NonNullable<Ports['target']>;
  readonly see: (what: string) => void;
}

/** Of what a thread dies. */
class ThreadDeath extends Error {}

export class Threads {
  readonly core: ProcessClock;
  readonly #parts: ThreadsParts;
  #loader: SimulatedThread | undefined;
  /** One was told to die: its process leaves with a bug of its own, and the bug is ours. */
  #hasDied = false;

  constructor(parts: ThreadsParts) {
    this.#parts = parts;
    this.core = parts.process.thread();
  }

  /** What the process is opened with. */
  get ports(): Ports {
    const { disk, target, plan } = this.#parts;
    const own = { disk, clock: this.core, target: target(this.core) };
    return plan.hasLoader ? { ...own, startLoader: (start) => this.#startLoader(start) } : own;
  }

  stall(name: ThreadName, ms: number): void {
    const clock = name === 'core' ? this.core : this.#loader?.clock;
    if (!clock) return;
    clock.stopUntil(clock.monotonicMs() + ms);
    this.#parts.see(`threads that stalled: ${name}`);
  }

  die(isHeard: boolean): void {
    if (!this.#loader || this.#loader.clock.isEnded) return;
    this.#hasDied = true;
    this.#loader.die(new ThreadDeath('it was told to'), { isHeard });
    this.#parts.see('threads that died');
  }

  /** Whether the process may leave with it. */
  isDeath(error: unknown): boolean {
    return this.#hasDied && error instanceof HoldfastError && / thread ended: /.test(error.message);
  }

  #startLoader(start: Parameters<NonNullable<Ports['startLoader']>>[0]): SimulatedThread {
    const { process, disk, target, random, plan, see } = this.#parts;
    const own = process.thread();
    const delayMs = (): number => {
      see('messages between threads');
      return random.below(plan.delayMsMax + 1);
    };
    const thread = new SimulatedThread({ parent: this.core, own, delayMs }, (port) =>
      serveLoading(port, {
        ...start,
        clock: own,
        disk,
        target: target(own),
        onDeath: (error) => {
          // Where all of the process is dead, nobody hears of it.
          if (!(error instanceof SimulatedDeath)) thread.die(error, { isHeard: true });
        },
      }),
    );
    this.#loader = thread;
    return thread;
  }
}
