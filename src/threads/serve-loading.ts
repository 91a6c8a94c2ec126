// The loaders' side in a thread of its own: the parent's calls come over a port, and over it goes
// what the parent must hear of.
import { Loading, type LoadingParts } from '../merge/loading.ts';
import type { LoadingEvents } from '../merge/stream.ts';
import { Calls, type Message } from './calls.ts';
import type { ParentPort } from './thread.ts';

/** Of a thread, an uncaught error ends it, and its parent hears of it. */
const die = (error: unknown): void => {
  throw error;
};

/** Serves until it was asked to stop, and has. */
export function serveLoading(port: ParentPort, parts: Omit<LoadingParts, 'events'>): void {
  const tell =
    (event: keyof LoadingEvents) =>
    (...args: readonly unknown[]): void =>
      calls.tell(event, ...args);
  const loading = new Loading({
    ...parts,
    events: {
      onTable: tell('onTable'),
      onLanes: tell('onLanes'),
      onStaged: tell('onStaged'),
      onSettled: tell('onSettled'),
      onConfirmed: tell('onConfirmed'),
      onState: tell('onState'),
      onRetry: tell('onRetry'),
      onBatch: tell('onBatch'),
    },
  });
  const calls = new Calls(port, loading, die);
  port.on('message', (messages: readonly Message[]) => {
    const isLast = messages.some((one) => 'method' in one && one.method === 'stop');
    void calls.take(messages).then(() => {
      if (isLast) port.close();
    });
  });
}
