// The threads of one process of a simulation, where its plan has some: messages between them take
// their time, each of them may stall, and one that dies ends the process.
import { HoldfastError } from '../../src/errors.ts';
import type { Opened, Ports } from '../../src/holdfast.ts';
import type { RunningServer } from '../../src/server/server.ts';
import { startAccepting } from '../../src/threads/accepting.ts';
import { type AcceptStart, reachCore } from '../../src/threads/reach-core.ts';
import type { RemoteHoldfast } from '../../src/threads/remote-holdfast.ts';
import type { LoaderThreadStart } from '../../src/threads/remote-loading.ts';
import { ringWords } from '../../src/threads/ring.ts';
import type { RingTurns } from '../../src/threads/ring-side.ts';
import { serveLoading } from '../../src/threads/serve-loading.ts';
import type { ParentPort, Thread } from '../../src/threads/thread.ts';
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

/** An accept worker, as its clients reach it. */
export interface Door {
  /** Resolves when the worker comes to what was sent to it. */
  enter(): Promise<RemoteHoldfast>;
}

/** Of what a thread dies. */
class ThreadDeath extends Error {}

export class Threads {
  readonly core: ProcessClock;
  readonly #parts: ThreadsParts;
  readonly #all: { readonly name: ThreadName; readonly thread: SimulatedThread }[] = [];
  readonly #doors: Door[] = [];
  /** One was told to die: its process leaves with a bug of its own, and the bug is ours. */
  #hasDied = false;

  constructor(parts: ThreadsParts) {
    this.#parts = parts;
    this.core = parts.process.thread(() => this.#delayMs());
  }

  /** What the process is opened with. */
  get ports(): Ports {
    const { disk, target, plan } = this.#parts;
    const own = { disk, clock: this.core, target: target(this.core) };
    return plan.hasLoader ? { ...own, startLoader: (start) => this.#startLoader(start) } : own;
  }

  /** Its server, where it has accept workers. */
  async startAccepting(holdfast: Opened): Promise<RunningServer | undefined> {
    const { acceptWorkers: workers, ringBytes } = this.#parts.plan;
    if (workers === 0) return undefined;
    const startWorker = (start: AcceptStart): Thread => this.#startWorker(start);
    const ports = { startWorker, ringBytes, turns: this.#turns(this.core) };
    return startAccepting(holdfast, { workers }, ports);
  }

  /** An accept worker for a client, where it sends to those. */
  door(client: number): Door | undefined {
    const { plan, random } = this.#parts;
    return client < plan.clientsOfWorkers ? random.pick(this.#doors) : undefined;
  }

  stall(name: ThreadName, ms: number): void {
    const clock = name === 'core' ? this.core : this.#named(name)?.clock;
    if (!clock) return;
    clock.stopUntil(clock.monotonicMs() + ms);
    this.#parts.see(`threads that stalled: ${name}`);
  }

  die(name: ThreadName, isHeard: boolean): void {
    const thread = this.#named(name);
    if (!thread || thread.clock.isEnded) return;
    this.#hasDied = true;
    thread.die(new ThreadDeath('it was told to'), { isHeard });
    this.#parts.see(`threads that died: ${name}`);
  }

  /** Whether the process may leave with it. */
  isDeath(error: unknown): boolean {
    const isOfThread =
      error instanceof HoldfastError && /it was told to|exit code/.test(error.message);
    return this.#hasDied && isOfThread;
  }

  #delayMs(): number {
    const { random, plan } = this.#parts;
    return random.below(plan.delayMsMax + 1);
  }

  #named(name: ThreadName): SimulatedThread | undefined {
    const named = this.#all.filter((one) => one.name === name);
    return named.length > 0 ? this.#parts.random.pick(named).thread : undefined;
  }

  #startLoader(start: LoaderThreadStart): Thread {
    const { disk, target } = this.#parts;
    return this.#start('loader', (port, clock, die) =>
      serveLoading(port, { ...start, clock, disk, target: target(clock), onDeath: die }),
    );
  }

  #startWorker(start: AcceptStart): Thread {
    // In the place of its HTTP server.
    const methods = {
      start: () => 'http://simulated:1',
      close: () => undefined,
      answered: () => ({ answers: new Map(), bodyBytes: 0 }),
    };
    return this.#start('accept worker', (port, clock) => {
      const remote = reachCore(port, start, { methods, turns: this.#turns(clock) });
      this.#doors.push({ enter: () => clock.sleep(0).then(() => remote) });
    });
  }

  #start(
    name: ThreadName,
    main: (port: ParentPort, clock: ProcessClock, die: (error: Error) => void) => void,
  ): Thread {
    const { process, see } = this.#parts;
    const own = process.thread();
    const messages = `messages between threads: ${name}`;
    const delayMs = (): number => {
      see(messages);
      return this.#delayMs();
    };
    const thread = new SimulatedThread({ parent: this.core, own, delayMs }, (port) =>
      main(port, own, (error) => {
        // Where all of the process is dead, nobody hears of it.
        if (!(error instanceof SimulatedDeath)) thread.die(error, { isHeard: true });
      }),
    );
    this.#all.push({ name, thread });
    return thread;
  }

  /** At a ring a thread wakes a little later than it might. */
  #turns(clock: ProcessClock): RingTurns {
    const { see } = this.#parts;
    return {
      turn: () => clock.sleep(0),
      changed: async (words, word, value) => {
        if (word === ringWords.producer) see('rings that were full');
        await clock.until(() => Atomics.load(words, word) !== value);
        await clock.sleep(this.#delayMs());
      },
    };
  }
}
