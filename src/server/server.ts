// The HTTP side of one Holdfast: limits on everything that arrives, who may do what, the routes,
// and an orderly end. It adds nothing to the promise: every answer is the library's.
//
// States: listening, closing (new requests are refused; those in hand are answered; loads stop,
// they can be resumed), closed. `closing` and `closed` are signals that abort once, in that order.
import { setMaxListeners } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { HoldfastError } from '../errors.ts';
import type { Opened } from '../holdfast.ts';
import { limits } from '../limits.ts';
import { defaults } from '../options.ts';
import { isLoopback } from '../options-rules.ts';
import { listening } from './address.ts';
import { type AppOptions, buildApp } from './app.ts';
import { BodyMemory } from './body.ts';
import type { Parts } from './parts.ts';
import { type Answered, type Served, served } from './served.ts';

export interface StartOptions extends AppOptions {
  /** Awaited by `close` after the last answer. */
  readonly onClose?: () => void | Promise<void>;
}

export interface RunningServer {
  /** http://HOST:PORT, without a slash at the end. */
  readonly url: string;
  /** What it has counted of its requests. */
  answered(): Promise<Answered>;
  /**
   * Refuses new requests, answers those in hand and resolves. Those that wait for a level are told
   * after `drainMs` that it was not reached; what is still open then is cut.
   */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

const lastAnswersMs = 500;
/** The other half is left to the library's own drain. */
const drainMsDefault = limits.drainMsMax / 2;

/** Listens. Rejects with HF_USAGE where an option is wrong or the address cannot be had. */
export const startServer = (holdfast: Opened, options: StartOptions = {}): Promise<RunningServer> =>
  listen(served(holdfast), options);

/** The same, wherever the Holdfast is; one of `many` that share the port and the memory. */
export async function listen(
  holdfast: Served,
  options: StartOptions & { readonly many?: number },
): Promise<RunningServer> {
  const { host, port, tokens, bodyBytesMax, requestMsMax } = { ...defaults.server, ...options };
  if (tokens.length === 0 && !isLoopback(host)) {
    const message = `Without server.tokens the server listens on loopback only, not on ${host}.`;
    throw new HoldfastError('HF_USAGE', message);
  }
  const { many = 1 } = options;
  const closing = new AbortController();
  const closed = new AbortController();
  setMaxListeners(0, closing.signal, closed.signal);
  const parts: Parts = {
    holdfast,
    bodies: {
      bytesMax: bodyBytesMax,
      msMax: requestMsMax,
      memory: new BodyMemory(Math.max(limits.memoryBytesMax / many, bodyBytesMax)),
    },
    closing: closing.signal,
    closed: closed.signal,
    answers: new Map(),
  };
  const app = await buildApp(parts, options);
  // Each of many has a socket of its own on the port, and the kernel deals connections out.
  const address = { host, port, ...(many > 1 && { reusePort: true }) };
  try {
    await listening(address, () => app.listen(address));
  } catch (error) {
    await app.close();
    throw error;
  }
  const scheme = options.tls ? 'https' : 'http';
  const bound = app.server.address() as AddressInfo;
  const url = `${scheme}://${host.includes(':') ? `[${host}]` : host}:${bound.port}`;
  const stop = (drainMs: number) => drain(app, { closing, closed, drainMs });
  let ending: Promise<void> | undefined;
  return {
    url,
    answered: async () => ({ answers: parts.answers, bodyBytes: parts.bodies.memory.bytes }),
    close: ({ drainMs = drainMsDefault } = {}) => {
      ending ??= stop(drainMs).then(() => options.onClose?.());
      return ending;
    },
  };
}

async function drain(
  app: FastifyInstance,
  by: { closing: AbortController; closed: AbortController; drainMs: number },
): Promise<void> {
  by.closing.abort();
  const patience = setTimeout(() => by.closed.abort(), by.drainMs);
  const end = setTimeout(() => app.places.endAll(), by.drainMs + lastAnswersMs);
  try {
    await app.close();
  } finally {
    clearTimeout(patience);
    clearTimeout(end);
    by.closed.abort();
  }
}
