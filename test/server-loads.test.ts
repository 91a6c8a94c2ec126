// Loads over HTTP: resumable, with progress, in bounded memory.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { LoadResult, LoadState } from '../src/types.ts';
import {
  ask,
  bearer,
  lines,
  type Rig,
  send,
  startRig,
  tokenOptions,
} from './support/server-rig.ts';

const json = { 'content-type': 'application/json' };

const begin = (rig: Rig, input: string, more: object = {}) => {
  const digest = createHash('sha256').update(input).digest('hex');
  return ask(rig, '/v1/streams/payments/loads', {
    method: 'POST',
    headers: json,
    body: JSON.stringify({ format: 'ndjson', size: Buffer.byteLength(input), digest, ...more }),
  });
};

async function begun(rig: Rig, input: string, more: object = {}): Promise<LoadState> {
  const { status, text } = await begin(rig, input, more);
  assert.equal(status, 200, text);
  return JSON.parse(text) as LoadState;
}

interface Line {
  readonly progress?: { readonly bytes: number; readonly accepted: number };
  readonly result?: LoadResult;
  readonly error?: { readonly code: string; readonly outcome: string };
}

const pathOf = ({ load, offset }: Pick<LoadState, 'load' | 'offset'>): string =>
  `/v1/loads/${load}?offset=${offset}`;

/** Sends bytes to a load and returns the lines of its answer. */
async function feed(rig: Rig, { load, offset }: LoadState, init: RequestInit) {
  const answer = await ask(rig, pathOf({ load, offset }), { ...init, method: 'POST' });
  const told = answer.text.trim().split('\n');
  return { ...answer, lines: told.map((text) => JSON.parse(text) as Line) };
}

/** What stands before a load's offset, as a client makes it of its input. */
function prefixOf(input: string, ends: readonly number[]): LoadState['prefix'] {
  let digest = '';
  for (const [i, end] of ends.entries()) {
    const part = input.slice(ends[i - 1] ?? 0, end);
    digest = createHash('sha256').update(`${digest}${part}`).digest('hex');
  }
  return { ends, digest };
}

const counts = (result: LoadResult | undefined) =>
  result && [result.accepted, result.merged, result.duplicates, result.deadLetters];

test('a load larger than any request is settled when it answers', async (t) => {
  const rig = await startRig(t, { bodyBytesMax: 1000 });
  const input = lines(1, 20_000);
  const first = await begun(rig, input);
  const { load, offset } = first;
  assert.equal(offset, 0);
  const fed = await feed(rig, first, { body: input });
  assert.equal(fed.headers.get('content-type'), 'application/x-ndjson');
  const last = fed.lines.at(-1);
  assert.deepEqual(counts(last?.result), [20_000, 20_000, 0, 0], fed.text.slice(-500));
  assert.equal(fed.lines.at(-2)?.progress?.accepted, 20_000);
  const again = await begun(rig, input);
  assert.deepEqual([again.load, again.offset], [load, input.length], 'it was not reported yet');
  const told = await feed(rig, again, {});
  assert.deepEqual(counts(told.lines.at(-1)?.result), [20_000, 20_000, 0, 0], told.text);
  assert.equal((await ask(rig, `/v1/loads/${load}/reported`, { method: 'POST' })).status, 204);
  const fresh = await begun(rig, input);
  assert.deepEqual([fresh.offset, fresh.result], [0, undefined]);
  const second = await feed(rig, fresh, {
    body: gzipSync(input),
    headers: { 'content-encoding': 'gzip' },
  });
  assert.deepEqual(counts(second.lines.at(-1)?.result), [20_000, 0, 20_000, 0]);
});

test('a load whose sender dies goes on from where it was, also after a restart', async (t) => {
  const rig = await startRig(t);
  const input = lines(1, 30_000);
  const first = await begun(rig, input, { digest: '0'.repeat(64) });
  const sender = request(`${rig.server.url}${pathOf(first)}`, { method: 'POST' });
  const answered = once(sender, 'response');
  // The connection is cut on purpose below.
  const cut = once(sender, 'close');
  sender.on('error', (error) => sender.destroy(error));
  sender.write(input.slice(0, 1_500_000));
  const [answer] = (await answered) as [NodeJS.ReadableStream];
  answer.on('error', () => sender.destroy());
  await once(answer, 'data');
  sender.destroy();
  await cut;
  const second = await begun(rig, input, { digest: '0'.repeat(64) });
  assert(second.offset > 0 && second.offset <= 1_500_000, `${second.offset}`);
  await rig.restart();
  const third = await begun(rig, input, { digest: '0'.repeat(64) });
  assert(third.offset >= second.offset);
  const cutAgain = await feed(rig, third, {
    body: input.slice(third.offset, third.offset + 9_999),
  });
  assert.equal(cutAgain.lines.at(-1)?.error?.code, 'HF_BODY_CUT');
  const fourth = await begun(rig, input, { digest: '0'.repeat(64) });
  assert(fourth.offset > third.offset);
  assert.deepEqual(fourth.prefix, prefixOf(input, fourth.prefix?.ends ?? []));
  assert.equal(fourth.prefix?.ends.at(-1), fourth.offset);
  const fed = await feed(rig, fourth, { body: input.slice(fourth.offset) });
  assert.deepEqual(counts(fed.lines.at(-1)?.result), [30_000, 30_000, 0, 0], fed.text.slice(-500));
});

test('a new sender takes a load over from one that still hangs on', async (t) => {
  const rig = await startRig(t);
  const input = lines(1, 30_000);
  const first = await begun(rig, input);
  const sender = request(`${rig.server.url}${pathOf(first)}`, { method: 'POST' });
  const answered = once(sender, 'response');
  sender.on('error', (error) => sender.destroy(error));
  sender.write(input.slice(0, 1_500_000));
  const [answer] = (await answered) as [NodeJS.ReadableStream];
  const hanging = text(answer);
  const second = await begun(rig, input);
  assert.match(await hanging, /"error":\{"code":"HF_ABORTED","outcome":"unknown"/);
  assert(second.offset > 0, 'what the first one sent is kept');
  const fed = await feed(rig, second, { body: input.slice(second.offset) });
  assert.deepEqual(counts(fed.lines.at(-1)?.result), [30_000, 30_000, 0, 0], fed.text.slice(-500));
});

test('bytes that do not begin where the load stands are not taken', async (t) => {
  const rig = await startRig(t);
  const input = lines(1, 30_000);
  const first = await begun(rig, input);
  const second = await begun(rig, input);
  assert.deepEqual(second, first, 'both are told to begin at the first byte');
  const half = input.slice(0, input.indexOf('\n', input.length / 2) + 1);
  const cut = (await feed(rig, first, { body: half })).lines.at(-1);
  assert.deepEqual([cut?.error?.code, cut?.error?.outcome], ['HF_BODY_CUT', 'unknown']);
  // As told before the other one sent half of it, and as nobody was told.
  for (const offset of [0, half.length - 10]) {
    const late = await feed(rig, { ...second, offset }, { body: input.slice(offset) });
    assert.equal(late.lines.at(-1)?.error?.code, 'HF_LOAD_MOVED', late.text);
  }
  const reported = await ask(rig, `/v1/loads/${first.load}/reported`, { method: 'POST' });
  assert.deepEqual([reported.status, reported.body.code], [400, 'HF_USAGE']);
  const third = await begun(rig, input);
  assert.equal(third.offset, half.length);
  const more = await feed(rig, third, { body: `${input.slice(third.offset)}${lines(1, 1)}` });
  assert.equal(more.lines.at(-1)?.error?.code, 'HF_USAGE', more.text);
  const fourth = await begun(rig, input);
  const fed = await feed(rig, fourth, { body: input.slice(fourth.offset) });
  assert.deepEqual(counts(fed.lines.at(-1)?.result), [30_000, 30_000, 0, 0], fed.text);
});

test('a bad row stops a load and says where; as a dead letter it does not', async (t) => {
  const rig = await startRig(t);
  const input = `${lines(1, 10)}not json\n${lines(11, 10)}`;
  const strict = await begun(rig, input);
  const stopped = (await feed(rig, strict, { body: input })).lines.at(-1)?.result;
  assert.deepEqual(stopped?.rejected[0]?.line, 11);
  assert.equal(stopped?.complete, false);
  const lenient = await begun(rig, input, { invalid: 'dead-letter' });
  const whole = (await feed(rig, lenient, { body: input })).lines.at(-1)?.result;
  assert.deepEqual(counts(whole), [21, 10, 10, 1]);
  assert.equal(whole?.complete, true);
});

test('csv options reach a load', async (t) => {
  const rig = await startRig(t);
  const input = '1;7;NA\r\n2;7;"NA"\r\n';
  const more = {
    format: 'csv',
    delimiter: ';',
    columns: ['tx_id', 'user_id', 'status'],
    nulls: ['NA'],
  };
  const fed = await feed(rig, await begun(rig, input, more), { body: input });
  assert.deepEqual(counts(fed.lines.at(-1)?.result), [2, 2, 0, 0], fed.text);
  assert.deepEqual(
    rig.query('SELECT status FROM payments ORDER BY tx_id').map(({ status }) => status),
    [null, 'NA'],
  );
});

test('what is kept of loads that are begun and not sent is bounded', async (t) => {
  const rig = await startRig(t);
  const input = lines(1, 3);
  const first = await begun(rig, input);
  const nulls = Array.from({ length: 100_000 }, (_, i) => i.toString(36));
  for (let i = 0; i < 20; i++) await begun(rig, `${i}`, { format: 'csv', nulls });
  const late = await ask(rig, pathOf(first), { method: 'POST', body: input });
  assert.deepEqual([late.status, late.body.code], [404, 'HF_NOT_FOUND']);
  const again = await begun(rig, input);
  assert.deepEqual(again, first);
  const fed = await feed(rig, again, { body: input });
  assert.deepEqual(counts(fed.lines.at(-1)?.result), [3, 3, 0, 0]);
});

test('what is not a load is refused by its code', async (t) => {
  const rig = await startRig(t, tokenOptions);
  const all = bearer('all-of-it');
  const post = (path: string, body: object | undefined, headers: object) =>
    ask(rig, path, {
      method: 'POST',
      headers: { ...json, ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
  const load = { format: 'ndjson', size: 1, digest: '0'.repeat(64) };
  const cases = [
    [404, 'HF_UNKNOWN_STREAM', await post('/v1/streams/nope/loads', load, all)],
    [404, 'HF_NOT_FOUND', await post('/v1/loads/nope?offset=0', undefined, all)],
    [404, 'HF_NOT_FOUND', await post('/v1/loads/nope/reported', undefined, all)],
    [400, 'HF_USAGE', await post('/v1/streams/notes/loads', { ...load, format: 'json' }, all)],
    [400, 'HF_USAGE', await post('/v1/streams/notes/loads', { ...load, digest: 'x' }, all)],
    [400, 'HF_USAGE', await post('/v1/streams/notes/loads', { ...load, more: 1 }, all)],
  ] as const;
  for (const [status, code, answer] of cases) {
    assert.deepEqual([answer.status, answer.body.code], [status, code], answer.text);
  }
  const begunElsewhere = await post('/v1/streams/notes/loads', load, all);
  const path = `/v1/loads/${begunElsewhere.body.load}?offset=0`;
  assert.equal((await post(path, undefined, bearer('writes-payments'))).status, 403);
});

test('a load in hand when the server closes is told so and can be resumed', async (t) => {
  const rig = await startRig(t);
  const input = lines(1, 100);
  const first = await begun(rig, input);
  const sender = request(`${rig.server.url}${pathOf(first)}`, { method: 'POST' });
  const answered = once(sender, 'response');
  sender.on('error', (error) => sender.destroy(error));
  sender.write(input.slice(0, 1000));
  const [answer] = (await answered) as [NodeJS.ReadableStream];
  const closed = rig.server.close({ drainMs: 5_000 });
  assert.match(await text(answer), /"error":\{"code":"HF_DRAINING"/);
  await closed;
  await rig.restart();
  const again = await begun(rig, input);
  const fed = await feed(rig, again, { body: input.slice(again.offset) });
  assert.equal(fed.lines.at(-1)?.result?.accepted, 100, fed.text);
  const { status } = await send(rig, lines(1, 1));
  assert.equal(status, 202);
});
