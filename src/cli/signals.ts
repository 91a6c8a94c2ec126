// SIGINT and SIGTERM: the first one asks for an orderly end, a later one forces it. A Ctrl-C on
// `npm start` arrives twice, 1 to 2 ms apart (terminal group and npm's forward): that is one.
const repeatMsMax = 500;

/**
 * Calls `onFirst` at the first signal and `onForce` at one that comes later. Returns how to stop.
 */
export function onSignals(onFirst: () => void, onForce: () => void): () => void {
  let firstAt: number | undefined;
  const listener = () => {
    const now = performance.now();
    if (firstAt === undefined) {
      firstAt = now;
      onFirst();
    } else if (now - firstAt > repeatMsMax) onForce();
  };
  process.on('SIGINT', listener);
  process.on('SIGTERM', listener);
  return () => {
    process.off('SIGINT', listener);
    process.off('SIGTERM', listener);
  };
}
