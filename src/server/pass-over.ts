// The operator's order to give up records that target and journal have both lost (P3).
import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import type { Parts } from './parts.ts';
import { passOverAnswer, passOverBody, responses, streamParams } from './schemas.ts';

type Route = {
  Params: Static<typeof streamParams>;
  Body: Static<typeof passOverBody>;
};

export function addPassOverRoute(app: FastifyInstance, { holdfast }: Parts): void {
  app.post<Route>(
    '/v1/streams/:stream/pass-over',
    {
      config: { rights: ['operate'] },
      schema: {
        summary: 'Give up records that target and journal have both lost; they are unaccounted.',
        params: streamParams,
        body: passOverBody,
        response: responses({ 200: passOverAnswer }, [
          'HF_UNKNOWN_STREAM',
          'HF_TARGET',
          'HF_CORRUPT',
        ]),
      },
    },
    async (request) => ({
      ranges: await holdfast.passOver(request.params.stream, request.body),
    }),
  );
}
