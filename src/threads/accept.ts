// Entry of an accept worker: HTTP, decode, check, encode, lanes. What it decodes goes to the core
// through a ring; the core journals, and nothing is acknowledged here that it has not answered for.
import { parentPort, workerData } from 'node:worker_threads';
import { HoldfastError } from '../errors.ts';
import type { AppOptions } from '../server/app.ts';
import { listen, type RunningServer } from '../server/server.ts';
import { type AcceptStart, reachCore } from './reach-core.ts';

if (!parentPort) throw new Error('This file is the entry of a worker thread.');

let server: RunningServer | undefined;
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
};
const remote = reachCore(parentPort, workerData as AcceptStart, { methods });
