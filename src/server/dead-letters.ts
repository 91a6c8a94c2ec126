// Dead letters: list, show, replay, drop.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import { deadLetterJson, deadLettersJson, parseDeadLetterId } from '../dead-letter-json.ts';
import { eachDeadLetter } from '../dead-letters.ts';
import { HoldfastError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { DeadLetter, DeadLetterId } from '../target/target.ts';
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
const listCodes = ['HF_UNKNOWN_STREAM', 'HF_NOT_FOUND', 'HF_TARGET'] as const;

export function addDeadLetterRoutes(app: FastifyInstance, { holdfast }: Parts): void {
  app.get<ListRoute>(
    '/v1/dead-letters',
    {
      config,
      schema: {
        summary: 'Rows that were kept whole because they could not be written.',
        querystring: deadLettersQuery,
        response: responses({ 200: deadLettersAnswer }, listCodes),
      },
    },
    async (request, reply) => {
      const { stream, limit = limits.lettersListedMax, after } = request.query;
      const access = accessOf(request);
      if (stream !== undefined) assertMayUse(access, stream);
      const streams = stream === undefined ? seen(access) : [stream];
      const listed = {
        streams,
        limit,
        after: after === undefined ? undefined : own(access, after),
      };
      return json(reply, await pageOf(eachOf(holdfast, listed), limit));
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

/** `letters` up to the one with which there are `limit`, or some MiB of them. */
async function pageOf(letters: AsyncIterable<DeadLetter>, limit: number): Promise<string> {
  const texts: string[] = [];
  let characters = 0;
  for await (const letter of letters) {
    const text = deadLetterJson(letter);
    texts.push(text);
    characters += text.length;
    const isFull = texts.length === limit || characters >= limits.lettersListedBytes;
    if (isFull) return deadLettersJson(texts, letter);
  }
  return deadLettersJson(texts);
}

interface Listed {
  readonly streams: readonly (string | undefined)[];
  readonly limit: number;
  readonly after: DeadLetterId | undefined;
}

/** One stream after the other, at most `limit` of each; from that of `after` on. */
async function* eachOf(
  { deadLetters }: Parts['holdfast'],
  { streams, limit, after }: Listed,
): AsyncGenerator<DeadLetter> {
  const first = Math.max(streams.indexOf(after?.stream), 0);
  for (const [place, stream] of streams.entries()) {
    if (place < first) continue;
    const from = place === first ? after : undefined;
    yield* eachDeadLetter(deadLetters, { stream, after: from, limit });
  }
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
  own(accessOf(request), id);
  return id;
}

/** What the id says, of a stream that the token may use. */
function own(access: Access, id: string): DeadLetterId {
  const parsed = parseDeadLetterId(id);
  if (!parsed) throw new HoldfastError('HF_NOT_FOUND', 'There is no dead letter of that id.');
  assertMayUse(access, parsed.stream);
  return parsed;
}

const json = (reply: FastifyReply, text: string): FastifyReply =>
  reply.type('application/json; charset=utf-8').send(text);
