// Progress on stderr: a bar on a terminal, else a plain line every few seconds.
import { SingleBar } from 'cli-progress';
import { count, say } from './output.ts';

const lineMsMin = 5_000;

/** How far it is: `done` of the total, in its unit; and rows. */
interface Done {
  readonly done: number;
  readonly rows: number;
}

export interface Progress {
  update(done: Done): void;
  stop(): void;
}

/** `total`: in bytes or rows, or undefined where nobody knows. `from`: where this run began. */
export function showProgress(total: number | undefined, from: Done): Progress {
  const startMs = performance.now();
  const figures = (now: Done) => {
    const seconds = Math.max((performance.now() - startMs) / 1000, 0.001);
    const rate = (now.rows - from.rows) / seconds;
    const doneRate = (now.done - from.done) / seconds;
    const isKnown = total !== undefined && doneRate > 0;
    const left = isKnown ? `${Math.ceil((total - now.done) / doneRate)} s left` : '';
    return { rows: count(now.rows), rate: count(Math.round(rate)), left };
  };
  if (process.stderr.isTTY && total !== undefined) return bar(total, from.done, figures);
  let lastMs = startMs;
  return {
    update: (now) => {
      if (performance.now() - lastMs < lineMsMin) return;
      lastMs = performance.now();
      const { rows, rate, left } = figures(now);
      const share = total ? `, ${Math.floor((100 * now.done) / total)} %` : '';
      say(`${rows} rows${share}, ${rate} rows/s${left && `, ${left}`}`);
    },
    stop: () => undefined,
  };
}

function bar(total: number, from: number, figures: (now: Done) => object): Progress {
  const shown = new SingleBar({
    format: '{bar} {percentage} % | {rows} rows | {rate} rows/s | {left}',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: false,
  });
  shown.start(total, from, figures({ done: from, rows: 0 }));
  return {
    update: (now) => shown.update(now.done, figures(now)),
    stop: () => shown.stop(),
  };
}
