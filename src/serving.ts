// Serving a Holdfast over HTTP as its options ask: on this thread, or on accept workers.
import type { Opened } from './holdfast.ts';
import { defaults } from './options.ts';
import { alone } from './server/address.ts';
import type { RunningServer, StartOptions } from './server/server.ts';
import { startAccepting } from './threads/accepting.ts';

/**
 * Listens, and resolves when requests are taken. The server's modules take longer to load than all
 * others, so they are loaded only by the threads that serve.
 */
export async function startServing(
  holdfast: Opened,
  options: StartOptions & { readonly workers: number },
): Promise<RunningServer> {
  const { workers, host, port } = { ...defaults.server, ...options };
  if (workers > 1) return alone({ host, port }, () => startAccepting(holdfast, options));
  if (workers > 0) return startAccepting(holdfast, options);
  const { startServer } = await import('./server/server.ts');
  return startServer(holdfast, options);
}
