// The application of one server, before it listens: the node server with its limits, what happens
// to every request, and the routes.
import { readFileSync } from 'node:fs';
import {
  createServer,
  type ServerOptions as NodeServerOptions,
  type RequestListener,
  type Server,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifySchemaValidationError,
  LogController,
} from 'fastify';
import { pino } from 'pino';
import { HoldfastError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ServerOptions } from '../options.ts';
import { guardAccess } from './access.ts';
import { readBody } from './body.ts';
import {
  answerClientError,
  endSilent,
  lingerFor,
  noteAnswer,
  withoutCrowd,
} from './connections.ts';
import { addDeadLetterRoutes } from './dead-letters.ts';
import { addBeginRoute, addSendRoutes } from './loads.ts';
import { describeApi } from './openapi.ts';
import { addPageRoute } from './page.ts';
import type { Parts } from './parts.ts';
import { addPassOverRoute } from './pass-over.ts';
import { Places } from './places.ts';
import { addProbeRoutes } from './probes.ts';
import { addOptionsRoute, addReceiptRoute, addStatusRoutes, addVerifyRoute } from './reads.ts';
import { addRecordsRoute } from './records.ts';
import { knownError, outcomeOf, refusalBody, statusOf } from './refusal.ts';
import { sharedSchemas } from './schemas.ts';

declare module 'fastify' {
  interface FastifyInstance {
    places: Places;
  }
}

export interface AppOptions extends ServerOptions {
  /** What GET /v1/options shows; it must hold no secret. Absent: no such route. */
  readonly shownOptions?: object;
}

const keepAliveMs = 60_000;
const checkingMs = 1_000;
const paramBytesMax = 4_096;
const smallBodyBytesMax = 1024 * 1024;

export async function buildApp(parts: Parts, options: AppOptions): Promise<FastifyInstance> {
  const app = newApp(options);
  for (const schema of sharedSchemas) app.addSchema(schema);
  // What goes out is what the library says; schemas describe it and must not cut it to shape.
  app.setSerializerCompiler(() => JSON.stringify);
  addHooks(app, parts);
  guardAccess(app, parts, options.tokens ?? []);
  keepLetIn(app, options.connectionsMax ?? limits.connectionsMax);
  await describeApi(app);
  addBodyParser(app, parts);
  addBeginRoute(app, parts);
  addReceiptRoute(app, parts);
  addStatusRoutes(app, parts);
  addDeadLetterRoutes(app, parts);
  addVerifyRoute(app, parts);
  addPassOverRoute(app, parts);
  addProbeRoutes(app, parts);
  addPageRoute(app);
  if (options.shownOptions) addOptionsRoute(app, options.shownOptions);
  await app.register(async (scope) => {
    // These read their bodies themselves, with every other check behind them.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, _body, done) => done(null));
    addRecordsRoute(scope, parts);
    addSendRoutes(scope, parts);
  });
  return app;
}

function newApp(options: ServerOptions): FastifyInstance {
  const requestMsMax = options.requestMsMax ?? limits.requestMsMax;
  const nodeOptions: NodeServerOptions = {
    maxHeaderSize: limits.headerBytesMax,
    headersTimeout: requestMsMax,
    // Bodies have their own clocks (body.ts): a load may last for hours, a request may not.
    requestTimeout: 0,
    keepAliveTimeout: keepAliveMs,
    connectionsCheckingInterval: checkingMs,
  };
  const tls = options.tls && { cert: pem(options.tls.cert), key: pem(options.tls.key) };
  const serverFactory = (listener: RequestListener): Server => {
    const server = tls
      ? createTlsServer(
          { ...nodeOptions, ...tls, handshakeTimeout: requestMsMax },
          withoutCrowd(listener),
        )
      : createServer(nodeOptions, withoutCrowd(listener));
    // Their bytes have a bound; beyond a number of its own Node drops headers without a word.
    server.maxHeadersCount = 0;
    endSilent(server, requestMsMax);
    return server;
  };
  return fastify({
    serverFactory,
    loggerInstance: newLogger(),
    logController: new LogController({ disableRequestLogging: true }),
    schemaErrorFormatter: (problems, part) => new Error(problems.map(told(part)).join('; ')),
    genReqId: () => crypto.randomUUID(),
    return503OnClosing: false,
    routerOptions: { maxParamLength: paramBytesMax },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: 'array' } },
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, request, reply) => {
      refuse(error, request, reply);
    },
  });
}

/** To be called when the hook that lets requests in is there. */
function keepLetIn(app: FastifyInstance, connectionsMax: number): void {
  const places = new Places(app.server, connectionsMax);
  app.decorate('places', places);
  app.addHook('onRequest', async (request, reply) => {
    if (request.access) places.letIn(request.raw.socket, reply.raw);
  });
}

/** What is wrong with a query, header or body, with the names that the checker leaves out. */
const told =
  (part: string) =>
  ({ instancePath, message, params }: FastifySchemaValidationError): string => {
    const { additionalProperty, allowedValues } = params;
    const name = typeof additionalProperty === 'string' ? `: ${additionalProperty}` : '';
    const values = Array.isArray(allowedValues) ? `: ${allowedValues.join(', ')}` : '';
    return `${part}${instancePath} ${message ?? 'is wrong'}${name}${values}`;
  };

function pem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('HF_USAGE', `server.tls: ${why}`, { cause: error });
  }
}

/** To stderr, from HOLDFAST_LOG on. Of a request nothing is ever logged but its route's pattern. */
function newLogger(): FastifyBaseLogger {
  const level = process.env['HOLDFAST_LOG'] ?? 'warn';
  const known = ['silent', ...Object.keys(pino.levels.values)];
  if (!known.includes(level)) {
    const message = `HOLDFAST_LOG is ${level}; it may be ${known.join(', ')}.`;
    throw new HoldfastError('HF_USAGE', message);
  }
  return pino({ level, serializers: { req: () => undefined } }, pino.destination(2));
}

function addBodyParser(app: FastifyInstance, { bodies }: Parts): void {
  const bounds = { ...bodies, bytesMax: Math.min(bodies.bytesMax, smallBodyBytesMax) };
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', async (request: FastifyRequest) => {
    const bytes = await readBody(request.raw, bounds);
    try {
      return bytes.length === 0 ? undefined : (JSON.parse(bytes.toString('utf8')) as unknown);
    } catch (error) {
      throw new HoldfastError('HF_USAGE', 'The body is not JSON.', { cause: error });
    } finally {
      bodies.memory.give(bytes);
    }
  });
}

function addHooks(app: FastifyInstance, { closing, answers }: Parts): void {
  app.addHook('onRequest', async (request, reply) => {
    noteAnswer(request, reply);
    if (closing.aborted && request.routeOptions.config.rights !== 'nobody asks') {
      const message = 'This process is shutting down; send again to the one that follows.';
      throw new HoldfastError('HF_DRAINING', message, { retryAfterSeconds: 1 });
    }
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff');
    reply.header('cache-control', 'no-store');
    // Without it a kept connection would hold up the end for as long as it is kept.
    if (closing.aborted) reply.header('connection', 'close');
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? '(none)';
    const answer = `${route} ${reply.statusCode}`;
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
    request.log.debug({ route, status: reply.statusCode, ms: reply.elapsedTime }, 'answered');
    lingerFor(request);
  });
  app.setErrorHandler(refuse);
  app.setNotFoundHandler((request, reply) => {
    const error = new HoldfastError('HF_NOT_FOUND', 'There is no such route; see /openapi.json.');
    return refuse(error, request, reply);
  });
}

function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = knownError(error);
  if (known.code === 'HF_BUG') request.log.error({ err: known.cause, id: request.id }, 'a bug');
  if (known.code === 'HF_UNAUTHORIZED') reply.header('www-authenticate', 'Bearer');
  if (known.retryAfterSeconds !== undefined) {
    reply.header('retry-after', String(Math.ceil(known.retryAfterSeconds)));
  }
  const outcome = outcomeOf(known, request.headers['idempotency-key'] !== undefined);
  return reply
    .code(statusOf(known))
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ ...refusalBody(known, request.id), outcome }));
}
