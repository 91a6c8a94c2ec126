// What happens on a connection outside of a well-formed exchange: bytes that are not HTTP, headers
// that do not end, and bodies whose answer was given before they had arrived.
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { HoldfastError } from '../errors.ts';
import { refusalBody, statusOf } from './refusal.ts';

/** How long the rest of a body may take that nobody reads any more. */
const lingerMs = 2_000;

/** The answer that is being given on a connection. */
const answering = new WeakMap<Socket, ServerResponse>();

export function noteAnswer(request: FastifyRequest, reply: FastifyReply): void {
  answering.set(request.raw.socket, reply.raw);
}

/** Status line and error of what Node's HTTP parser or its clock refused. */
function clientError(code: string | undefined): readonly [string, HoldfastError] {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['', new HoldfastError('HF_TIMEOUT', 'The request did not arrive in time.')];
    case 'HPE_HEADER_OVERFLOW':
      return [
        '431 Request Header Fields Too Large',
        new HoldfastError('HF_TOO_LARGE', 'The headers are larger than 16 KiB.'),
      ];
    case 'HPE_INVALID_EOF_STATE':
      return ['', new HoldfastError('HF_BODY_CUT', 'The request ended before its declared end.')];
    default:
      return ['', new HoldfastError('HF_USAGE', 'These bytes are not an HTTP/1.1 request.')];
  }
}

/** Refuses in the same shape as every route, then ends the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  const answer = answering.get(socket);
  const isInTheMiddle = answer?.headersSent === true && !answer.writableEnded;
  if (!socket.writable || error.code === 'ECONNRESET' || isInTheMiddle) {
    socket.destroy();
    return;
  }
  const [line, refusal] = clientError(error.code);
  const body = JSON.stringify(refusalBody(refusal, ''));
  const head = [
    `HTTP/1.1 ${line === '' ? `${statusOf(refusal)} ${refusal.code}` : line}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  socket.destroySoon();
}

/**
 * After an answer that came before the end of the body: the rest is thrown away for a while, since
 * a reset would take the answer from a client that is still sending; then the connection is cut.
 */
export function lingerFor(request: FastifyRequest): void {
  const { raw } = request;
  if (raw.complete) return;
  raw.resume();
  const timer = setTimeout(() => raw.complete || raw.socket.destroy(), lingerMs);
  raw.once('close', () => clearTimeout(timer));
}
