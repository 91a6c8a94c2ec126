// Whose connections are kept and whose are ended: at the bound on their number, for asking too much
// at once, and for not reading.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, type ClientRequest, createServer, request } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { withoutCrowd } from '../src/server/connections.ts';
import {
  bearer,
  line,
  type Rig,
  rawConnection,
  send,
  startRig,
  tokenOptions,
} from './support/server-rig.ts';

const probe = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n';
const portOf = (rig: Rig): number => Number(new URL(rig.server.url).port);

/** A connection that has asked what needs no token, and stays. */
async function stranger(t: TestContext, rig: Rig): Promise<Socket> {
  const socket = connect({ port: portOf(rig), host: '127.0.0.1' });
  t.after(() => socket.destroy());
  // That it is ended is what is asked for.
  socket.on('error', () => socket.destroy());
  socket.write(probe);
  await once(socket, 'data');
  return socket;
}

const ended = (socket: Socket): boolean => socket.destroyed || socket.readableEnded;

/** The status of a request with a token, and whether its connection had served before. */
async function asking(asked: ClientRequest): Promise<{ status: number; isReused: boolean }> {
  asked.end();
  const [answer] = await once(asked, 'response');
  answer.resume();
  await once(answer, 'end');
  return { status: answer.statusCode, isReused: asked.reusedSocket };
}

function keeping(t: TestContext, rig: Rig) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const headers = bearer('all-of-it');
  return () => asking(request(`${rig.server.url}/v1/streams`, { agent, headers }));
}

test('at the bound who has a token takes the place of who has shown none', async (t) => {
  const rig = await startRig(t, { ...tokenOptions, connectionsMax: 3 });
  const first = [await stranger(t, rig), await stranger(t, rig), await stranger(t, rig)];
  const ask = keeping(t, rig);
  const gone = once(first[0] as Socket, 'close');
  assert.deepEqual(await ask(), { status: 200, isReused: false });
  await gone;
  assert.deepEqual(first.map(ended), [true, false, false], 'the oldest');
  for (let i = 0; i < 10; i++) await stranger(t, rig);
  assert.deepEqual(await ask(), { status: 200, isReused: true }, 'it kept its own');
});

test('where all have a token the one that was idle longest goes, and no busy one', async (t) => {
  const rig = await startRig(t, { ...tokenOptions, connectionsMax: 1 });
  const asks = [keeping(t, rig), keeping(t, rig)] as const;
  assert.deepEqual(await asks[0](), { status: 200, isReused: false });
  assert.deepEqual(await asks[1](), { status: 200, isReused: false });
  const unlock = rig.lockTarget();
  const waiting = send(rig, line(1), { query: '?ack=settled', headers: bearer('all-of-it') });
  while ((await rig.holdfast.status()).streams['payments']?.accepted !== 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await assert.rejects(keeping(t, rig)(), { code: 'ECONNRESET' });
  unlock();
  assert.equal((await waiting).status, 200);
});

test('over tls connections make room as well', async (t) => {
  const keys = await startRig(t);
  const [key, cert] = [join(keys.folder, 'key.pem'), join(keys.folder, 'cert.pem')];
  const made =
    '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost';
  const named = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', ...made.split(' '), ...named], { stdio: 'ignore' });
  const rig = await startRig(t, { ...tokenOptions, connectionsMax: 2, tls: { key, cert } });
  const agent = new TlsAgent({ keepAlive: true, maxSockets: 1, ca: readFileSync(cert) });
  t.after(() => agent.destroy());
  const headers = bearer('all-of-it');
  const ask = () => asking(tlsRequest(`${rig.server.url}/v1/streams`, { agent, headers }));
  assert.deepEqual(await ask(), { status: 200, isReused: false });
  for (let i = 0; i < 5; i++) {
    const silent = connect({ port: portOf(rig), host: '127.0.0.1' });
    silent.on('error', () => silent.destroy());
    t.after(() => silent.destroy());
    await once(silent, 'connect');
  }
  assert.deepEqual(await ask(), { status: 200, isReused: true });
  // Those that never begin to speak TLS are no part of HTTP's own list, and must not hold this up.
  await rig.server.close({ drainMs: 50 });
});

test('a connection that asks for too much at once is ended, and not for a few', async (t) => {
  const rig = await startRig(t);
  const answers = async (count: number): Promise<number> => {
    const { socket, closed } = rawConnection(t, rig);
    socket.write(probe.repeat(count - 1));
    socket.write(probe.replace('host: x', 'host: x\r\nconnection: close'));
    return (await closed).split('HTTP/1.1 200').length - 1;
  };
  assert.equal(await answers(10), 10);
  assert((await answers(500)) <= 16);
  // One after the other they are as many as anybody wants.
  const ask = keeping(t, rig);
  for (let i = 0; i < 40; i++) assert.equal((await ask()).status, 200);
});

test('a connection whose answers nobody reads is ended', async (t) => {
  const rig = await startRig(t, { requestMsMax: 300 });
  const socket = connect({ port: portOf(rig), host: '127.0.0.1' });
  const lost = new Promise<string | undefined>((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  const page = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(5);
  const asks = setInterval(() => socket.writableLength < 100_000 && socket.write(page), 2);
  t.after(() => {
    clearInterval(asks);
    socket.destroy();
  });
  assert.match((await lost) ?? '', /ECONNRESET|EPIPE/);
});

test('an answer that takes its time is no silence', async (t) => {
  const rig = await startRig(t, { requestMsMax: 100 });
  const unlock = rig.lockTarget();
  const { status, body } = await send(rig, line(1), { query: '?ack=settled&timeout=500' });
  assert.deepEqual([status, body.code, body.accepted], [504, 'HF_NOT_SETTLED', 1]);
  unlock();
});

test('headers behind 2,000 others count like the first', async (t) => {
  const rig = await startRig(t, tokenOptions);
  const { socket, closed } = rawConnection(t, rig);
  const many = 'x:\r\n'.repeat(2_100);
  const own = 'connection: close\r\nauthorization: Bearer all-of-it\r\n';
  socket.write(`GET /v1/streams HTTP/1.1\r\nhost: x\r\n${many}${own}\r\n`);
  assert.match(await closed, /^HTTP\/1\.1 200 /);
});

test('requests that come at once on a connection have a turn each, in their order', async (t) => {
  let turn = 0;
  let next: NodeJS.Immediate;
  const count = (): void => {
    turn++;
    next = setImmediate(count);
  };
  count();
  t.after(() => clearImmediate(next));
  const seen: { readonly url: string | undefined; readonly turn: number }[] = [];
  const server = createServer(
    withoutCrowd(({ url }, response) => {
      seen.push({ url, turn });
      response.end();
    }),
  );
  t.after(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address);
  const socket = connect(address.port, '127.0.0.1');
  t.after(() => socket.destroy());
  const urls = Array.from({ length: 8 }, (_, i) => `/${i}`);
  for (let rounds = 0; rounds < 2; rounds++) {
    socket.write(urls.map((url) => `GET ${url} HTTP/1.1\r\nhost: x\r\n\r\n`).join(''));
    let answers = 0;
    while (answers < urls.length) {
      const [text] = (await once(socket, 'data')) as [Buffer];
      answers += text.toString().split('HTTP/1.1 200').length - 1;
    }
    assert.deepEqual(
      seen.map(({ url }) => url),
      urls,
    );
    assert.equal(new Set(seen.map((one) => one.turn)).size, urls.length);
    seen.length = 0;
  }
});
