// Who may ask what over HTTP, and from where.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { startServer } from '../src/server/server.ts';
import {
  ask,
  bearer,
  line,
  type Rig,
  rawConnection,
  send,
  startRig,
  tokenOptions,
} from './support/server-rig.ts';

type Route = readonly [method: 'GET' | 'POST' | 'DELETE', path: string];

const writing: readonly Route[] = [
  ['POST', '/v1/streams/payments/records'],
  ['POST', '/v1/streams/payments/loads'],
  ['POST', '/v1/loads/none?offset=0'],
  ['POST', '/v1/loads/none/reported'],
];
const reading: readonly Route[] = [
  ['GET', '/v1/status'],
  ['GET', '/v1/streams'],
  ['GET', '/v1/streams/payments'],
  ['GET', '/metrics'],
];
const operating: readonly Route[] = [
  ['POST', '/v1/verify'],
  ['GET', '/v1/dead-letters'],
  ['GET', '/v1/dead-letters/x'],
  ['POST', '/v1/dead-letters/x/replay'],
  ['DELETE', '/v1/dead-letters/x'],
  ['GET', '/v1/options'],
];

const options = { ...tokenOptions, shownOptions: { some: 'thing' } };

const code = async (rig: Rig, [method, path]: Route, token?: string) => {
  const headers = token === undefined ? {} : bearer(token);
  const { status, body } = await ask(rig, path, { method, headers });
  return [status, body.code];
};

test('with tokens, nothing but probes and the empty page is open', async (t) => {
  const rig = await startRig(t, options);
  for (const route of [...writing, ...reading, ...operating, ['GET', '/openapi.json'] as const]) {
    await rig.restart();
    assert.deepEqual(await code(rig, route), [401, 'HF_UNAUTHORIZED'], route.join(' '));
  }
  assert.deepEqual(await code(rig, ['GET', '/no-such-path']), [401, 'HF_UNAUTHORIZED']);
  for (const path of ['/healthz', '/readyz', '/']) {
    assert.equal((await ask(rig, path)).status, 200, path);
  }
  const { headers } = await ask(rig, '/v1/status');
  assert.equal(headers.get('www-authenticate'), 'Bearer');
});

test('a token opens the routes of its rights and no other', async (t) => {
  const rig = await startRig(t, options);
  const cases = [
    ['writes-payments', writing, [...reading, ...operating]],
    ['reads-payments', reading, [...writing, ...operating]],
    ['operates-payments', operating, [...reading, ...writing]],
  ] as const;
  for (const [token, open, shut] of cases) {
    for (const route of shut) {
      assert.deepEqual(await code(rig, route, token), [403, 'HF_FORBIDDEN'], route.join(' '));
    }
    for (const route of open.filter(([, path]) => !/verify|options/.test(path))) {
      const [status] = await code(rig, route, token);
      assert.notEqual(status, 401);
      assert.notEqual(status, 403, `${token} ${route.join(' ')}`);
    }
  }
  for (const route of [...writing, ...reading, ...operating]) {
    const [status] = await code(rig, route, 'all-of-it');
    assert(status !== 401 && status !== 403, route.join(' '));
  }
});

test("a stream outside the token's is forbidden whether it exists or not", async (t) => {
  const rig = await startRig(t, options);
  const writer = '00000000-0000-4000-8000-000000000001';
  for (const stream of ['notes', 'no-such-stream']) {
    const headers = bearer('writes-payments');
    const written = await send(rig, line(1), { stream, headers });
    assert.deepEqual([written.status, written.body.code], [403, 'HF_FORBIDDEN']);
    const path = `/v1/streams/${stream}`;
    assert.deepEqual(await code(rig, ['GET', path], 'reads-payments'), [403, 'HF_FORBIDDEN']);
    for (const query of [`stream=${stream}`, `after=${writer}.0.1.${stream}`]) {
      const answer = await code(rig, ['GET', `/v1/dead-letters?${query}`], 'operates-payments');
      assert.deepEqual(answer, [403, 'HF_FORBIDDEN']);
    }
  }
  const verify = await ask(rig, '/v1/verify', {
    method: 'POST',
    headers: bearer('operates-payments'),
  });
  assert.equal(verify.status, 403);
});

test('dead letters of all streams of a token are listed, one stream after the other', async (t) => {
  const streams = ['payments', 'notes'];
  const rig = await startRig(t, { tokens: [{ token: 'both', streams }] });
  const headers = bearer('both');
  const query = '?ack=settled&invalid=dead-letter';
  for (const stream of ['notes', 'payments', 'payments', 'notes']) {
    const { status, text } = await send(rig, 'not json\n', { stream, query, headers });
    assert.equal(status, 200, text);
  }
  const page = async (more: string) => {
    const { text } = await ask(rig, `/v1/dead-letters?limit=3${more}`, { headers });
    type Page = {
      readonly deadLetters: readonly { readonly stream: string }[];
      readonly next?: string;
    };
    const { deadLetters, next } = JSON.parse(text) as Page;
    return { streams: deadLetters.map(({ stream }) => stream), next };
  };
  const first = await page('');
  assert.deepEqual(first.streams, ['payments', 'payments', 'notes']);
  const second = await page(`&after=${first.next}`);
  assert.deepEqual(second, { streams: ['notes'], next: undefined });
});

test('a token sees its own streams only', async (t) => {
  const rig = await startRig(t, options);
  const headers = bearer('reads-payments');
  for (const path of ['/v1/status', '/v1/streams', '/metrics']) {
    const { text, status } = await ask(rig, path, { headers });
    assert.equal(status, 200);
    assert.match(text, /payments/);
    assert.doesNotMatch(text, /notes/, path);
  }
  const all = bearer('all-of-it');
  const sent = await send(rig, '{"body":"x"}\n', { stream: 'notes', headers: all });
  const receipt = `/v1/receipts/${sent.body.receipt}`;
  assert.equal((await ask(rig, receipt, { headers })).status, 404);
  assert.equal((await ask(rig, receipt, { headers: all })).status, 200);
});

test('guesses at tokens are limited, and lock out nobody who was in before', async (t) => {
  const rig = await startRig(t, options);
  const read = ['GET', '/v1/status'] as const;
  assert.deepEqual(await code(rig, read, 'all-of-it'), [200, undefined]);
  const guesses: unknown[] = [];
  for (let i = 0; i < 25; i++)
    guesses.push((await code(rig, read, `guess ${i}`.replace(' ', '-')))[0]);
  assert.deepEqual(new Set(guesses), new Set([401, 429]));
  assert.equal(guesses.at(-1), 429);
  const right = await ask(rig, '/v1/status', { headers: bearer('reads-payments') });
  assert.equal(right.status, 429, 'a right guess must look like a wrong one');
  assert(Number(right.headers.get('retry-after')) > 0);
  assert.deepEqual(await code(rig, read, 'all-of-it'), [200, undefined]);
});

test('without tokens the server refuses to listen beyond this machine', async (t) => {
  const rig = await startRig(t);
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.com']) {
    const started = startServer(rig.holdfast, { host, port: 0 });
    await assert.rejects(started, { code: 'HF_USAGE', message: /tokens/ }, host);
  }
  const open = await startServer(rig.holdfast, { ...tokenOptions, host: '0.0.0.0', port: 0 });
  await open.close();
});

test('an address that is taken is a usage error, and nothing stays open', async (t) => {
  const rig = await startRig(t);
  const port = Number(new URL(rig.server.url).port);
  await assert.rejects(startServer(rig.holdfast, { port }), {
    code: 'HF_USAGE',
    message: /EADDRINUSE/,
  });
});

test('without tokens, requests that a web page could forge are refused', async (t) => {
  const rig = await startRig(t);
  const forged = async (header: string) => {
    const { socket, closed } = rawConnection(t, rig);
    socket.write(`POST /v1/verify HTTP/1.1\r\nconnection: close\r\n${header}\r\n\r\n`);
    return (await closed).slice(0, 12);
  };
  assert.equal(await forged('host: rebound.example.com'), 'HTTP/1.1 403');
  assert.equal(await forged('host: localhost\r\norigin: https://example.com'), 'HTTP/1.1 403');
  assert.equal(await forged('host: localhost:80\r\norigin: http://localhost:80'), 'HTTP/1.1 200');
  assert.equal(await forged('host: [::1]:80'), 'HTTP/1.1 200');
});

test('with tls, answers come over https', async (t) => {
  const keys = await startRig(t);
  const key = join(keys.folder, 'key.pem');
  const cert = join(keys.folder, 'cert.pem');
  const made =
    '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost';
  const named = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', ...made.split(' '), ...named], { stdio: 'ignore' });
  const rig = await startRig(t, { tls: { key, cert } });
  assert.match(rig.server.url, /^https:/);
  const status = await new Promise((resolve, reject) => {
    const asked = request(`${rig.server.url}/healthz`, { ca: readFileSync(cert), agent: false });
    asked
      .on('response', (answer) => resolve(answer.resume().statusCode))
      .on('error', reject)
      .end();
  });
  assert.equal(status, 200);
  const missing = { key, cert: join(keys.folder, 'none.pem') };
  const started = startServer(rig.holdfast, { port: 0, tls: missing });
  await assert.rejects(started, { code: 'HF_USAGE', message: /none\.pem/ });
});
