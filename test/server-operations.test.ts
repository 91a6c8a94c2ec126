// What operators and machines ask over HTTP: status, metrics, probes, dead letters, verify, the
// description of it all, the page; and how the server ends.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { test } from 'node:test';
import { Script } from 'node:vm';
import { deadLetterIdText, parseDeadLetterId } from '../src/dead-letter-json.ts';
import { type Disk, systemDisk } from '../src/disk.ts';
import { errorTable, HoldfastError } from '../src/errors.ts';
import { blockBytes } from '../src/journal/block.ts';
import { limits } from '../src/limits.ts';
import { knownError, refusalBody, statusOf } from '../src/server/refusal.ts';
import { startServer } from '../src/server/server.ts';
import { TargetError } from '../src/target/target.ts';
import type { Status, VerifyResult } from '../src/types.ts';
import { syncedBy } from './support/journals.ts';
import { ask, line, postHead, rawConnection, send, startRig } from './support/server-rig.ts';

const settled = { query: '?ack=settled' };

test('an id that no target could be asked for is none', () => {
  const id = {
    writer: '00000000-0000-4000-8000-000000000001',
    lane: 1,
    sequence: 2,
    stream: 'a.b',
  };
  assert.deepEqual(parseDeadLetterId(deadLetterIdText(id)), id);
  for (const text of [
    'no-such-id',
    'w.1.2.a',
    `${id.writer}.9999999999.1.a`,
    `${id.writer}.1.1.a\0`,
  ]) {
    assert.equal(parseDeadLetterId(text), undefined, text);
  }
});

test('status, streams and metrics tell one and the same balance', async (t) => {
  const rig = await startRig(t);
  await send(rig, line(1) + line(2), settled);
  await send(rig, line(1) + line(2, 'other'), settled);
  const status = JSON.parse((await ask(rig, '/v1/status')).text) as Status;
  const payments = status.streams['payments'];
  assert.equal(status.state, 'running');
  const { accepted, merged, duplicates, deadLetters, inFlight, unaccounted } = payments ?? {};
  assert.deepEqual([accepted, merged, duplicates, deadLetters, inFlight], [4, 2, 1, 1, 0]);
  assert.equal(unaccounted, 0);
  assert.deepEqual(Object.keys(JSON.parse((await ask(rig, '/v1/streams')).text).streams), [
    'payments',
    'notes',
  ]);
  const one = JSON.parse((await ask(rig, '/v1/streams/payments')).text);
  assert.deepEqual({ ...one, oldestMs: 0 }, { ...payments, oldestMs: 0 });
  const unknown = await ask(rig, '/v1/streams/toString');
  assert.deepEqual([unknown.status, unknown.body.code], [404, 'HF_UNKNOWN_STREAM']);

  const { text, headers } = await ask(rig, '/metrics');
  assert.match(headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  const samples = text.split('\n').filter((sample) => sample !== '' && !sample.startsWith('#'));
  assert.equal(samples[0], 'holdfast_unaccounted{stream="payments"} 0');
  const sample = /^holdfast_\w+(\{.*\})? (-?[\d.e+-]+|Nan)$/;
  assert.deepEqual(
    samples.filter((text) => !sample.test(text)),
    [],
  );
  const names = ['accepted', 'journaled', 'staged', 'settled', 'confirmed'] as const;
  for (const name of names) {
    assert(samples.includes(`holdfast_${name}{stream="payments"} ${payments?.watermarks[name]}`));
  }
  assert(samples.includes('holdfast_merged_rows_total{stream="payments"} 2'));
  assert(samples.includes('holdfast_duplicate_rows_total{stream="payments"} 1'));
  assert(samples.includes('holdfast_dead_letters{stream="payments"} 1'));
  assert(samples.includes('holdfast_http_answers_total{route="/v1/status",status="200"} 1'));
  const syncs = samples.find((sample) => sample.startsWith('holdfast_journal_sync_seconds_count'));
  assert(Number(syncs?.split(' ')[1]) >= 2, syncs);
  const last = samples.find((sample) => sample.includes('journal_sync_seconds_bucket{le="+Inf"}'));
  assert.equal(last?.split(' ')[1], syncs?.split(' ')[1]);
});

test('the probes are green while rows are taken', async (t) => {
  const rig = await startRig(t);
  assert.deepEqual((await ask(rig, '/healthz')).body, { state: 'running' });
  const ready = await ask(rig, '/readyz');
  assert.equal(ready.status, 200);
  assert.deepEqual(ready.body.reasons, []);
});

test('a full journal refuses rows as not written, and takes rows again', async (t) => {
  const segmentBytes = 1024 * 1024;
  const bounds = { segmentBytes, bytesMax: 3 * segmentBytes, streamShareMax: 1 };
  const rig = await startRig(
    t,
    {},
    { limits: { ...bounds, retentionMsMin: 1, retentionBytesMin: 1 } },
  );
  const release = rig.lockTarget();
  const row = (size: number) => `{"body":"${'x'.repeat(size)}"}\n`;
  const stream = { stream: 'notes' };
  let taken = 0;
  let refused = await send(rig, row(200_000), stream);
  for (; refused.status === 202; taken++) refused = await send(rig, row(200_000), stream);
  assert.equal(refused.status, 507, refused.text);
  assert.deepEqual([refused.body.code, refused.body.outcome], ['HF_JOURNAL_FULL', 'not written']);
  assert(Number(refused.headers.get('retry-after')) > 0);
  const ready = await ask(rig, '/readyz');
  assert.deepEqual([ready.status, ready.body.reasons], [503, ['journal full']]);
  assert.equal((await ask(rig, '/healthz')).status, 200);
  release();
  let again = await send(rig, row(1), { ...stream, query: '?ack=settled' });
  while (again.status === 507) {
    await pause();
    again = await send(rig, row(1), { ...stream, query: '?ack=settled' });
  }
  assert.equal(again.status, 200, again.text);
  assert.equal(rig.query('SELECT * FROM notes').length, taken + 1);
});

test('a failed sync answers unknown, and health turns red', async (t) => {
  let isBroken = false;
  const disk: Disk = {
    ...systemDisk,
    open: (path, mode) => {
      const file = systemDisk.open(path, mode);
      let written = 0;
      const write: typeof file.write = (bytes, position) => {
        written = bytes.length;
        return file.write(bytes, position);
      };
      const sync = () => {
        // A mark, which holds nothing, may come at any time: no request is to fail of its failure.
        const isOfRows = written > blockBytes(0);
        if (isBroken && isOfRows) {
          throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
        }
        file.sync();
      };
      return syncedBy({ ...file, write }, sync);
    },
  };
  const rig = await startRig(t, {}, { disk });
  assert.equal((await send(rig, line(1), settled)).status, 200);
  isBroken = true;
  const failed = await send(rig, line(2));
  assert.equal(failed.status, 503, failed.text);
  assert.deepEqual([failed.body.code, failed.body.outcome], ['HF_JOURNAL_FAILED', 'unknown']);
  const later = await send(rig, line(3));
  assert.deepEqual([later.body.code, later.body.outcome], ['HF_JOURNAL_FAILED', 'not written']);
  const health = await ask(rig, '/healthz');
  assert.deepEqual([health.status, health.text], [503, '{"state":"failed"}']);
  assert.equal((await ask(rig, '/readyz')).status, 503);
  assert.match((await ask(rig, '/metrics')).text, /^holdfast_failed 1$/m);
});

test('dead letters are listed, shown, replayed and dropped, their numbers exact', async (t) => {
  const rig = await startRig(t);
  await send(rig, line(9007199254740993n), settled);
  const other = await send(rig, line(9007199254740993n, 'other'), settled);
  assert.equal(other.body.counts?.['deadLetters'], 1, other.text);
  const raw = await send(rig, 'not json\n', { query: '?ack=settled&invalid=dead-letter' });
  assert.equal(raw.status, 200, raw.text);
  const list = await ask(rig, '/v1/dead-letters?stream=payments');
  assert.match(list.text, /"row":\{[^}]*"tx_id": ?9007199254740993\b/);
  interface Letter {
    readonly id: string;
    readonly code: string;
    readonly row: object | null;
    readonly raw?: string;
  }
  const letters = (JSON.parse(list.text) as { deadLetters: Letter[] }).deadLetters;
  assert.deepEqual(letters.map(({ code }) => code).sort(), ['bad-json', 'key-conflict']);
  const conflict = letters.find(({ code }) => code === 'key-conflict');
  const undecoded = letters.find(({ code }) => code === 'bad-json');
  assert(conflict && undecoded);
  assert.equal(
    Buffer.from(undecoded.raw ?? '', 'base64')
      .toString()
      .trim(),
    'not json',
  );
  const path = `/v1/dead-letters/${encodeURIComponent(conflict.id)}`;
  assert.deepEqual(JSON.parse((await ask(rig, path)).text).id, conflict.id);

  const refused = await ask(rig, `${path}/replay`, { method: 'POST' });
  assert.deepEqual(JSON.parse(refused.text), { end: 'deadLetter' });
  rig.query('DELETE FROM payments');
  const replayed = await ask(rig, `${path}/replay`, { method: 'POST' });
  assert.deepEqual(JSON.parse(replayed.text), { end: 'merged' });
  const dropped = await ask(rig, `/v1/dead-letters/${encodeURIComponent(undecoded.id)}`, {
    method: 'DELETE',
  });
  assert.equal(dropped.status, 204);
  for (const method of ['GET', 'DELETE']) {
    const none = await ask(rig, '/v1/dead-letters/no-such-id', { method });
    assert.deepEqual([none.status, none.body.code], [404, 'HF_NOT_FOUND']);
  }
});

test('dead letters come in pages of some MiB, and none is left out', async (t) => {
  const rig = await startRig(t);
  const query = '?ack=settled&invalid=dead-letter';
  // 1.2 million characters of base64 each, so that the fourth reaches the bound.
  const bytes = 900 * 1024;
  for (const letter of 'abcdef') await send(rig, `${letter.repeat(bytes)}\n`, { query });
  const page = async (more: string) => {
    const { status, text } = await ask(rig, `/v1/dead-letters?stream=payments${more}`);
    assert.equal(status, 200, text.slice(0, 1000));
    assert(text.length < limits.lettersListedBytes + 2 * bytes, `${text.length} characters`);
    type Page = {
      readonly deadLetters: readonly { readonly raw: string }[];
      readonly next?: string;
    };
    const { deadLetters, next } = JSON.parse(text) as Page;
    const letters = deadLetters.map(({ raw }) => Buffer.from(raw, 'base64').toString().charAt(0));
    return { letters: letters.join(''), next: next && encodeURIComponent(next) };
  };
  const first = await page('');
  assert.equal(first.letters, 'abcd');
  assert.deepEqual(await page(`&after=${first.next}`), { letters: 'ef', next: undefined });
  const two = await page('&limit=2');
  assert.equal(two.letters, 'ab');
  assert.equal((await page(`&limit=3&after=${two.next}`)).letters, 'cde');
  const none = await ask(rig, '/v1/dead-letters?after=no-such-id');
  assert.deepEqual([none.status, none.body.code], [404, 'HF_NOT_FOUND']);
});

test('verify answers 200 either way, and says whether the sides agree', async (t) => {
  const rig = await startRig(t);
  await send(rig, line(1) + line(2), settled);
  const verify = async () =>
    JSON.parse((await ask(rig, '/v1/verify', { method: 'POST' })).text) as VerifyResult;
  const good = await verify();
  assert.deepEqual([good.ok, good.checked], [true, 2]);
  rig.query('DELETE FROM payments WHERE tx_id = 1');
  const bad = await verify();
  assert.equal(bad.ok, false);
  assert.match(JSON.stringify(bad.differences), /missing/);
  const unknown = await ask(rig, '/v1/verify', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"stream":"nope"}',
  });
  assert.deepEqual([unknown.status, unknown.body.code], [404, 'HF_UNKNOWN_STREAM']);
});

test('the options that took effect are shown where they are given', async (t) => {
  const rig = await startRig(t, { shownOptions: { confirm: 'commit' } });
  assert.equal((await ask(rig, '/v1/options')).text, '{"confirm":"commit"}');
});

test('openapi.json describes every route, each with its answers and refusals', async (t) => {
  const rig = await startRig(t, { shownOptions: {} });
  interface Operation {
    readonly summary: string;
    readonly responses: Readonly<Record<string, object>>;
  }
  const api = JSON.parse((await ask(rig, '/openapi.json')).text) as {
    paths: Record<string, Record<string, Operation>>;
    components: { schemas: { Refusal: { properties: { code: { enum: string[] } } } } };
  };
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  assert.deepEqual(
    operations.sort(),
    [
      'DELETE /v1/dead-letters/{id}',
      'GET /',
      'GET /healthz',
      'GET /metrics',
      'GET /openapi.json',
      'GET /readyz',
      'GET /v1/dead-letters',
      'GET /v1/dead-letters/{id}',
      'GET /v1/options',
      'GET /v1/receipts/{receipt}',
      'GET /v1/status',
      'GET /v1/streams',
      'GET /v1/streams/{stream}',
      'POST /v1/dead-letters/{id}/replay',
      'POST /v1/loads/{load}',
      'POST /v1/loads/{load}/reported',
      'POST /v1/streams/{stream}/loads',
      'POST /v1/streams/{stream}/pass-over',
      'POST /v1/streams/{stream}/records',
      'POST /v1/verify',
    ].sort(),
  );
  const codes = api.components.schemas.Refusal.properties.code.enum;
  assert.deepEqual(codes.toSorted(), Object.keys(errorTable).sort());
  const records = api.paths['/v1/streams/{stream}/records']?.['post'];
  const statuses = ['200', '202', '400', '401', '403', '404', '408', '409', '413', '415', '422'];
  for (const status of [...statuses, '429', '500', '503', '504', '507']) {
    assert(records?.responses[status], status);
  }
  for (const operation of Object.values(api.paths).flatMap((methods) => Object.values(methods))) {
    assert(operation.summary.length > 10);
  }
});

test('the page runs its own script and style only, with nothing from elsewhere', async (t) => {
  const rig = await startRig(t);
  const { text, headers } = await ask(rig, '/');
  const policy = headers.get('content-security-policy') ?? '';
  assert.match(policy, /^default-src 'none';/);
  for (const tag of ['script', 'style']) {
    const found = [...text.matchAll(new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`, 'g'))];
    assert.equal(found.length, 1);
    const hash = createHash('sha256')
      .update(found[0]?.[1] ?? '')
      .digest('base64');
    assert(policy.includes(`${tag}-src 'sha256-${hash}'`), tag);
  }
  const [, script = ''] = /<script>([\s\S]*)<\/script>/.exec(text) ?? [];
  assert.doesNotThrow(() => new Script(script));
  assert.doesNotMatch(text, /https?:|innerHTML|\son\w+=|\sstyle=/);
});

test('every error of the table answers with its status, its outcome and nothing more', () => {
  for (const [code, row] of Object.entries(errorTable)) {
    const error = knownError(new HoldfastError(code as keyof typeof errorTable, 'what'));
    assert.equal(statusOf(error), row.status);
    assert.deepEqual(refusalBody(error, 'id'), {
      code,
      outcome: row.outcome,
      message: 'what',
      retryable: row.retryable,
      requestId: 'id',
    });
  }
  const lost = knownError(new TargetError('lost', '57P01', 'row (1, secret) was there'));
  assert.equal(lost.code, 'HF_TARGET');
  assert.doesNotMatch(JSON.stringify(refusalBody(lost, 'id')), /secret/);
  const bug = knownError(new TypeError('secret of undefined'));
  assert.equal(bug.code, 'HF_BUG');
  assert.doesNotMatch(JSON.stringify(refusalBody(bug, 'id')), /secret/);
});

test('a closing server answers those in hand and refuses the others', async (t) => {
  const rig = await startRig(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const kept = request(`${rig.server.url}/healthz`, { agent });
  const [first] = await once(kept.end(), 'response');
  await once(first.resume(), 'end');

  // Its head has arrived, its body has not: it is in hand.
  const inHand = rawConnection(t, rig);
  const body = line(1);
  inHand.socket.write(`${postHead(`content-length: ${body.length}`)}\r\n${body.slice(0, 5)}`);
  const late = rawConnection(t, rig);
  late.socket.write('GET /v1/status HTTP/1.1\r\nhost: x\r\n');
  const probe = rawConnection(t, rig);
  probe.socket.write('GET /readyz HTTP/1.1\r\nhost: x\r\n');
  await send(rig, line(2));

  const closed = rig.server.close();
  probe.socket.write('\r\n');
  const unready = await probe.closed;
  assert.match(unready, /^HTTP\/1\.1 503 [\s\S]*"reasons":\["draining"\]/);
  inHand.socket.write(body.slice(5));
  late.socket.write('\r\n');
  const answer = await inHand.closed;
  assert.match(answer, /^HTTP\/1\.1 202 /);
  assert.match(answer, /\r\nconnection: close\r\n/i);
  const refusal = await late.closed;
  assert.match(refusal, /^HTTP\/1\.1 503 /);
  assert.match(refusal, /"code":"HF_DRAINING","outcome":"not written"/);
  await closed;
  await assert.rejects(ask(rig, '/healthz'));
});

test('a closing server tells who waits for a level that it was not reached', async (t) => {
  const rig = await startRig(t);
  const release = rig.lockTarget();
  const waiting = send(rig, line(1), settled);
  while ((await rig.holdfast.status()).streams['payments']?.accepted !== 1) await pause();
  await rig.server.close({ drainMs: 50 });
  const told = await waiting;
  assert.deepEqual([told.status, told.body.outcome], [504, 'written'], told.text);
  release();
});

const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

test('closing twice closes once, and what was asked for runs after the last answer', async (t) => {
  const rig = await startRig(t);
  let runs = 0;
  const onClose = () => {
    runs++;
  };
  const server = await startServer(rig.holdfast, { port: 0, onClose });
  await Promise.all([server.close(), server.close()]);
  assert.equal(runs, 1);
});
