// What happens on a connection outside of a well-formed exchange: bytes that are not HTTP, headers
// that do not end, answers that nobody reads, and bodies whose answer was given before they had
// arrived.
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { HoldfastError } from '../errors.ts';
import { refusalBody, statusOf } from './refusal.ts';

/** Requests of one connection that may be in hand at once, or be answered in one turn. */
const pipelinedMax = 16;

/** How long the rest of a body may take that nobody reads any more. */
const lingerMs = 2_000;

/** The answer that is being given on a connection. */
const answering = new WeakMap<Socket, ServerResponse>();

export function noteAnswer(request: FastifyRequest, reply: FastifyReply): void {
  answering.set(request.raw.socket, reply.raw);
}

/**
 * Bounds what one connection can ask for at once. Node hands out all requests that stand in the
 * 64 KiB that it has read, before it looks at another connection or at how much nobody reads: 1,400
 * small ones, which take 0.1 s and answer with up to 11 MB. Here each gets a turn of the event loop
 * of its own, so that others have theirs in between.
 */
export function withoutCrowd(listener: RequestListener): RequestListener {
  const inHand = new WeakMap<Socket, number>();
  /** Of connections that have had their turn: what came with it. */
  const waiting = new WeakMap<Socket, (() => void)[]>();
  const takeTurn = (socket: Socket): void => {
    const next = waiting.get(socket)?.shift();
    if (!next) {
      waiting.delete(socket);
      return;
    }
    setImmediate(takeTurn, socket);
    if (!socket.destroyed) next();
  };
  return (request, response) => {
    const { socket } = request;
    const count = (inHand.get(socket) ?? 0) + 1;
    inHand.set(socket, count);
    if (count > pipelinedMax) {
      // Not before the parser is done with those bytes: it might be given to another connection.
      if (count === pipelinedMax + 1) setImmediate(() => socket.destroy());
      return;
    }
    // Only in the turn after its answer does a request make room for another.
    const done = (): void => {
      inHand.set(socket, (inHand.get(socket) ?? 1) - 1);
    };
    response.once('close', () => setImmediate(done));
    const queue = waiting.get(socket);
    if (queue) {
      queue.push(() => listener(request, response));
      return;
    }
    waiting.set(socket, []);
    setImmediate(takeTurn, socket);
    listener(request, response);
  };
}

/**
 * Ends a connection on which nothing has moved for the server's time: whoever keeps one open reads
 * what comes, or asks. Without this an answer that nobody reads would stay for good.
 */
export function endSilent(server: Server, msMax: number): void {
  server.timeout = msMax;
  server.on('timeout', (socket: Socket) => {
    const answer = answering.get(socket);
    // Headers and bodies that do not come have their own clocks; an answer may take its time.
    const isWaitedFor =
      answer === undefined || !(answer.writableEnded || socket.writableLength > 0);
    if (!isWaitedFor) socket.destroy();
  });
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

/** Of a load that is cut short, some may be written. */
const isLoad = ({ url = '' }: IncomingMessage): boolean => url.startsWith('/v1/loads/');

/** Refuses in the same shape as every route, then ends the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  const answer = answering.get(socket);
  const isInHand = answer !== undefined && !answer.writableEnded;
  if (!socket.writable || error.code === 'ECONNRESET' || (isInHand && answer.headersSent)) {
    socket.destroy();
    return;
  }
  // What came behind a whole request is no part of it: its own answer is the last one here.
  if (isInHand && answer.req.complete) {
    answer.setHeader('connection', 'close');
    answer.once('finish', () => socket.destroySoon());
    return;
  }
  const [line, refusal] = clientError(error.code);
  const outcome = isInHand && isLoad(answer.req) ? 'unknown' : refusal.outcome;
  const body = JSON.stringify({ ...refusalBody(refusal, ''), outcome });
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
