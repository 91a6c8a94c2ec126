// How much sessions of the target stand in each other's way, over the last minute. A server's
// counters run since its start, and an average over its lifetime never recovers (AUDIT-RULES, claim
// 46): what is told are differences.
import type { Contention } from './target/target.ts';

export interface ContentionWindow {
  /** What the numbers are about; shorter than a minute at first. */
  readonly windowMs: number;
  readonly lockWaits: number;
  readonly lockTimeMs: number;
  readonly deadlocks: number;
  /** True where the server counts no waits: those were seen that lasted to the next look. */
  readonly isSampled: boolean;
}

interface Sample extends Contention {
  readonly atMs: number;
}

const windowMsMax = 60_000;

export class ContentionHistory {
  #samples: Sample[] = [];

  add(seen: Contention, atMs: number): void {
    const last = this.#samples.at(-1);
    // Another server, or the same one started again: its counters are others.
    if (last && (last.deadlocks > seen.deadlocks || last.lockWaits > seen.lockWaits)) {
      if (!seen.isSampled) this.#samples = [];
    }
    this.#samples.push({ ...seen, atMs });
    while (atMs - (this.#samples[1]?.atMs ?? atMs) >= windowMsMax) this.#samples.shift();
  }

  /** Undefined until there are two looks to compare. */
  get window(): ContentionWindow | undefined {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (!first || !last || first === last) return undefined;
    const windowMs = last.atMs - first.atMs;
    const deadlocks = Math.max(0, last.deadlocks - first.deadlocks);
    if (!last.isSampled) {
      const lockWaits = last.lockWaits - first.lockWaits;
      return {
        windowMs,
        lockWaits,
        lockTimeMs: last.lockTimeMs - first.lockTimeMs,
        deadlocks,
        isSampled: false,
      };
    }
    const seen = this.#samples.slice(1);
    const lockWaits = seen.reduce((sum, sample) => sum + sample.lockWaits, 0);
    const lockTimeMs = seen.reduce((sum, sample) => sum + sample.lockTimeMs, 0);
    return { windowMs, lockWaits, lockTimeMs, deadlocks, isSampled: true };
  }
}
