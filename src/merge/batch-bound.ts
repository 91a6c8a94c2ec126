// How many records a loader puts into one batch. One that fails twice in a row is made anew with
// half of its records, down to one block: after an outage batches are as large as they may be, and
// where such a one takes longer than a statement may, it would be sent again for ever.

/** Batches that were full and went through, before twice as many records are tried again. */
const passesMin = 8;

export class BatchBound {
  readonly #recordsMax: number;
  #records: number;
  #failures = 0;
  #passes = 0;

  constructor(recordsMax: number) {
    this.#recordsMax = recordsMax;
    this.#records = recordsMax;
  }

  get records(): number {
    return this.#records;
  }

  /** A batch of so many records failed; whether it is to be made anew, with fewer. */
  failed(records: number): boolean {
    this.#passes = 0;
    this.#failures++;
    if (this.#failures < 2 || this.#records === 1) return false;
    this.#failures = 0;
    this.#records = Math.max(1, Math.floor(Math.min(this.#records, records) / 2));
    return true;
  }

  /** Only a full batch says that as many records are not too many. */
  passed(isFull: boolean): void {
    this.#failures = 0;
    if (!isFull) return;
    this.#passes++;
    if (this.#passes < passesMin) return;
    this.#passes = 0;
    this.#records = Math.min(this.#records * 2, this.#recordsMax);
  }
}
