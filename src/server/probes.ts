// What machines ask: is it alive, does it take writes, how is it doing.
import type { FastifyInstance } from 'fastify';
import { limits } from '../limits.ts';
import { accessOf } from './access.ts';
import { exposition, expositionType } from './exposition.ts';
import type { Parts } from './parts.ts';
import { visible } from './reads.ts';
import { healthAnswer, readyAnswer, responses } from './schemas.ts';

export function addProbeRoutes(app: FastifyInstance, parts: Parts): void {
  const { holdfast, answers, bodies } = parts;
  app.get(
    '/healthz',
    {
      config: { rights: 'nobody asks' },
      schema: {
        summary: '200 while the process is sound, 503 once its journal has failed for good.',
        response: responses({ 200: healthAnswer, 503: healthAnswer }),
      },
    },
    async (_request, reply) => {
      const { state } = await holdfast.health();
      return reply.code(state === 'failed' ? 503 : 200).send({ state });
    },
  );
  app.get(
    '/readyz',
    {
      config: { rights: 'nobody asks' },
      schema: {
        summary: '200 where writes are taken, 503 with the reasons where not.',
        description: 'A target that is down does not make it unready: rows are still taken.',
        response: responses({ 200: readyAnswer, 503: readyAnswer }),
      },
    },
    async (_request, reply) => {
      const { state, journal, target } = await holdfast.health();
      const isDraining = parts.closing.aborted && state === 'running';
      const reasons = [
        ...(state === 'running' ? [] : [state]),
        ...(isDraining ? ['draining'] : []),
        ...(journal.full ? ['journal full'] : []),
        ...(journal.syncingMs > limits.syncMsMax ? ['journal waits for its disk'] : []),
      ];
      const ready = reasons.length === 0;
      const { reachable } = target;
      return reply.code(ready ? 200 : 503).send({ ready, reasons, target: { reachable } });
    },
  );
  app.get(
    '/metrics',
    {
      config: { rights: ['read'] },
      schema: {
        summary: "Numbers in Prometheus' text format; holdfast_unaccounted first.",
        response: responses({ 200: { content: { 'text/plain': { schema: { type: 'string' } } } } }),
      },
    },
    async (request, reply) => {
      const status = await holdfast.status();
      const streams = visible(status.streams, accessOf(request));
      const seen = await holdfast.observe({ answers, bodyBytes: bodies.memory.bytes });
      const text = await exposition({ status: { ...status, streams }, ...seen });
      return reply.type(expositionType).send(text);
    },
  );
}
