// Counters and histograms that the hot path touches: plain numbers, read at the scrape.

/** Upper bounds in seconds; the last bucket is open. */
const secondsBounds = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
];
/** Upper bounds in rows. */
const rowsBounds = [1, 10, 100, 500, 1000, 2500, 5000, 10000, 20000];

export class Histogram {
  readonly bounds: readonly number[];
  readonly buckets: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.buckets = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    let at = 0;
    while (at < this.bounds.length && value > (this.bounds[at] ?? 0)) at++;
    this.buckets[at] = (this.buckets[at] ?? 0) + 1;
    this.sum += value;
    this.count++;
  }
}

export interface Metrics {
  readonly journalSyncSeconds: Histogram;
  readonly journalGroupRows: Histogram;
  readonly mergeBatchRows: Histogram;
  readonly mergeSeconds: Histogram;
  /** Retries by the target's code (SQLSTATE, errno, 'lost' …). */
  readonly retries: Map<string, number>;
  /** Rows refused at accept by code. */
  readonly rejected: Map<string, number>;
}

export const newMetrics = (): Metrics => ({
  journalSyncSeconds: new Histogram(secondsBounds),
  journalGroupRows: new Histogram(rowsBounds),
  mergeBatchRows: new Histogram(rowsBounds),
  mergeSeconds: new Histogram(secondsBounds),
  retries: new Map(),
  rejected: new Map(),
});

export const countUp = (counts: Map<string, number>, name: string, by = 1): void => {
  counts.set(name, (counts.get(name) ?? 0) + by);
};
