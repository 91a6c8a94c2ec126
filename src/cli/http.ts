// Requests to the HTTP address of a running owner. A refusal comes out as the same HoldfastError
// that the library would have thrown.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  type ClientRequest,
  type IncomingMessage,
  request as plainRequest,
  type RequestOptions,
} from 'node:http';
import { request as tlsRequest } from 'node:https';
import { type ErrorCode, errorTable, HoldfastError, type Rejection } from '../errors.ts';

export interface Credentials {
  readonly token?: string;
  /** Path of the PEM file that the owner serves with. */
  readonly certificate?: string;
}

export interface Address extends Credentials {
  readonly url: string;
}

export interface Request {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  /** Sent as JSON. */
  readonly json?: object;
  /** Sent as it comes, with back-pressure, while the answer is read. */
  readonly input?: AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal;
}

/** The body of a good answer; '' where it has none. */
export async function ask(address: Address, request: Request): Promise<string> {
  let text = '';
  for await (const chunk of askStream(address, request)) text += chunk;
  return text;
}

/** The body of a good answer, piece by piece. Throws what a refusal says. */
export async function* askStream(address: Address, request: Request): AsyncGenerator<string> {
  try {
    const answer = await send(address, request);
    answer.setEncoding('utf8');
    const status = answer.statusCode ?? 0;
    if (status < 400) return yield* answer;
    let text = '';
    for await (const chunk of answer) text += chunk;
    throw refusalOf(parse(text), `The owner answered ${status}.`);
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    if (request.signal?.aborted) throw new HoldfastError('HF_ABORTED', 'Interrupted.');
    throw lost(address, error);
  }
}

const lost = ({ url }: Address, cause: unknown): HoldfastError => {
  const why = cause instanceof Error ? cause.message : String(cause);
  const message = `The connection to the journal's owner at ${url} was lost: ${why}. Try again.`;
  return new HoldfastError('HF_DRAINING', message, { outcome: 'unknown', cause });
};

async function send(
  address: Address,
  { method, path, ...more }: Request,
): Promise<IncomingMessage> {
  const url = new URL(path, reachable(address.url));
  const options: RequestOptions = { method, headers: headersOf(address, more) };
  if (more.signal) options.signal = more.signal;
  const outgoing =
    url.protocol === 'https:'
      ? tlsRequest(url, { ...options, ...trust(address) })
      : plainRequest(url, options);
  // Both listeners stay: an error after the answer began reaches who reads the answer.
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.on('response', resolve);
    outgoing.on('error', reject);
  });
  if (more.input) sendInput(outgoing, more.input);
  else outgoing.end(more.json && JSON.stringify(more.json));
  return answered;
}

/** Sends until the input ends or the connection does; what fails here ends the request. */
function sendInput(outgoing: ClientRequest, input: AsyncIterable<Uint8Array>): void {
  const isOver = new AbortController();
  outgoing.once('close', () => isOver.abort());
  const sent = (async () => {
    for await (const chunk of input) {
      if (isOver.signal.aborted) return;
      if (!outgoing.write(chunk)) await once(outgoing, 'drain', { signal: isOver.signal });
    }
    outgoing.end();
  })();
  sent.catch((error: Error) => outgoing.destroy(error));
}

function headersOf(
  { token }: Address,
  { json, input }: Partial<Request>,
): RequestOptions['headers'] {
  return {
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
    ...(json && { 'content-type': 'application/json' }),
    ...(input && { 'content-type': 'application/octet-stream' }),
  };
}

/** Addresses that mean "every interface" are no place to connect to. */
const reachable = (url: string): string =>
  url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:');

/** Trusts the very certificate that the owner was configured with, whatever name it bears. */
const trust = ({ certificate }: Address): object =>
  certificate === undefined
    ? {}
    : {
        ca: readFileSync(certificate),
        allowPartialTrustChain: true,
        checkServerIdentity: () => undefined,
      };

interface Refusal {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly outcome?: unknown;
  readonly rejected?: readonly Rejection[];
}

const isCode = (code: unknown): code is ErrorCode =>
  typeof code === 'string' && Object.hasOwn(errorTable, code);

export function refusalOf(body: Refusal | undefined, otherwise: string): HoldfastError {
  const { code, message, outcome, rejected } = body ?? {};
  const known = isCode(code) ? code : 'HF_BUG';
  return new HoldfastError(known, typeof message === 'string' ? message : otherwise, {
    ...((outcome === 'written' || outcome === 'unknown' || outcome === 'not written') && {
      outcome,
    }),
    ...(rejected && { rejected }),
  });
}

function parse(text: string): Refusal | undefined {
  if (!text.startsWith('{')) return undefined;
  const body: Refusal = JSON.parse(text);
  return body;
}
