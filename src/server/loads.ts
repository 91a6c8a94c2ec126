// Loads: input of any size, resumable. Begin says from which byte to send; the bytes go into one
// request, whose answer is lines of progress and, when all its rows are settled, the result.
// Must never hold more of the input than is being read: back-pressure reaches the sender.
import { PassThrough } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import { HoldfastError } from '../errors.ts';
import { beingSent } from '../load.ts';
import type { LoadOptions } from '../types.ts';
import { accessOf, assertMayUse } from './access.ts';
import { streamBody } from './body.ts';
import type { Parts } from './parts.ts';
import { csvOptions } from './records.ts';
import { knownError, refusalBody } from './refusal.ts';
import { loadBody, loadParams, loadQuery, loadState, responses, streamParams } from './schemas.ts';
import type { BegunLoad } from './served.ts';

interface KnownLoad extends BegunLoad {
  /** Set while a request sends its bytes. */
  sending?: { readonly stop: AbortController; readonly ended: Promise<void> };
}

type BeginRoute = { Params: Static<typeof streamParams>; Body: Static<typeof loadBody> };
type LoadRoute = { Params: Static<typeof loadParams> };
type SendRoute = LoadRoute & { Querystring: Static<typeof loadQuery> };
const loadsMax = 1024;

/** The loads that were begun here. After a restart a client begins again, which resumes. */
export class Loads {
  readonly #byId = new Map<string, KnownLoad>();

  get(id: string): KnownLoad | undefined {
    return this.#byId.get(id);
  }

  set(id: string, load: KnownLoad): void {
    this.#byId.delete(id);
    this.#byId.set(id, load);
    for (const [oldest, { sending }] of this.#byId) {
      if (this.#byId.size <= loadsMax) break;
      if (!sending) this.#byId.delete(oldest);
    }
  }

  delete(id: string): void {
    this.#byId.delete(id);
  }
}

export function addSendRoutes(app: FastifyInstance, parts: Parts, loads: Loads): void {
  app.post<SendRoute>(
    '/v1/loads/:load',
    {
      config: { rights: ['write'], isEndless: true },
      schema: {
        summary: "Send a load's bytes from its offset on.",
        description:
          'Answers lines of JSON: {"progress":{"bytes","accepted"}} as rows are written, and at ' +
          'the end {"result":…} or {"error":…}. After an error begin the load again: it resumes.',
        params: loadParams,
        querystring: loadQuery,
        body: { content: { 'application/octet-stream': { schema: {} } } },
        response: responses(
          { 200: { content: { 'application/x-ndjson': { schema: { type: 'string' } } } } },
          ['HF_NOT_FOUND', 'HF_LOAD_MOVED', 'HF_MEDIA_TYPE'],
        ),
      },
    },
    async (request, reply) => {
      const load = await ownLoad(request, loads, parts);
      if (load.sending) throw beingSent();
      return send(load, { request, reply, parts });
    },
  );
  app.post<LoadRoute>(
    '/v1/loads/:load/reported',
    {
      config: { rights: ['write'] },
      schema: {
        summary: 'The result has arrived: the same input is a new load from now on.',
        params: loadParams,
        response: responses({ 204: { type: 'null', description: 'Noted.' } }, ['HF_NOT_FOUND']),
      },
    },
    async (request, reply) => {
      await ownLoad(request, loads, parts);
      await parts.holdfast.reportedLoad(request.params.load);
      loads.delete(request.params.load);
      return reply.code(204).send();
    },
  );
}

export function addBeginRoute(app: FastifyInstance, parts: Parts, loads: Loads): void {
  app.post<BeginRoute>(
    '/v1/streams/:stream/loads',
    {
      config: { rights: ['write'] },
      schema: {
        summary: 'Begin or resume a load; known by stream, options, size and digest.',
        params: streamParams,
        body: loadBody,
        response: responses({ 200: loadState }, ['HF_UNKNOWN_STREAM']),
      },
    },
    async (request) => {
      const { stream } = request.params;
      const options = loadOptions(request.body);
      let state = await parts.holdfast.beginLoad(stream, options);
      const { sending } = loads.get(state.load) ?? {};
      if (sending) {
        // The sender of before has died and its connection has not been missed yet: what it sent is
        // still being written, so where to go on is known only once it has stopped.
        sending.stop.abort(new HoldfastError('HF_ABORTED', 'Another sender took this load over.'));
        await sending.ended;
        state = await parts.holdfast.beginLoad(stream, options);
      }
      loads.set(state.load, { stream, state, options });
      return state;
    },
  );
}

function loadOptions(body: Static<typeof loadBody>): LoadOptions {
  const { format, size, digest, invalid } = body;
  return {
    format,
    source: { size, digest },
    ...(format === 'csv' && { csv: csvOptions(body.delimiter, body.columns, body.nulls) }),
    ...(invalid && { invalid }),
  };
}

/** The load of the path; HF_NOT_FOUND also where the token has no right to its stream. */
async function ownLoad(
  request: FastifyRequest<{ Params: Static<typeof loadParams> }>,
  loads: Loads,
  { holdfast }: Parts,
): Promise<KnownLoad> {
  const { load: id } = request.params;
  const begun = loads.get(id) ?? (await holdfast.begunLoad(id));
  if (!begun)
    throw new HoldfastError('HF_NOT_FOUND', 'No such load was begun here; begin it again.');
  const load: KnownLoad = loads.get(id) ?? begun;
  loads.set(id, load);
  assertMayUse(accessOf(request), load.stream);
  return load;
}

interface Exchange {
  readonly request: FastifyRequest<SendRoute>;
  readonly reply: FastifyReply;
  readonly parts: Parts;
}

function send(load: KnownLoad, exchange: Exchange): FastifyReply {
  const { request, reply, parts } = exchange;
  const stop = new AbortController();
  const onClosing = () => stop.abort(draining());
  parts.closing.addEventListener('abort', onClosing);
  const lines = new PassThrough();
  const input = streamBody(request.raw, { idleMsMax: parts.bodies.msMax, signal: stop.signal });
  let accepted = load.state.accepted;
  const onProgress = (progress: { readonly bytes: number; readonly accepted: number }): void => {
    accepted = progress.accepted;
    // Where the sender does not read, the next line says it all again.
    if (!lines.writableNeedDrain) lines.write(`${JSON.stringify({ progress })}\n`);
  };
  const options = { ...load.options, signal: stop.signal, onProgress };
  const from = { ...load.state, offset: request.query.offset };
  const ended = parts.holdfast
    .continueLoad(from, input, options)
    .then(
      (result) => ({ result }),
      (error: unknown) => ({ error: loadRefusal(error, { request, accepted }) }),
    )
    .then(async (line) => {
      parts.closing.removeEventListener('abort', onClosing);
      // Where it was ended by others, it still waits for bytes.
      stop.abort(draining());
      await input.return();
      delete load.sending;
      lines.end(`${JSON.stringify(line)}\n`);
    });
  load.sending = { stop, ended };
  return reply.type('application/x-ndjson').send(lines);
}

const draining = (): HoldfastError =>
  new HoldfastError('HF_DRAINING', 'This process is shutting down; begin the load again later.');

interface Stopped {
  readonly request: FastifyRequest;
  readonly accepted: number;
}

function loadRefusal(error: unknown, { request, accepted }: Stopped): object {
  const known = knownError(error);
  if (known.code === 'HF_BUG') request.log.error({ err: error }, 'a load failed');
  // What was read before is written; how much of the rest is, only beginning again tells.
  const outcome = accepted > 0 ? 'unknown' : known.outcome;
  return { ...refusalBody(known, request.id), outcome, accepted };
}
