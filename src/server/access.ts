// Asks every request who sends it, before anything of it is read. With tokens: each route says
// which rights open it, and a stream outside the token's is forbidden whether it exists or not.
// Without: the server listens on loopback only, and requests that a web page could have forged are
// refused.
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { HoldfastError } from '../errors.ts';
import type { TokenOptions } from '../options.ts';
import type { Parts } from './parts.ts';
import { type Access, fullAccess, mayAny, mayUse, type Right, Tokens } from './tokens.ts';

declare module 'fastify' {
  interface FastifyRequest {
    access: Access | null;
  }
  interface FastifyContextConfig {
    /** Any one of them opens the route. 'nobody asks': open without a token. */
    rights?: readonly Right[] | 'nobody asks';
    /** Its body may take as long as bytes keep arriving. */
    isEndless?: boolean;
  }
}

/** What the sender may do; known once the request has passed the hook below. */
export function accessOf(request: FastifyRequest): Access {
  assert(request.access, 'access is decided before a route runs');
  return request.access;
}

const forbidden = (message: string): HoldfastError => new HoldfastError('HF_FORBIDDEN', message);

/** Throws HF_FORBIDDEN, in the same words whether the stream exists or not. */
export function assertMayUse(access: Access, stream: string): void {
  if (!mayUse(access, stream)) throw forbidden('The token has no right to this stream.');
}

/** Adds the hook that decides `request.access`, to be registered before any route. */
export function guardAccess(
  app: FastifyInstance,
  parts: Parts,
  tokens: readonly TokenOptions[],
): void {
  app.decorateRequest('access', null);
  const identify = tokens.length > 0 ? byToken(parts, new Tokens(tokens)) : fromOwnMachine;
  app.addHook('onRequest', async (request) => {
    const { rights } = request.routeOptions.config;
    if (rights === 'nobody asks') return;
    const access = await identify(request);
    request.access = access;
    // A path that is not ours asks for no right; whoever has a token is told that it is not there.
    if (rights && !mayAny(access, rights)) {
      throw forbidden(`This needs a token with the right to ${rights.join(' or ')}.`);
    }
    const { stream } = request.params as { readonly stream?: string };
    if (stream !== undefined) assertMayUse(access, stream);
  });
}

type Identify = (request: FastifyRequest) => Access | Promise<Access>;

function byToken({ holdfast }: Parts, tokens: Tokens): Identify {
  return async (request) => {
    const access = tokens.find(request.headers.authorization);
    const retryAfterSeconds = await holdfast.tryToken(request.ip, access?.token);
    if (retryAfterSeconds > 0) {
      const message = 'Too many wrong tokens came from this address.';
      throw new HoldfastError('HF_OVERLOADED', message, { retryAfterSeconds });
    }
    if (!access) throw new HoldfastError('HF_UNAUTHORIZED', 'Send `Authorization: Bearer TOKEN`.');
    return access;
  };
}

/**
 * A page on the web can make its visitor's browser send requests here, either across origins or by
 * letting its own name point to 127.0.0.1. Browsers tell both by Origin and Host.
 */
function fromOwnMachine(request: FastifyRequest): Access {
  const { host = '', origin } = request.headers;
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  if (name.includes('.') && !isIP(name)) {
    throw forbidden(`Without tokens, requests for the host ${name} are refused.`);
  }
  if (origin !== undefined && origin !== `${request.protocol}://${host}`) {
    throw forbidden('Without tokens, requests from pages of other origins are refused.');
  }
  return fullAccess;
}
