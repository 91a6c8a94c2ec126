// Loads: input of any size, resumable. Begin says from which byte to send; the bytes go into one
// request, whose answer is lines of progress and, when all its rows are settled, the result.
// Must never hold more of the input than is being read: back-pressure reaches the sender.
import { PassThrough } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import { HoldfastError } from '../errors.ts';
import { beingSent, draining } from '../load.ts';
import type { LoadOptions } from '../types.ts';
import { accessOf, assertMayUse } from './access.ts';
import type { BegunLoad } from './begun-loads.ts';
import { streamBody } from './body.ts';
import type { Parts } from './parts.ts';
import { csvOptions } from './records.ts';
import { knownError, refusalBody } from './refusal.ts';
import { loadBody, loadParams, loadQuery, loadState, responses, streamParams } from './schemas.ts';

type BeginRoute = { Params: Static<typeof streamParams>; Body: Static<typeof loadBody> };
type LoadRoute = { Params: Static<typeof loadParams> };
type SendRoute = LoadRoute & { Querystring: Static<typeof loadQuery> };

export function addSendRoutes(app: FastifyInstance, parts: Parts): void {
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
      const { state, options } = await ownLoad(request, parts);
      if (!state) throw beingSent();
      return send({ state, options }, { request, reply, parts });
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
      await ownLoad(request, parts);
      await parts.holdfast.reportedLoad(request.params.load);
      return reply.code(204).send();
    },
  );
}

export function addBeginRoute(app: FastifyInstance, { holdfast }: Parts): void {
  app.post<BeginRoute>(
    '/v1/streams/:stream/loads',
    {
      config: { rights: ['write'] },
      schema: {
        summary: 'Begin or resume a load; known by stream, options, size and digest.',
        description:
          'A load that nobody goes on with for a day, or whose result nobody reports, is ' +
          'forgotten: begun again, the same input is a new load.',
        params: streamParams,
        body: loadBody,
        response: responses({ 200: loadState }, ['HF_UNKNOWN_STREAM']),
      },
    },
    ({ params, body }) => holdfast.beginLoad(params.stream, loadOptions(body)),
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
  { holdfast }: Parts,
): Promise<BegunLoad> {
  const load = await holdfast.begunLoad(request.params.load);
  if (!load) throw new HoldfastError('HF_NOT_FOUND', 'No such load was begun; begin it again.');
  assertMayUse(accessOf(request), load.stream);
  return load;
}

interface Exchange {
  readonly request: FastifyRequest<SendRoute>;
  readonly reply: FastifyReply;
  readonly parts: Parts;
}

function send(load: Required<Pick<BegunLoad, 'state' | 'options'>>, exchange: Exchange) {
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
  void parts.holdfast
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
      lines.end(`${JSON.stringify(line)}\n`);
    });
  return reply.type('application/x-ndjson').send(lines);
}

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
