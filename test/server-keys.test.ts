// Requests with an Idempotency-Key over HTTP: sent again they get their answer, and write nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { HoldfastError } from '../src/errors.ts';
import { outcomeOf } from '../src/server/refusal.ts';
import { line, postHead, rawConnection, send, startRig } from './support/server-rig.ts';

const gzip = { 'content-encoding': 'gzip' };

test('a request with the key of an earlier one gets its answer and writes nothing', async (t) => {
  const rig = await startRig(t);
  const headers = { 'idempotency-key': 'order 1' };
  const sent = { headers, query: '?ack=settled', stream: 'notes' };
  const first = await send(rig, '{"body":"once"}\n', sent);
  assert.equal(first.status, 200, first.text);
  assert.equal(first.body.repeated, undefined);
  const packed = { ...sent, headers: { ...headers, ...gzip } };
  const second = await send(rig, gzipSync('{"body":"once"}\n'), packed);
  assert.equal(second.body.repeated, true, second.text);
  const other = await send(rig, '{"body":"twice"}\n', sent);
  assert.deepEqual([other.status, other.body.code], [409, 'HF_KEY_REUSED']);
  await rig.restart();
  const third = await send(rig, '{"body":"once"}\n', sent);
  assert.deepEqual({ ...third.body, repeated: true }, { ...first.body, repeated: true });
  assert.equal(third.body.repeated, true);
  assert.equal(rig.query('SELECT * FROM notes').length, 1);
});

test('the key is looked up before the rows are read', async (t) => {
  const rig = await startRig(t);
  const sent = { headers: { 'idempotency-key': 'k' }, query: '?ack=settled' };
  const first = await send(rig, line(1), sent);
  assert.equal(first.status, 200, first.text);
  rig.query('ALTER TABLE payments DROP COLUMN status');
  await rig.restart();
  const second = await send(rig, line(1), sent);
  assert.deepEqual([second.status, second.body.receipt], [200, first.body.receipt], second.text);
  assert.equal((await send(rig, line(2), { query: '?ack=settled' })).status, 422);
});

test('twins that arrive together under one key write once', async (t) => {
  const rig = await startRig(t);
  const sent = { headers: { 'idempotency-key': 'twin' }, query: '?ack=settled', stream: 'notes' };
  const twins = await Promise.all(
    Array.from({ length: 20 }, () => send(rig, '{"body":"once"}\n', sent)),
  );
  assert.deepEqual(new Set(twins.map(({ status }) => status)), new Set([200]));
  assert.equal(new Set(twins.map(({ body }) => body.receipt)).size, 1);
  assert.equal(twins.filter(({ body }) => body.repeated !== true).length, 1);
  assert.equal(rig.query('SELECT * FROM notes').length, 1);
});

test('what says how the bytes are read is part of what a key stands for', async (t) => {
  const rig = await startRig(t);
  const headers = { 'idempotency-key': 'csv' };
  const csv = { headers, type: 'text/csv' };
  const body = '1,7\n';
  const first = await send(rig, body, { ...csv, query: '?columns=tx_id,user_id' });
  assert.equal(first.status, 202, first.text);
  for (const query of ['?columns=user_id,tx_id', '?columns=tx_id,user_id&null=7']) {
    const other = await send(rig, body, { ...csv, query });
    assert.deepEqual([other.status, other.body.code], [409, 'HF_KEY_REUSED'], query);
  }
  const again = await send(rig, body, { ...csv, query: '?columns=tx_id,user_id&ack=settled' });
  assert.equal(again.body.repeated, true, again.text);
  assert.deepEqual(
    { ...rig.query('SELECT tx_id, user_id FROM payments')[0] },
    {
      tx_id: 1,
      user_id: 7,
    },
  );
});

test('two keys are one too many', async (t) => {
  const rig = await startRig(t);
  const { socket, closed } = rawConnection(t, rig);
  const body = line(1);
  const keys = ['idempotency-key: a', 'idempotency-key: b', 'connection: close'];
  socket.end(`${postHead(`content-length: ${body.length}`, ...keys)}\r\n${body}`);
  assert.match(await closed, /^HTTP\/1\.1 400 .*"code":"HF_USAGE","outcome":"not written"/s);
  assert.equal((await rig.holdfast.status()).streams['payments']?.accepted, 0);
});

test('what keeps a key from being looked up says nothing of what was sent under it before', () => {
  const told = (code: 'HF_OVERLOADED' | 'HF_DRAINING' | 'HF_JOURNAL_FULL', isKeyed: boolean) =>
    outcomeOf(new HoldfastError(code, 'Not now.'), isKeyed);
  assert.deepEqual(
    [told('HF_OVERLOADED', true), told('HF_DRAINING', true), told('HF_OVERLOADED', false)],
    ['unknown', 'unknown', 'not written'],
  );
  // A full journal is met behind the look-up.
  assert.equal(told('HF_JOURNAL_FULL', true), 'not written');
});
