// Which methods of disk and target have been seen to fail by an injected fault, told where they are
// called: so that one that no world calls, or whose failure is swallowed below, is found missing.
import { type Disk, systemDisk } from '../src/disk.ts';
import { type Target, TargetError } from '../src/target/target.ts';
import { ProcessTarget } from '../test/simulation/process-target.ts';
import { SimulatedDisk } from '../test/simulation/simulated-disk.ts';
import { SimulatedSession } from '../test/simulation/simulated-session.ts';
import { SimulatedStaging } from '../test/simulation/simulated-staging.ts';

type Kind = 'Disk' | 'DiskFile' | 'DiskLock' | 'Target' | 'Session' | 'Staging';

/** What these methods give is watched, too. */
const givenBy: Readonly<Record<string, Kind>> = {
  'Disk.open': 'DiskFile',
  'Disk.lock': 'DiskLock',
  'Target.connect': 'Session',
};

/** Faults cannot strike these, or no process that has a journal calls them. */
const exempt = new Set([
  // Of an open file, from the kernel's memory.
  'DiskFile.size',
  // Nothing that was synced is lost with it, and nothing else is relied upon.
  'DiskFile.close',
  'DiskLock.release',
  // They end what nobody needs any more, and no dialect's gives an error.
  'Target.close',
  'Session.close',
  'Session.destroy',
  // `holdfast init` alone, before there is a journal.
  'Session.tableNames',
  // `holdfast archive` alone, beside a process: test/archive-cli.test.ts.
  'Staging.partitions',
  'Staging.archivePage',
  'Staging.waiting',
]);

/** The names of an object's methods, its prototype's with them. */
function methodsOf(object: object): string[] {
  const names = new Set<string>();
  for (let at = object; at !== Object.prototype; at = Object.getPrototypeOf(at) as object) {
    for (const [name, of] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (typeof of.value === 'function' && name !== 'constructor') names.add(name);
    }
  }
  return [...names];
}

function objects(): Readonly<Record<Kind, object>> {
  const disk = new SimulatedDisk();
  disk.makeDirectory('/');
  return {
    // The simulated ones have methods for who injects faults, too.
    Disk: systemDisk,
    Target: ProcessTarget.prototype,
    DiskFile: disk.open('/file', 'create'),
    DiskLock: disk.lock('/lock') ?? {},
    Session: SimulatedSession.prototype,
    Staging: SimulatedStaging.prototype,
  };
}

/** Every method that must be seen to fail. */
export const failingMethods = (): string[] =>
  Object.entries(objects())
    .flatMap(([kind, object]) => methodsOf(object).map((name) => `${kind}.${name}`))
    .filter((name) => !exempt.has(name));

const isInjected = (error: unknown): boolean =>
  error instanceof Error &&
  (error instanceof TargetError || 'syscall' in error) &&
  error.message.includes('simulated');

export class FailedCalls {
  /** How often each method failed, once and for long. */
  readonly counts = new Map<string, number>();

  disk(disk: Disk): Disk {
    return this.#watched(disk, 'Disk');
  }

  target(target: Target): Target {
    return this.#watched(target, 'Target');
  }

  #watched<T extends object>(object: T, kind: Kind): T {
    return new Proxy(object, {
      get: (own, property) => {
        const value: unknown = Reflect.get(own, property, own);
        if (property === 'staging' && value) return this.#watched(value as object, 'Staging');
        if (typeof value !== 'function') return value;
        const name = `${kind}.${String(property)}`;
        return (...given: unknown[]) => this.#call(name, () => value.apply(own, given) as unknown);
      },
    });
  }

  #call(name: string, call: () => unknown): unknown {
    try {
      const answer = call();
      if (!(answer instanceof Promise)) return this.#given(name, answer);
      return answer.then(
        (value: unknown) => this.#given(name, value),
        (error: unknown) => this.#failed(name, error),
      );
    } catch (error) {
      return this.#failed(name, error);
    }
  }

  #given(name: string, value: unknown): unknown {
    const kind = givenBy[name];
    return kind && typeof value === 'object' && value ? this.#watched(value, kind) : value;
  }

  #failed(name: string, error: unknown): never {
    if (isInjected(error)) this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    throw error;
  }
}
