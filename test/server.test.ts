// Writing over HTTP: what is taken, what is refused, and what the answers promise.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { ask, line, lines, postHead, rawConnection, send, startRig } from './support/server-rig.ts';

const gzip = { 'content-encoding': 'gzip' };

/** How a row that a request must not have written would show. */
async function assertNothingWritten(rig: Awaited<ReturnType<typeof startRig>>): Promise<void> {
  const { streams } = await rig.holdfast.status();
  assert.equal(streams['payments']?.accepted, 0);
  assert.deepEqual(rig.query('SELECT * FROM payments'), []);
}

test('rows sent as NDJSON, JSON and CSV are in the table once', async (t) => {
  const rig = await startRig(t);
  const settled = { query: '?ack=settled' };
  const ndjson = await send(rig, line(9007199254740993n) + line(2), settled);
  assert.equal(ndjson.status, 200);
  const merged = { merged: 2, duplicates: 0, superseded: 0, deadLetters: 0 };
  assert.deepEqual(ndjson.body.counts, merged);
  assert.equal(ndjson.body.accepted, 2);

  const array = '[{"tx_id":3,"user_id":7},{"tx_id":4,"user_id":7}]';
  const json = await send(rig, array, { ...settled, type: 'application/json' });
  assert.deepEqual(json.body.counts, merged);
  const one = await send(rig, '{"tx_id":5,"user_id":7}', { ...settled, type: 'application/json' });
  assert.equal(one.body.accepted, 1);

  const csv = { type: 'text/csv; charset=utf-8' };
  const header = await send(rig, 'tx_id,user_id,status\r\n6,7,paid\r\n', { ...settled, ...csv });
  assert.equal(header.body.accepted, 1, header.text);
  const query = '?ack=confirmed&delimiter=%3B&columns=tx_id,user_id,status&null=NA&null=none';
  const named = await send(rig, '7;8;NA\n8;8;none\n9;8;"NA"\n', { ...csv, query });
  assert.equal(named.status, 200, named.text);
  assert.deepEqual(
    rig.query('SELECT CAST(tx_id AS TEXT) AS id, status FROM payments ORDER BY tx_id'),
    [
      ['2', 'paid'],
      ['3', null],
      ['4', null],
      ['5', null],
      ['6', 'paid'],
      ['7', null],
      ['8', null],
      ['9', 'NA'],
      ['9007199254740993', 'paid'],
    ].map(([id, status]) => Object.assign(Object.create(null), { id, status })),
  );
});

test('a receipt tells how far its rows are, also after a restart', async (t) => {
  const rig = await startRig(t);
  const release = rig.lockTarget();
  const written = await send(rig, line(1) + line(2));
  assert.equal(written.status, 202);
  const path = `/v1/receipts/${written.body.receipt}`;
  const before = await ask(rig, path);
  assert.equal(before.body.level, 'journaled');
  release();
  await rig.restart();
  const again = await send(rig, line(3), { query: '?ack=settled' });
  assert.equal(again.status, 200);
  const after = await ask(rig, path);
  assert.equal(after.status, 200, after.text);
  assert.equal(after.body.accepted, 2);
  assert.notEqual(after.body.level, 'journaled');
  assert.equal(after.body.counts?.['merged'], 2);
  assert.equal((await ask(rig, '/v1/receipts/no-such-receipt')).status, 404);
});

test('one bad row refuses the whole request, and every bad line is named', async (t) => {
  const rig = await startRig(t);
  const wrong = '{"tx_id":2,"user_id":"seven"}\n';
  const refused = await send(rig, `${line(1)}${wrong}\nnot json\n${line(3)}{"tx_id":4}\n`);
  assert.equal(refused.status, 422);
  assert.equal(refused.body.code, 'HF_ROWS_REFUSED');
  assert.equal(refused.body.outcome, 'not written');
  assert.deepEqual(
    refused.body.rejected?.map((row) => [row.line, row.column, row.code]),
    [
      [2, 'user_id', 'wrong-type'],
      [4, null, 'bad-json'],
      [6, 'user_id', 'missing-column'],
    ],
  );
  await assertNothingWritten(rig);
});

test('invalid=dead-letter keeps the bad rows and writes the good ones', async (t) => {
  const rig = await startRig(t);
  const query = '?invalid=dead-letter&ack=settled';
  const taken = await send(rig, `${line(1)}not json\n`, { query });
  assert.equal(taken.status, 200, taken.text);
  assert.equal(taken.body.accepted, 2);
  assert.equal(taken.body.rejected?.[0]?.line, 2);
  assert.equal(taken.body.counts?.['merged'], 1);
  assert.equal(taken.body.counts?.['deadLetters'], 1);
});

test('what is not a request for rows is refused by its code, and nothing is written', async (t) => {
  const rig = await startRig(t);
  const cases: readonly (readonly [number, string, Parameters<typeof send>[1], object])[] = [
    [404, 'HF_UNKNOWN_STREAM', line(1), { stream: 'nope' }],
    [400, 'HF_EMPTY', '', {}],
    [400, 'HF_EMPTY', '\n\n', {}],
    [415, 'HF_MEDIA_TYPE', line(1), { type: 'text/plain' }],
    [415, 'HF_MEDIA_TYPE', line(1), { type: 'text/csv; charset=latin1' }],
    [415, 'HF_MEDIA_TYPE', line(1), { type: '' }],
    [415, 'HF_MEDIA_TYPE', brotliCompressSync(line(1)), { headers: { 'content-encoding': 'br' } }],
    [415, 'HF_MEDIA_TYPE', deflateSync(line(1)), { headers: { 'content-encoding': 'deflate' } }],
    [415, 'HF_MEDIA_TYPE', line(1), { headers: { 'content-encoding': 'gzip, gzip' } }],
    [400, 'HF_USAGE', line(1), { headers: gzip }],
    [400, 'HF_BODY_CUT', gzipSync(line(1)).subarray(0, -3), { headers: gzip }],
    [400, 'HF_USAGE', line(1), { query: '?ack=durable' }],
    [400, 'HF_USAGE', line(1), { query: '?acknowledge=settled' }],
    [400, 'HF_USAGE', line(1), { query: '?timeout=0' }],
    [400, 'HF_USAGE', line(1), { headers: { 'idempotency-key': 'k'.repeat(256) } }],
    [400, 'HF_USAGE', line(1), { headers: { 'idempotency-key': 'tab\there' } }],
    [422, 'HF_ROWS_REFUSED', `{"tx_id":${'['.repeat(200_000)}`, {}],
  ];
  for (const [status, code, body, sent] of cases) {
    const answer = await send(rig, body, sent);
    assert.deepEqual([answer.status, answer.body.code], [status, code], answer.text);
    assert.equal(answer.body.outcome, 'not written');
  }
  await assertNothingWritten(rig);
});

test('gzip is read, in several members too', async (t) => {
  const rig = await startRig(t);
  const body = Buffer.concat([gzipSync(line(1)), gzipSync(line(2))]);
  const answer = await send(rig, body, { headers: gzip, query: '?ack=settled' });
  assert.equal(answer.body.counts?.['merged'], 2, answer.text);
});

test('a bomb of gzip is refused before it fills memory', async (t) => {
  const rig = await startRig(t);
  const member = gzipSync(Buffer.alloc(16 * 1024 * 1024));
  const bomb = Buffer.concat(Array.from({ length: 64 }, () => member));
  const before = process.memoryUsage().rss;
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 5);
  const answer = await send(rig, bomb, { headers: gzip });
  clearInterval(watch);
  assert.equal(answer.status, 413, answer.text);
  assert.equal(answer.body.code, 'HF_TOO_LARGE');
  // A gibibyte came in; sixteen mebibytes of it may stand here, and what the collector has not met.
  assert(Math.max(most, process.memoryUsage().rss) - before < 160 * 1024 * 1024);
});

test('a body over the bound is refused, declared or not', async (t) => {
  const rig = await startRig(t, { bodyBytesMax: 1000 });
  const declared = await send(rig, 'x'.repeat(1001));
  assert.deepEqual([declared.status, declared.body.code], [413, 'HF_TOO_LARGE']);
  const { socket, closed } = rawConnection(t, rig);
  socket.write(`${postHead('content-length: 1001')}\r\n`);
  assert.match(await closed, /^HTTP\/1\.1 413 /, 'a declared length is enough');
  const chunks = new ReadableStream({
    // A server on another thread takes all at once: the client must come to its answer.
    pull: async (controller) => {
      await turn();
      controller.enqueue(new Uint8Array(100));
    },
  });
  const undeclared = await send(rig, chunks);
  assert.deepEqual([undeclared.status, undeclared.body.code], [413, 'HF_TOO_LARGE']);
  assert.equal((await send(rig, line(1))).status, 202);
});

test('a level that is not reached in time is told with the receipt', async (t) => {
  const rig = await startRig(t);
  const release = rig.lockTarget();
  const late = await send(rig, line(1), { query: '?ack=settled&timeout=50' });
  assert.equal(late.status, 504, late.text);
  assert.deepEqual([late.body.code, late.body.outcome], ['HF_NOT_SETTLED', 'written']);
  assert.equal(late.body.accepted, 1);
  release();
  const next = await send(rig, line(2), { query: '?ack=settled' });
  assert.equal(next.status, 200, next.text);
  const receipt = await ask(rig, `/v1/receipts/${late.body.receipt}`);
  assert.equal(receipt.body.counts?.['merged'], 1, receipt.text);
});

test('a client that goes away cancels its waiting and not its write', async (t) => {
  const rig = await startRig(t);
  const release = rig.lockTarget();
  const { socket } = rawConnection(t, rig);
  const body = line(1);
  const path = '/v1/streams/payments/records?ack=settled';
  socket.write(postHead(`content-length: ${body.length}`).replace(/\/v1\S+/, path));
  socket.write(`\r\n${body}`);
  while ((await rig.holdfast.status()).streams['payments']?.accepted !== 1) await nextTurn();
  socket.destroy();
  await once(socket, 'close');
  release();
  const next = await send(rig, line(2), { query: '?ack=settled' });
  assert.equal(next.status, 200);
  assert.equal(rig.query('SELECT * FROM payments').length, 2);
});

const nextTurn = () => new Promise((resolve) => setTimeout(resolve, 5));

test('a request that does not arrive in time is cut', async (t) => {
  const rig = await startRig(t, { requestMsMax: 200 });
  const slow = [
    ['a body that trickles', `${postHead('content-length: 1000')}\r\n{`],
    ['headers that do not end', 'POST / HTTP/1.1\r\nhost: x\r\nx-a: '],
  ] as const;
  await Promise.all(
    slow.map(async ([what, head]) => {
      const { socket, closed } = rawConnection(t, rig);
      socket.write(head);
      const drip = setInterval(() => socket.write(' '), 50);
      t.after(() => clearInterval(drip));
      const answer = await closed;
      clearInterval(drip);
      assert.match(answer, /^HTTP\/1\.1 408 /, what);
      assert.match(answer, /"code":"HF_TIMEOUT","outcome":"not written"/, what);
    }),
  );
  await assertNothingWritten(rig);
});

test('a body that ends before its declared length is refused', async (t) => {
  const rig = await startRig(t);
  const { socket, closed } = rawConnection(t, rig);
  socket.end(`${postHead('content-length: 1000')}\r\n${line(1)}`);
  const answer = await closed;
  assert.match(answer, /^HTTP\/1\.1 400 /);
  assert.match(answer, /"code":"HF_BODY_CUT","outcome":"not written"/);
  await assertNothingWritten(rig);
});

test('bytes beyond the declared length are no part of the request', async (t) => {
  const rig = await startRig(t);
  const { socket, closed } = rawConnection(t, rig);
  const body = line(1);
  socket.write(`${postHead(`content-length: ${body.length}`)}\r\n${body}${line(2)}`);
  const answer = await closed;
  // Its own answer comes first, and says what became of it.
  assert.match(answer, /^HTTP\/1\.1 202 /);
  assert.equal((await rig.holdfast.status()).streams['payments']?.accepted, 1);
});

test('requests that two servers could read in two ways are refused', async (t) => {
  const rig = await startRig(t);
  const heads = [
    postHead('content-length: 5', 'transfer-encoding: chunked'),
    postHead('content-length: 5', 'content-length: 6'),
    postHead(`x-long: ${'x'.repeat(20_000)}`),
  ];
  const answers = await Promise.all(
    heads.map((head) => {
      const { socket, closed } = rawConnection(t, rig);
      socket.write(`${head}\r\n0\r\n\r\n`);
      return closed;
    }),
  );
  const status = answers.map((answer) => answer.slice(0, 12));
  assert.deepEqual(status, ['HTTP/1.1 400', 'HTTP/1.1 400', 'HTTP/1.1 431']);
  await assertNothingWritten(rig);
});

test('many clients at once lose nothing and double nothing', async (t) => {
  const rig = await startRig(t);
  const clients = Array.from({ length: 8 }, async (_, client) => {
    for (let i = 0; i < 5; i++) {
      const answer = await send(rig, lines(client * 1000 + i * 50, 50));
      assert.equal(answer.status, 202, answer.text);
    }
  });
  await Promise.all(clients);
  await send(rig, lines(0, 10), { query: '?ack=settled' });
  await rig.holdfast.close();
  assert.deepEqual({ ...rig.query('SELECT count(*) AS n FROM payments')[0] }, { n: 2000 });
});

test('one body of bad lines without end is refused before it takes the memory', async (t) => {
  const rig = await startRig(t);
  const body = 'x\n'.repeat(2_000_000);
  for (const query of ['', '?invalid=dead-letter']) {
    const { status, body: told } = await send(rig, body, { query });
    const expected = query === '' ? [422, 'HF_ROWS_REFUSED'] : [413, 'HF_TOO_LARGE'];
    assert.deepEqual([status, told.code, told.outcome], [...expected, 'not written']);
    assert((told.rejected?.length ?? 0) <= 1_000);
  }
  await assertNothingWritten(rig);
});
