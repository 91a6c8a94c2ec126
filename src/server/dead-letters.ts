// Dead letters: list, show, replay, drop.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import { deadLetterJson, parseDeadLetterId } from '../dead-letter-json.ts';
import { HoldfastError } from '../errors.ts';
import type { DeadLetter } from '../target/target.ts';
import { accessOf, assertMayUse } from './access.ts';
import type { Parts } from './parts.ts';
import {
  deadLetterAnswer,
  deadLetterParams,
  deadLettersAnswer,
  deadLettersQuery,
  replayAnswer,
  responses,
} from './schemas.ts';
import type { Access } from './tokens.ts';

type ListRoute = { Querystring: Static<typeof deadLettersQuery> };
type OneRoute = { Params: Static<typeof deadLetterParams> };
const config = { rights: ['operate'] } as const;
const oneCodes = ['HF_NOT_FOUND', 'HF_TARGET'] as const;
const limitDefault = 1_000;

export function addDeadLetterRoutes(app: FastifyInstance, { holdfast }: Parts): void {
  app.get<ListRoute>(
    '/v1/dead-letters',
    {
      config,
      schema: {
        summary: 'Rows that were kept whole because they could not be written.',
        querystring: deadLettersQuery,
        response: responses({ 200: deadLettersAnswer }, ['HF_UNKNOWN_STREAM', 'HF_TARGET']),
      },
    },
    async (request, reply) => {
      const { stream, limit = limitDefault } = request.query;
      const access = accessOf(request);
      if (stream !== undefined) assertMayUse(access, stream);
      const streams = stream === undefined ? seen(access) : [stream];
      const letters: DeadLetter[] = [];
      for (const name of streams) {
        const filter = {
          limit: limit - letters.length,
          ...(name !== undefined && { stream: name }),
        };
        if (filter.limit > 0) letters.push(...(await holdfast.deadLetters.list(filter)));
      }
      return json(reply, `{"deadLetters":[${letters.map(deadLetterJson).join(',')}]}`);
    },
  );
  app.get<OneRoute>(
    '/v1/dead-letters/:id',
    {
      config,
      schema: {
        summary: 'One dead letter.',
        params: deadLetterParams,
        response: responses({ 200: deadLetterAnswer }, oneCodes),
      },
    },
    async (request, reply) =>
      json(reply, deadLetterJson(await holdfast.deadLetters.show(ownId(request)))),
  );
  addChanges(app, { holdfast });
}

function addChanges(app: FastifyInstance, { holdfast }: Pick<Parts, 'holdfast'>): void {
  app.post<OneRoute>(
    '/v1/dead-letters/:id/replay',
    {
      config,
      schema: {
        summary: 'Write its row again, after the cause was repaired; answers with its new end.',
        params: deadLetterParams,
        response: responses({ 200: replayAnswer }, oneCodes),
      },
    },
    async (request) => ({ end: await holdfast.deadLetters.replay(ownId(request)) }),
  );
  app.delete<OneRoute>(
    '/v1/dead-letters/:id',
    {
      config,
      schema: {
        summary: 'Give its row up; a tombstone stays in the books.',
        params: deadLetterParams,
        response: responses({ 204: { type: 'null', description: 'Dropped.' } }, oneCodes),
      },
    },
    async (request, reply) => {
      await holdfast.deadLetters.drop(ownId(request));
      return reply.code(204).send();
    },
  );
}

/** The streams to ask for; [undefined]: all at once. */
const seen = (access: Access): readonly (string | undefined)[] =>
  access.streams === undefined ? [undefined] : [...access.streams];

/** The id of the path, of a stream that the token may use. */
function ownId(request: FastifyRequest<OneRoute>): string {
  const { id } = request.params;
  const parsed = parseDeadLetterId(id);
  if (!parsed) throw new HoldfastError('HF_NOT_FOUND', 'There is no dead letter of that id.');
  assertMayUse(accessOf(request), parsed.stream);
  return id;
}

const json = (reply: FastifyReply, text: string): FastifyReply =>
  reply.type('application/json; charset=utf-8').send(text);
