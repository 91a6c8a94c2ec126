// Bodies under bounds: what readBody and streamBody promise to every route.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientRequest, createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { BodyMemory, readBody, streamBody } from '../src/server/body.ts';

/** A request whose head has arrived, with its sender's and its receiver's side. */
async function arriving(t: TestContext, headers: Record<string, string> = {}) {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sender: ClientRequest = request({ port, host: '127.0.0.1', method: 'POST', headers });
  // Some of these are cut on purpose.
  sender.on('error', (error) => sender.destroy(error));
  sender.flushHeaders();
  const [raw] = (await once(server, 'request')) as [IncomingMessage];
  t.after(() => {
    sender.destroy();
    server.close();
    server.closeAllConnections();
  });
  return { sender, raw };
}

const bounds = (memory: BodyMemory) => ({ bytesMax: 1000, msMax: 10_000, memory });

test('bytes are taken from the common memory and stay taken', async (t) => {
  const memory = new BodyMemory(100);
  const { sender, raw } = await arriving(t);
  sender.end('x'.repeat(60));
  const bytes = await readBody(raw, bounds(memory));
  assert.equal(bytes.length, 60);
  assert.equal(memory.bytes, 60);
});

test('a body that the common memory cannot hold is refused and gives back its bytes', async (t) => {
  const memory = new BodyMemory(100);
  memory.take(memory.open(assert.fail), 50);
  const { sender, raw } = await arriving(t);
  sender.write('x'.repeat(40));
  const read = readBody(raw, bounds(memory));
  while (memory.bytes < 90) await new Promise((resolve) => setImmediate(resolve));
  sender.end('x'.repeat(40));
  await assert.rejects(read, { code: 'HF_OVERLOADED', retryAfterSeconds: 1 });
  assert.equal(memory.bytes, 50);
});

test('a small body takes the room of the largest that is still arriving', async (t) => {
  const memory = new BodyMemory(100);
  const whole = memory.open(assert.fail);
  memory.take(whole, 30);
  const first = memory.keep(whole, [Buffer.alloc(30)]) ?? assert.fail();
  const { sender, raw } = await arriving(t);
  sender.write('x'.repeat(60));
  const large = readBody(raw, bounds(memory));
  while (memory.bytes < 90) await new Promise((resolve) => setImmediate(resolve));
  const small = memory.open(assert.fail);
  assert(memory.take(small, 20));
  await assert.rejects(large, { code: 'HF_OVERLOADED' });
  assert.equal(memory.bytes, 50, 'what was refused is free, what has arrived is not');
  assert(!memory.take(small, 51), 'nobody is larger than what it asks for');
  memory.give(first);
  memory.give(memory.keep(small, [Buffer.alloc(20)]) ?? assert.fail());
  assert.equal(memory.bytes, 0);
});

test('the memory of a body holds another one when it was given back, not before', () => {
  const memory = new BodyMemory(1_000);
  const arrived = (...chunks: string[]): Buffer => {
    const share = memory.open(assert.fail);
    for (const chunk of chunks) memory.take(share, chunk.length);
    const kept = memory.keep(
      share,
      chunks.map((chunk) => Buffer.from(chunk)),
    );
    return kept ?? assert.fail();
  };
  const first = arrived('a longer', ' one');
  const second = arrived('another');
  assert.equal(first.toString(), 'a longer one');
  memory.give(first);
  const third = arrived('x', 'y');
  assert.equal(third.buffer, first.buffer);
  const fourth = arrived('z');
  const held = [second, third, fourth].map(String);
  assert.deepEqual(held, ['another', 'xy', 'z']);
  assert.equal(memory.bytes, held.join('').length);
});

test('a body for which the machine has no memory gives back what it took', () => {
  const memory = new BodyMemory(Number.POSITIVE_INFINITY);
  const share = memory.open(() => undefined);
  assert.ok(memory.take(share, 2 ** 52));
  assert.throws(() => memory.keep(share, []), RangeError);
  memory.drop(share);
  assert.equal(memory.bytes, 0);
});

test('the memory of small bodies does not keep out that of larger ones', () => {
  const memory = new BodyMemory(1_000_000);
  const arrived = (bytes: number): Buffer => {
    const share = memory.open(assert.fail);
    memory.take(share, bytes);
    return memory.keep(share, [Buffer.alloc(bytes)]) ?? assert.fail();
  };
  const small = Array.from({ length: 40 }, () => arrived(10));
  for (const body of small) memory.give(body);
  const large = arrived(100_000);
  memory.give(large);
  assert.equal(arrived(100_000).buffer, large.buffer);
});

test('a body that has just arrived is not refused any more', async (t) => {
  const memory = new BodyMemory(100);
  const { sender, raw } = await arriving(t);
  const read = readBody(raw, bounds(memory));
  raw.on('end', () => assert(!memory.take(memory.open(assert.fail), 50)));
  sender.end('x'.repeat(60));
  assert.equal((await read).length, 60);
  assert.equal(memory.bytes, 60);
});

test('a connection that is lost in the middle of a body is a cut body', async (t) => {
  for (const headers of [{}, { 'content-encoding': 'gzip' }]) {
    const memory = new BodyMemory(100);
    const { sender, raw } = await arriving(t, headers);
    sender.write(gzipSync('x').subarray(0, 5));
    const read = readBody(raw, bounds(memory));
    await once(raw, 'data');
    sender.destroy();
    await assert.rejects(read, { code: 'HF_BODY_CUT' });
    assert.equal(memory.bytes, 0);
  }
});

const patience = (stop = new AbortController(), idleMsMax = 10_000) => ({
  idleMsMax,
  signal: stop.signal,
});

test('a streamed body comes whole, inflated', async (t) => {
  const { sender, raw } = await arriving(t, { 'content-encoding': 'gzip' });
  const text = Array.from({ length: 100_000 }, (_, i) => i).join();
  sender.end(gzipSync(text));
  const chunks: Uint8Array[] = [];
  for await (const chunk of streamBody(raw, patience())) chunks.push(chunk);
  assert.equal(Buffer.concat(chunks).toString(), text);
});

test('a streamed body is not read ahead of who asks for it', async (t) => {
  const { sender, raw } = await arriving(t);
  const body = streamBody(raw, patience());
  sender.write('x'.repeat(1000));
  assert.equal((await body.next()).done, false);
  const size = 64 * 1024 * 1024;
  sender.end(Buffer.alloc(size));
  // Its buffers and the kernel's hold some of it; the rest stays with the sender.
  await once(raw, 'readable');
  assert(raw.readableLength < 1024 * 1024);
  assert(sender.writableLength > size / 2);
  let rest = 0;
  for await (const chunk of body) rest += chunk.length;
  assert.equal(rest, size);
});

test('a streamed body ends with its reason: idle, cut, stopped or not gzip', async (t) => {
  const idle = await arriving(t);
  await assert.rejects(streamBody(idle.raw, patience(undefined, 20)).next(), {
    code: 'HF_TIMEOUT',
  });
  for (const headers of [{}, { 'content-encoding': 'gzip' }]) {
    const cut = await arriving(t, headers);
    const next = streamBody(cut.raw, patience()).next();
    cut.sender.destroy();
    await assert.rejects(next, { code: 'HF_BODY_CUT' });
  }
  const stop = new AbortController();
  const stopped = await arriving(t);
  const next = streamBody(stopped.raw, patience(stop)).next();
  stop.abort(new Error('stopped for a reason'));
  await assert.rejects(next, /^Error: stopped for a reason$/);
  const plain = await arriving(t, { 'content-encoding': 'gzip' });
  plain.sender.end('not gzip');
  await assert.rejects(streamBody(plain.raw, patience()).next(), { code: 'HF_USAGE' });
});
