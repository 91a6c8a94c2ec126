// GET /: the status page. It holds no figures itself and asks /v1/status for them, so it needs no
// token; the page asks its reader for one. Nothing but its own script and style may run in it.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { responses } from './schemas.ts';

// From src/server and from dist/server alike; the package carries both folders.
const pageUrl = new URL('../../src/dashboard/page.html', import.meta.url);

function hashOf(html: string, tag: 'script' | 'style'): string {
  const text = html.slice(html.indexOf(`<${tag}>`) + tag.length + 2, html.indexOf(`</${tag}>`));
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

export function addPageRoute(app: FastifyInstance): void {
  const html = readFileSync(pageUrl, 'utf8');
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(html, 'script')}`,
    `style-src ${hashOf(html, 'style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  app.get(
    '/',
    {
      config: { rights: 'nobody asks' },
      schema: {
        summary: 'The status page.',
        response: responses({ 200: { content: { 'text/html': { schema: { type: 'string' } } } } }),
      },
    },
    (_request, reply) =>
      reply
        .header('content-security-policy', policy)
        .header('referrer-policy', 'no-referrer')
        .type('text/html; charset=utf-8')
        .send(html),
  );
}
