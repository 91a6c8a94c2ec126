// One process's connections to the simulated target. The server goes on with a call when the
// process that made it is dead or stopped: it may still commit. But no answer comes to a dead
// process, and a stopped one hears it when it goes on.
import type { Capabilities, Session, Target } from '../../src/target/target.ts';
import type { ProcessClock } from './simulated-clock.ts';

export class ProcessTarget implements Target {
  readonly #target: Target;
  readonly #clock: ProcessClock;

  constructor(target: Target, clock: ProcessClock) {
    this.#target = target;
    this.#clock = clock;
  }

  get capabilities(): Capabilities {
    return this.#target.capabilities;
  }

  connect(): Promise<Session> {
    return heard(this.#clock, () => this.#target.connect()).then((session) =>
      connected(session, this.#clock),
    );
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}

/** What `call` resolves or rejects to, once the process can hear it; never where it is dead. */
function heard<T>(clock: ProcessClock, call: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    if (clock.isEnded) return;
    const listen = async (): Promise<void> => {
      if (clock.stoppedUntilMs > clock.monotonicMs()) await clock.sleep(0);
    };
    const answer = async (tell: () => void): Promise<void> => {
      await listen();
      if (!clock.isEnded) tell();
    };
    call().then(
      (value) => answer(() => resolve(value)),
      (error: unknown) => answer(() => reject(error)),
    );
  });
}

/** The same object for one process: each of its calls, and those of what it holds, are as above. */
function connected<T extends object>(session: T, clock: ProcessClock): T {
  return new Proxy(session, {
    get(own, name) {
      const value: unknown = Reflect.get(own, name, own);
      if (typeof value === 'object' && value !== null) return connected(value, clock);
      if (typeof value !== 'function') return value;
      if (name === 'destroy') return () => void value.call(own);
      return (...given: unknown[]) =>
        heard(clock, () => value.apply(own, given) as Promise<unknown>);
    },
  });
}
