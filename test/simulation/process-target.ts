// One process's connections to the simulated target. The server goes on with a call when the
// process that made it is dead or stopped: it may still commit. But no answer comes to a dead
// process, and a stopped one hears it when it goes on.
import type { Capabilities, Claim, Session, Target } from '../../src/target/target.ts';
import type { ProcessClock } from './simulated-clock.ts';
import { SimulatedDeath } from './simulated-disk.ts';

interface Process {
  readonly clock: ProcessClock;
  /** Under what name it claims lanes. */
  readonly owner: string;
  /** It dies of a call of its own: its disk goes too. */
  readonly die: () => void;
}

export class ProcessTarget implements Target {
  readonly #target: Target;
  readonly #process: Process;

  constructor(target: Target, process: Process) {
    this.#target = target;
    this.#process = process;
  }

  get capabilities(): Capabilities {
    return this.#target.capabilities;
  }

  connect(): Promise<Session> {
    return heard(this.#process, () => this.#target.connect()).then((session) =>
      connected(session, this.#process),
    );
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}

/** What `call` resolves or rejects to, once the process can hear it; never where it is dead. */
function heard<T>({ clock, die }: Process, call: () => Promise<T>): Promise<T> {
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
      (error: unknown) => {
        if (error instanceof SimulatedDeath) die();
        return answer(() => reject(error));
      },
    );
  });
}

/** The same object for one process: each of its calls, and those of what it holds, are as above. */
function connected<T extends object>(session: T, process: Process): T {
  const { owner } = process;
  return new Proxy(session, {
    get(own, name) {
      const value: unknown = Reflect.get(own, name, own);
      if (typeof value === 'object' && value !== null) return connected(value, process);
      if (typeof value !== 'function') return value;
      if (name === 'destroy') return () => void value.call(own);
      if (name === 'claim') {
        const claim = value as Session['claim'];
        return (of: Claim) => heard(process, () => claim.call(own, { ...of, owner }));
      }
      return (...given: unknown[]) =>
        heard(process, () => value.apply(own, given) as Promise<unknown>);
    },
  });
}
