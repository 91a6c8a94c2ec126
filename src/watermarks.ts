// Where a stream stands: five growing numbers per lane, and how its records ended. Everything
// that waits, reports or trims compares with these (DESIGN §4). `settled` and the totals are the
// target's: they are replaced by what it says, and go back only with it.
import assert from 'node:assert/strict';
import { addCounts, countEnds, decodeEnds, type EndCounts, noCounts } from './merge/ledger.ts';
import type { Settled } from './merge/stream.ts';
import type { LaneState } from './target/target.ts';

const sum = (lanes: Float64Array): number => lanes.reduce((total, n) => total + n, 0);

export class Watermarks {
  /** Records taken that are not journaled yet. */
  taken = 0;
  readonly journaled: Float64Array;
  /** In the direct route the same as `settled`. */
  readonly staged: Float64Array;
  readonly settled: Float64Array;
  readonly confirmed: Float64Array;
  /** Per lane, how its settled records ended. */
  readonly #ends: EndCounts[] = [];

  /** `journaled` and `confirmed` are the journal's own: it moves the one and trims by the other. */
  constructor(journaled: Float64Array, confirmed: Float64Array) {
    this.journaled = journaled;
    this.confirmed = confirmed;
    this.staged = confirmed.slice();
    this.settled = confirmed.slice();
  }

  get totals(): EndCounts {
    return this.#ends.reduce(addCounts, noCounts);
  }

  /**
   * Up to where it is known how a lane's records ended: after an open that is nowhere, before the
   * target was asked.
   */
  ended(lane: number): number {
    return this.#ends[lane] ? (this.settled[lane] ?? 0) : 0;
  }

  get accepted(): number {
    return this.taken + sum(this.journaled);
  }

  sums() {
    const settled = sum(this.settled);
    return {
      accepted: this.accepted,
      journaled: sum(this.journaled),
      staged: sum(this.staged),
      settled,
      confirmed: Math.min(sum(this.confirmed), settled),
    };
  }

  /**
   * The lanes as the target has them, all or some; where they went back, the ends go with them.
   * Whether confirmed records are not there any more.
   */
  adopt(lanes: readonly LaneState[]): boolean {
    let hasFallen = false;
    for (const state of lanes) {
      const { lane, staged, settled } = state;
      assert(staged <= (this.journaled[lane] ?? 0), `lane ${lane} is not ahead of its journal`);
      this.staged[lane] = staged;
      this.settled[lane] = settled;
      this.#ends[lane] = addCounts(noCounts, state);
      // A history that lacks confirmed records (failover, P3): the journal must keep them again.
      if (settled >= (this.confirmed[lane] ?? 0)) continue;
      this.confirmed[lane] = settled;
      hasFallen = true;
    }
    return hasFallen;
  }

  /** Less than before where staged rows were lost; never less than what is settled. */
  stage(lanes: readonly { readonly lane: number; readonly last: number }[]): void {
    for (const { lane, last } of lanes) this.staged[lane] = Math.max(last, this.settled[lane] ?? 0);
  }

  settle(all: readonly Settled[]): void {
    for (const one of all) {
      this.settled[one.lane] = one.last;
      this.staged[one.lane] = Math.max(this.staged[one.lane] ?? 0, one.last);
      const counts = one.ends ? countEnds(decodeEnds(one)) : { ...noCounts, merged: one.rowCount };
      this.#ends[one.lane] = addCounts(this.#ends[one.lane] ?? noCounts, counts);
    }
  }

  confirm(lanes: readonly { readonly lane: number; readonly last: number }[]): void {
    for (const { lane, last } of lanes) {
      this.confirmed[lane] = Math.max(this.confirmed[lane] ?? 0, last);
    }
  }
}
