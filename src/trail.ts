// When was the n-th record accepted? Remembers counts with their times, so that each level of the
// path can say how old the oldest record is that it still holds. Counts are over all lanes: a lane
// that is stuck while others go on looks younger than it is. Bounded: what would be too much is
// thinned.

const entriesMax = 2_048;
/** Counts that come closer together share an entry. */
const stepMs = 20;

export class Trail {
  #counts: number[] = [];
  #times: number[] = [];

  /** `count` records have been accepted at `nowMs`, monotonic. */
  note(count: number, nowMs: number): void {
    const last = this.#times.length - 1;
    if (count <= (this.#counts[last] ?? 0)) return;
    // The time of an entry is that of its first record: an age is never too small.
    if (nowMs - (this.#times[last] ?? Number.NEGATIVE_INFINITY) < stepMs) {
      this.#counts[last] = count;
      return;
    }
    this.#counts.push(count);
    this.#times.push(nowMs);
    if (this.#counts.length > entriesMax) this.#thin();
  }

  /** Only the first `count` were accepted after all. */
  takeBack(count: number): void {
    while ((this.#counts.at(-2) ?? 0) >= count && this.#counts.length > 1) {
      this.#counts.pop();
      this.#times.pop();
    }
    const last = this.#counts.length - 1;
    if (last >= 0) this.#counts[last] = Math.min(this.#counts[last] ?? 0, count);
  }

  /** Two neighbours become one, with the time of the first and the count of the second. */
  #thin(): void {
    const isSecond = (_: number, i: number): boolean => i % 2 === 1;
    this.#times = this.#times.filter((_, i) => i % 2 === 0);
    const counts = this.#counts.filter(isSecond);
    const last = this.#counts.at(-1);
    if (this.#counts.length % 2 === 1 && last !== undefined) counts.push(last);
    this.#counts = counts;
  }

  /** Nothing up to `count` will be asked for again. */
  forget(count: number): void {
    let done = 0;
    while (done < this.#counts.length && (this.#counts[done] ?? 0) <= count) done++;
    if (done === 0) return;
    this.#counts.splice(0, done);
    this.#times.splice(0, done);
  }

  /** How long ago the record after the first `count` was accepted; 0 where there is none. */
  ageAfter(count: number, nowMs: number): number {
    const at = this.#counts.findIndex((own) => own > count);
    return at < 0 ? 0 : Math.max(0, nowMs - (this.#times[at] ?? nowMs));
  }
}
