// Progress on stderr: a bar on a terminal, else a plain line every few seconds.
import { SingleBar } from 'cli-progress';
import { count, say } from './output.ts';

const lineMsMin = 5_000;

export interface Progress {
  update(done: { readonly bytes: number; readonly accepted: number }): void;
  stop(): void;
}

/**
 * `total`: bytes of the whole input, or undefined where nobody knows. `from`: where this run began.
 */
export function showProgress(
  total: number | undefined,
  from: { readonly bytes: number; readonly accepted: number },
): Progress {
  const startMs = performance.now();
  const figures = (done: { readonly bytes: number; readonly accepted: number }) => {
    const seconds = Math.max((performance.now() - startMs) / 1000, 0.001);
    const rate = (done.accepted - from.accepted) / seconds;
    const bytesRate = (done.bytes - from.bytes) / seconds;
    const isKnown = total !== undefined && bytesRate > 0;
    const left = isKnown ? `${Math.ceil((total - done.bytes) / bytesRate)} s left` : '';
    return { rows: count(done.accepted), rate: count(Math.round(rate)), left };
  };
  if (process.stderr.isTTY && total !== undefined) return bar(total, from.bytes, figures);
  let lastMs = startMs;
  return {
    update: (done) => {
      if (performance.now() - lastMs < lineMsMin) return;
      lastMs = performance.now();
      const { rows, rate, left } = figures(done);
      const share = total ? `, ${Math.floor((100 * done.bytes) / total)} %` : '';
      say(`${rows} rows${share}, ${rate} rows/s${left && `, ${left}`}`);
    },
    stop: () => undefined,
  };
}

function bar(
  total: number,
  from: number,
  figures: (done: { readonly bytes: number; readonly accepted: number }) => object,
): Progress {
  const shown = new SingleBar({
    format: '{bar} {percentage} % | {rows} rows | {rate} rows/s | {left}',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: false,
  });
  shown.start(total, from, figures({ bytes: from, accepted: 0 }));
  return {
    update: (done) => shown.update(done.bytes, figures(done)),
    stop: () => shown.stop(),
  };
}
