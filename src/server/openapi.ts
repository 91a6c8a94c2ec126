// GET /openapi.json, made from the schemas that the routes are registered with.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';

// From src/server and from dist/server alike.
const packageUrl = new URL('../../package.json', import.meta.url);

const description = [
  'A durable, exactly-once write path in front of a SQL database.',
  'Every refusal says what became of the write: "not written", "written" or "unknown"; after',
  '"unknown" the same request with the same Idempotency-Key may be sent again without doubling.',
].join('\n');

/** To be registered before the routes that it describes. */
export async function describeApi(app: FastifyInstance): Promise<void> {
  const { version } = JSON.parse(readFileSync(packageUrl, 'utf8')) as { readonly version: string };
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Holdfast', version, description },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
    refResolver: {
      // The shared schemas keep their names; every one of them has one.
      buildLocalReference: ({ $id }) => {
        assert(typeof $id === 'string', 'a shared schema has a name');
        return $id;
      },
    },
    transform: ({ schema, url, route }) => {
      const isOpen = route.config?.rights === 'nobody asks';
      return { schema: { ...schema, ...(isOpen && { security: [] }) }, url };
    },
  });
  let text: string | undefined;
  app.get(
    '/openapi.json',
    {
      config: { rights: ['read', 'write', 'operate'] },
      schema: { summary: 'This description.', response: { 200: { type: 'object' } } },
    },
    (_request, reply) => {
      // Once for all: writing it out takes as long as a hundred small requests.
      text ??= JSON.stringify(app.swagger());
      return reply.type('application/json; charset=utf-8').send(text);
    },
  );
}
