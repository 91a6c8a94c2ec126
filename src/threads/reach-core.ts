// The core in a thread of its own's parent, as an accept worker reaches it: parcels through a ring,
// all else as calls over a port.
import type { Readable } from '../accept-desk.ts';
import { Calls } from './calls.ts';
import { ParcelSender } from './parcel-sender.ts';
import { RemoteHoldfast } from './remote-holdfast.ts';
import type { RingTurns } from './ring-side.ts';
import type { ParentPort } from './thread.ts';

export interface AcceptStart {
  readonly ring: SharedArrayBuffer;
  readonly readables: readonly Readable[];
}

/** Of a thread, an uncaught error ends it, and its parent hears of it. */
const die = (error: unknown): void => {
  throw error;
};

/** `methods`: what the core may ask beside what concerns rows and loads. */
export function reachCore(
  port: ParentPort,
  { ring, readables }: AcceptStart,
  { methods, turns }: { readonly methods: object; readonly turns?: RingTurns },
): RemoteHoldfast {
  const own = {
    ...methods,
    read: (readable: Readable) => remote.read(readable),
    nextChunk: (sending: number) => remote.nextChunk(sending),
    progress: (...args: Parameters<RemoteHoldfast['progress']>) => remote.progress(...args),
  };
  const calls = new Calls(port, own, die);
  const remote = new RemoteHoldfast(calls, new ParcelSender(ring, calls, turns));
  for (const readable of readables) remote.read(readable);
  port.on('message', (messages) => void calls.take(messages));
  return remote;
}
