// The accept workers of a server, as the core has them: threads that take requests on one port,
// each with a ring through which its rows come. One that dies takes the process with it: what it
// had not been answered for was not acknowledged, and the next process serves its clients.
import { Worker } from 'node:worker_threads';
import type { Opened } from '../holdfast.ts';
import { defaults } from '../options.ts';
import { type Answered, served } from '../server/served.ts';
import type { RunningServer, StartOptions } from '../server/server.ts';
import { type AcceptPorts, AcceptWorker } from './accept-worker.ts';

const systemPorts: AcceptPorts = {
  startWorker: (start) => {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const entry = new URL(`./accept.${extension}`, import.meta.url);
    return new Worker(entry, { workerData: start });
  },
  ringBytes: 4 * 1024 * 1024,
};

/** Starts a server of `workers` threads. Rejects as `startServer` does. */
export async function startAccepting(
  holdfast: Opened,
  { workers: count, onClose, ...options }: StartOptions & { readonly workers: number },
  ports = systemPorts,
): Promise<RunningServer> {
  const workers: AcceptWorker[] = [];
  const observe = async (asking: AcceptWorker, own: Answered): Promise<Answered> => {
    const others = workers.filter((worker) => worker !== asking);
    return [own, ...(await Promise.all(others.map((worker) => worker.answered())))].reduce(added);
  };
  const shared = { holdfast, served: served(holdfast), observe, ports };
  for (let i = 0; i < count; i++) workers.push(new AcceptWorker(shared));
  holdfast.onReadable((readable) => {
    for (const worker of workers) worker.read(readable);
  });
  const closeAll = async (by?: { readonly drainMs?: number }): Promise<void> => {
    await Promise.all(workers.map((worker) => worker.close(by)));
  };
  const connectionsMax = options.connectionsMax ?? defaults.server.connectionsMax;
  const each = { ...options, connectionsMax: Math.ceil(connectionsMax / count), many: count };
  let url = '';
  try {
    for (const worker of workers) {
      const port = url === '' ? options.port : Number(new URL(url).port);
      url = await worker.start({ ...each, ...(port !== undefined && { port }) });
    }
  } catch (error) {
    await Promise.all(workers.map((worker) => worker.stop()));
    throw error;
  }
  let ending: Promise<void> | undefined;
  return {
    url,
    answered: async () =>
      (await Promise.all(workers.map((worker) => worker.answered()))).reduce(added),
    close: (by) => {
      ending ??= closeAll(by).then(() => onClose?.());
      return ending;
    },
  };
}

function added(a: Answered, b: Answered): Answered {
  const answers = new Map(a.answers);
  for (const [answer, count] of b.answers) answers.set(answer, (answers.get(answer) ?? 0) + count);
  return { answers, bodyBytes: a.bodyBytes + b.bodyBytes };
}
