// Entry of an accept worker: HTTP, decode, check, encode, lanes. What it decodes goes to the core
// through a ring; the core journals, and nothing is acknowledged here that it has not answered for.
import { parentPort, workerData } from 'node:worker_threads';
import type { Readable } from '../accept-desk.ts';
import { HoldfastError } from '../errors.ts';
import type { AppOptions } from '../server/app.ts';
import { listen, type RunningServer } from '../server/server.ts';
import { Calls, type Message } from './calls.ts';
import { ParcelSender } from './parcel-sender.ts';
import { RemoteHoldfast } from './remote-holdfast.ts';

export interface AcceptStart {
  readonly ring: SharedArrayBuffer;
  readonly readables: readonly Readable[];
}

const port = parentPort;
if (!port) throw new Error('This file is the entry of a worker thread.');

let server: RunningServer | undefined;
const die = (error: unknown): void => {
  throw error;
};
const running = (): RunningServer => {
  if (server) return server;
  throw new HoldfastError('HF_BUG', 'An accept worker was asked before it had started.');
};
const methods = {
  start: async (options: AppOptions & { readonly many: number }) => {
    server = await listen(remote, options);
    return server.url;
  },
  close: (options?: { readonly drainMs?: number }) => running().close(options),
  answered: () => running().answered(),
  read: (readable: Readable) => remote.read(readable),
  nextChunk: (sending: number) => remote.nextChunk(sending),
  progress: (...args: Parameters<RemoteHoldfast['progress']>) => remote.progress(...args),
};
const calls = new Calls(port, methods, die);
const { ring, readables } = workerData as AcceptStart;
const remote = new RemoteHoldfast(calls, new ParcelSender(ring, calls));
for (const readable of readables) remote.read(readable);

port.on('message', (messages: readonly Message[]) => void calls.take(messages));
