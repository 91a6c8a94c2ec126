// What can be asked: status, streams, receipts, verify, options. A token sees its own streams only.
import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import { HoldfastError } from '../errors.ts';
import type { Status } from '../types.ts';
import { accessOf, assertMayUse } from './access.ts';
import type { Parts } from './parts.ts';
import {
  receiptParams,
  receiptState,
  responses,
  statusAnswer,
  streamParams,
  streamsAnswer,
  verifyAnswer,
  verifyBody,
} from './schemas.ts';
import { type Access, mayUse } from './tokens.ts';

type Streams = Status['streams'];

/** The streams that a token may see. */
export const visible = (streams: Streams, access: Access): Streams =>
  Object.fromEntries(Object.entries(streams).filter(([name]) => mayUse(access, name)));

export function addStatusRoutes(app: FastifyInstance, { holdfast }: Parts): void {
  app.get(
    '/v1/status',
    {
      config: { rights: ['read'] },
      schema: {
        summary: 'The balance and the watermarks of every stream, the journal, the target.',
        response: responses({ 200: statusAnswer }),
      },
    },
    async (request) => {
      const status = await holdfast.status();
      return { ...status, streams: visible(status.streams, accessOf(request)) };
    },
  );
  app.get(
    '/v1/streams',
    {
      config: { rights: ['read'] },
      schema: { summary: 'The streams by name.', response: responses({ 200: streamsAnswer }) },
    },
    async (request) => ({
      streams: visible((await holdfast.status()).streams, accessOf(request)),
    }),
  );
  app.get<{ Params: Static<typeof streamParams> }>(
    '/v1/streams/:stream',
    {
      config: { rights: ['read'] },
      schema: {
        summary: 'One stream.',
        params: streamParams,
        response: responses({ 200: { $ref: 'StreamStatus#' } }, ['HF_UNKNOWN_STREAM']),
      },
    },
    async (request) => {
      const { streams } = await holdfast.status();
      const { stream } = request.params;
      const status = Object.hasOwn(streams, stream) ? streams[stream] : undefined;
      if (status) return status;
      throw new HoldfastError('HF_UNKNOWN_STREAM', `There is no stream ${stream}.`);
    },
  );
}

export function addReceiptRoute(app: FastifyInstance, { holdfast }: Parts): void {
  app.get<{ Params: Static<typeof receiptParams> }>(
    '/v1/receipts/:receipt',
    {
      config: { rights: ['read', 'write'] },
      schema: {
        summary: 'How far the rows of an earlier request are.',
        params: receiptParams,
        response: responses({ 200: receiptState }, ['HF_NOT_FOUND']),
      },
    },
    async (request) => {
      const state = await holdfast.receipt(request.params.receipt);
      // Somebody else's receipt and none at all look the same.
      if (state && mayUse(accessOf(request), state.stream)) return state;
      throw new HoldfastError('HF_NOT_FOUND', 'There is no such receipt, or it was kept its time.');
    },
  );
}

export function addVerifyRoute(app: FastifyInstance, { holdfast }: Parts): void {
  app.post<{ Body: Static<typeof verifyBody> | null }>(
    '/v1/verify',
    {
      config: { rights: ['operate'] },
      schema: {
        summary: 'Compare journal, ledger and table; `ok` tells whether they agree.',
        body: { anyOf: [verifyBody, { type: 'null' }] },
        response: responses({ 200: verifyAnswer }, ['HF_UNKNOWN_STREAM', 'HF_TARGET']),
      },
    },
    async (request) => {
      const stream = request.body?.stream;
      const access = accessOf(request);
      if (stream !== undefined) assertMayUse(access, stream);
      else if (access.streams) {
        throw new HoldfastError('HF_FORBIDDEN', 'This token must name one of its streams.');
      }
      return holdfast.verify(stream === undefined ? {} : { stream });
    },
  );
}

/** `options` as they took effect, without secrets. Everybody's streams stand in it. */
export function addOptionsRoute(app: FastifyInstance, options: object): void {
  app.get(
    '/v1/options',
    {
      config: { rights: ['operate'] },
      schema: {
        summary: 'The options as they took effect, without secrets.',
        response: responses({ 200: { type: 'object', additionalProperties: true } }),
      },
    },
    async (request) => {
      if (!accessOf(request).streams) return options;
      throw new HoldfastError('HF_FORBIDDEN', 'This needs a token with the right to all streams.');
    },
  );
}
