// POST /v1/streams/{stream}/records: one body of rows, all or nothing, answered when it is on disk
// or as far on as `ack` asks. A caller who goes away cancels the waiting only, never the write.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import type { CsvOptions } from '../accept/rows.ts';
import { HoldfastError } from '../errors.ts';
import type { EndCounts } from '../merge/ledger.ts';
import type { Format, WriteBytesOptions } from '../types.ts';
import type { WaitingReceipt } from '../writing.ts';
import { readBody } from './body.ts';
import type { Parts } from './parts.ts';
import { refusalBody, statusOf } from './refusal.ts';
import { recordsAnswer, recordsHeaders, recordsQuery, responses, streamParams } from './schemas.ts';

const formats: { readonly [mediaType: string]: Format } = {
  'application/x-ndjson': 'ndjson',
  'application/ndjson': 'ndjson',
  'application/json': 'json',
  'text/csv': 'csv',
};

const waitMsDefault = 30_000;
type Query = Static<typeof recordsQuery>;
type RecordsRoute = { Params: Static<typeof streamParams>; Querystring: Query };

export function addRecordsRoute(app: FastifyInstance, parts: Parts): void {
  const described = Object.keys(formats).map((type) => [type, { schema: {} }]);
  app.post<RecordsRoute>(
    '/v1/streams/:stream/records',
    {
      config: { rights: ['write'] },
      schema: {
        summary: 'Write rows; answered when they are durable in the journal.',
        description: 'Content-Encoding: gzip is read. 202 for ack=journaled, 200 for more.',
        params: streamParams,
        querystring: recordsQuery,
        headers: recordsHeaders,
        body: { content: Object.fromEntries(described) },
        response: responses({ 200: recordsAnswer, 202: recordsAnswer }, [
          'HF_UNKNOWN_STREAM',
          'HF_ROWS_REFUSED',
          'HF_EMPTY',
          'HF_BODY_CUT',
          'HF_TOO_LARGE',
          'HF_MEDIA_TYPE',
          'HF_KEY_REUSED',
          'HF_TABLE_UNFIT',
          'HF_JOURNAL_FULL',
          'HF_NOT_SETTLED',
          'HF_NOT_FOUND',
          'HF_JOURNAL_FAILED',
        ]),
      },
    },
    async (request, reply) => {
      const receipt = await written(request, parts);
      return answer(receipt, { request, reply, parts });
    },
  );
}

async function written(
  request: FastifyRequest<RecordsRoute>,
  parts: Parts,
): Promise<WaitingReceipt> {
  const { headersDistinct } = request.raw;
  if ((headersDistinct['idempotency-key']?.length ?? 0) > 1) {
    throw new HoldfastError('HF_USAGE', 'More than one Idempotency-Key was given.');
  }
  const options = writeOptions(request.headers, request.query);
  const bytes = await readBody(request.raw, parts.bodies);
  try {
    return await parts.holdfast.writeBytes(request.params.stream, bytes, options);
  } finally {
    parts.bodies.memory.give(bytes);
  }
}

function writeOptions(headers: IncomingHttpHeaders, query: Query): WriteBytesOptions {
  const key = headers['idempotency-key'];
  const csv = csvOptions(query.delimiter, query.columns?.split(','), query.null);
  return {
    format: formatOf(headers['content-type']),
    atBound: 'refuse',
    ...(csv && { csv }),
    ...(query.invalid && { invalid: query.invalid }),
    ...(typeof key === 'string' && { idempotencyKey: key }),
  };
}

export function csvOptions(
  delimiter: string | undefined,
  columns: readonly string[] | undefined,
  nulls: readonly string[] | undefined,
): CsvOptions {
  return { ...(delimiter && { delimiter }), ...(columns && { columns }), ...(nulls && { nulls }) };
}

function formatOf(contentType: string | undefined): Format {
  const [mediaType = '', ...parameters] = (contentType ?? '').toLowerCase().split(';');
  const format = formats[mediaType.trim()];
  const charset = parameters.map((parameter) => /charset="?([^"]*)/.exec(parameter)?.[1]?.trim());
  const isUtf8 = charset.every((name) => name === undefined || /^(utf-?8|us-ascii)$/.test(name));
  if (format && isUtf8) return format;
  const known = Object.keys(formats).join(', ');
  const message = `Content-Type ${contentType ?? '(none)'} is not read; ${known} in UTF-8 are.`;
  throw new HoldfastError('HF_MEDIA_TYPE', message);
}

interface Exchange {
  readonly request: FastifyRequest<RecordsRoute>;
  readonly reply: FastifyReply;
  readonly parts: Parts;
}

async function answer(receipt: WaitingReceipt, exchange: Exchange): Promise<FastifyReply> {
  const { request, reply, parts } = exchange;
  const { ack = 'journaled', timeout = waitMsDefault } = request.query;
  const body = {
    accepted: receipt.accepted,
    receipt: receipt.id,
    ...(receipt.repeated && { repeated: true }),
    ...(receipt.rejected.length > 0 && { rejected: receipt.rejected }),
  };
  if (ack === 'journaled') return reply.code(202).send(body);
  const patience = { ms: timeout, closed: parts.closed, response: reply.raw };
  try {
    const counts = await reached(receipt, ack, patience);
    return reply.code(200).send({ ...body, counts });
  } catch (error) {
    // Nobody will know: asking again does not help.
    if (error instanceof HoldfastError && error.code === 'HF_NOT_FOUND') throw error;
    // The rows are on disk whatever ended the waiting, so this is never "not written".
    const cause = error instanceof Error ? error.message : 'The waiting was given up.';
    const message = `The rows are on disk and not yet ${ack}: ${cause} Ask for the receipt later.`;
    const refusal = new HoldfastError('HF_NOT_SETTLED', message);
    return reply.code(statusOf(refusal)).send({ ...refusalBody(refusal, request.id), ...body });
  }
}

interface Patience {
  readonly ms: number;
  readonly closed: AbortSignal;
  readonly response: ServerResponse;
}

/** `end`, unless time, the server or the caller runs out first: then it rejects and says which. */
function reached(
  receipt: WaitingReceipt,
  level: 'settled' | 'confirmed',
  { ms, closed, response }: Patience,
): Promise<EndCounts> {
  const given = new AbortController();
  return new Promise((resolve, reject) => {
    const onTime = () => giveUp(`not within ${ms} ms.`);
    const onClosed = () => giveUp('this process is shutting down.');
    const onGone = () => giveUp('the caller went away.');
    const timer = setTimeout(onTime, ms);
    const stop = () => {
      clearTimeout(timer);
      closed.removeEventListener('abort', onClosed);
      response.removeListener('close', onGone);
    };
    const giveUp = (why: string) => {
      stop();
      reject(new Error(why));
      given.abort();
    };
    closed.addEventListener('abort', onClosed);
    response.once('close', onGone);
    receipt.reached(level, given.signal).finally(stop).then(resolve, reject);
    if (closed.aborted) onClosed();
  });
}
