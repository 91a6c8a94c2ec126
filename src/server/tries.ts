// Who may try a token. Tries are counted per address, by all servers in front of a Holdfast
// together: as many accept workers would let in as many times more guesses. Whoever came from an
// address with a good token before is let through: a neighbour behind the same proxy who guesses
// cannot lock them out.
import { performance } from 'node:perf_hooks';

interface Tried {
  readonly until: number;
  count: number;
}

const triesMax = 20;
const triesMs = 60_000;
/** Addresses that are remembered: those that try, and those that came with a good token. */
const addressesMax = 10_000;

export class Tries {
  /** The one that began last is the last one. */
  readonly #tried = new Map<string, Tried>();
  readonly #known = new Map<string, Set<number>>();

  /**
   * Takes a try from there, with the number of its token where it is one of ours. Returns the
   * seconds for which that address is to wait; 0 where the try counts.
   */
  count(address: string, token: number | undefined): number {
    const known = this.#known.get(address);
    if (token !== undefined && known?.has(token)) return 0;
    const now = performance.now();
    const tried = this.#triedFrom(address, now);
    // A right guess must look like a wrong one.
    if (++tried.count > triesMax) return Math.ceil((tried.until - now) / 1000);
    if (token === undefined) return 0;
    if (known) known.add(token);
    else if (this.#known.size < addressesMax) this.#known.set(address, new Set([token]));
    return 0;
  }

  #triedFrom(address: string, now: number): Tried {
    const tried = this.#tried.get(address);
    if (tried && tried.until > now) return tried;
    const fresh = { until: now + triesMs, count: 0 };
    this.#tried.delete(address);
    this.#tried.set(address, fresh);
    for (const [oldest, { until }] of this.#tried) {
      if (until > now && this.#tried.size <= addressesMax) break;
      this.#tried.delete(oldest);
    }
    return fresh;
  }
}
