// A server whose requests are taken by threads of its own: the tests of the server hold for it, and
// what only threads can do wrong.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import test from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { limits } from '../src/limits.ts';
import { startServing } from '../src/serving.ts';
import { ask, bearer, line, lines, send, startRig, tokenOptions } from './support/server-rig.ts';

process.env['HOLDFAST_TEST_WORKERS'] = '2';

/** How many accept workers each has: to start one costs as much as most tests. */
const files = { server: 1, 'server-keys': 1, 'server-loads': 2, 'server-operations': 1 };

for (const [file, workers] of Object.entries(files)) {
  test(`what ${file}.test.ts says holds for accept workers, too: ${workers}`, async () => {
    const args = ['--test-reporter=tap', join(import.meta.dirname, `${file}.test.ts`)];
    const own = { NODE_TEST_CONTEXT: undefined, HOLDFAST_TEST_WORKERS: String(workers) };
    const env = { ...process.env, ...own };
    const { code, output } = await new Promise<{ code: number; output: string }>((resolve) => {
      execFile(process.execPath, args, { env }, (error, stdout) =>
        resolve({ code: error ? Number(error.code ?? -1) : 0, output: stdout }),
      );
    });
    assert.match(output, /^# pass [1-9]/m);
    assert.equal(code, 0, output.slice(-3_000));
  });
}

test('rows of many connections come through both workers, once each', async (t) => {
  const rig = await startRig(t);
  const requests = Array.from({ length: 60 }, (_, i) =>
    send(rig, lines(i * 100, 100), { query: '?ack=settled' }),
  );
  const answers = await Promise.all(requests);
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  assert.equal(rig.query('SELECT count(*) AS n FROM payments')[0]?.['n'], 6_000);
  const { payments } = (await rig.holdfast.status()).streams;
  assert.deepEqual([payments?.merged, payments?.unaccounted], [6_000, 0]);
});

test('a limit holds for all workers together', async (t) => {
  const rig = await startRig(t, tokenOptions);
  // Each on a connection of its own, so that the kernel deals them out.
  const asked = (init: RequestInit, token: string): RequestInit => {
    return { ...init, headers: { connection: 'close', ...bearer(token) } };
  };
  const gate = Promise.withResolvers<void>();
  let verifying = 0;
  rig.holdfast.verify = async () => {
    verifying++;
    await gate.promise;
    return { ok: true, checked: 0, differences: [], notCheckable: [] };
  };
  const operate = asked({ method: 'POST' }, 'all-of-it');
  const told: number[] = [];
  const asking = Array.from({ length: 12 }, async () => {
    told.push((await ask(rig, '/v1/verify', operate)).status);
  });
  while (verifying + told.length < asking.length) await setTimeout(5);
  assert.deepEqual([verifying, new Set(told)], [1, new Set([429])]);
  gate.resolve();
  await Promise.all(asking);
  assert.equal(told.at(-1), 200);

  const guesses: number[] = [];
  for (let i = 0; i < 40; i++) {
    guesses.push((await ask(rig, '/v1/status', asked({}, `guess-${i}`))).status);
  }
  // The good token was the first try.
  assert.equal(guesses.indexOf(429), 19);
  for (let i = 0; i < 12; i++) {
    const known = await ask(rig, '/v1/status', asked({}, 'all-of-it'));
    assert.equal(known.status, 200, 'who was in before is let in by each worker');
    const unknown = await ask(rig, '/v1/status', asked({}, 'reads-payments'));
    assert.equal(unknown.status, 429);
  }
});

test('an address is one server’s, also where two begin at once', async (t) => {
  const rig = await startRig(t);
  const isTaken = { code: 'HF_USAGE', message: /Cannot listen on .*EADDRINUSE.*another/ };
  const port = Number(new URL(rig.server.url).port);
  for (const workers of [2, 0]) {
    await assert.rejects(startServing(rig.holdfast, { port, workers }), isTaken);
  }
  await rig.server.close({ drainMs: 0 });
  for (let i = 0; i < 3; i++) {
    const both = [1, 2].map(() => startServing(rig.holdfast, { port, workers: 2 }));
    const started = (await Promise.allSettled(both)).filter((one) => one.status === 'fulfilled');
    assert.equal(started.length, 1);
    await started[0]?.value.close({ drainMs: 0 });
  }
});

test('a body as large as one may be comes through one of many workers', async (t) => {
  process.env['HOLDFAST_TEST_WORKERS'] = '6';
  const rig = await startRig(t, {}, { limits: { segmentBytes: 64 * 1024 * 1024 } });
  process.env['HOLDFAST_TEST_WORKERS'] = '2';
  const body = line(1, 'x'.repeat(limits.bodyBytesMax - 1000));
  const { status, text } = await send(rig, body);
  assert.equal(status, 202, text.slice(0, 500));
});

test('a request too large for the ring comes whole', async (t) => {
  const rig = await startRig(t, {}, { limits: { segmentBytes: 16 * 1024 * 1024 } });
  // Encoded some 3 MB; a parcel may take a quarter of the ring's 4 MiB.
  const sent = await send(rig, lines(0, 100_000), { query: '?ack=settled' });
  assert.equal(sent.body.counts?.['merged'], 100_000, sent.text);
});

test('rows are decoded for the table as it is now', async (t) => {
  const rig = await startRig(t);
  const row = '{"body":"a","more":1}\n';
  assert.equal((await send(rig, row, { stream: 'notes' })).status, 422);
  rig.query('ALTER TABLE notes ADD COLUMN more INTEGER');
  // Read anew with the next batch, or when the stream has been idle for a while.
  for (let status = 422; status === 422; ) {
    await send(rig, '{"body":"b"}\n', { stream: 'notes', query: '?ack=settled' });
    ({ status } = await send(rig, row, { stream: 'notes', query: '?ack=settled' }));
  }
  assert.equal(rig.query('SELECT count(*) AS n FROM notes WHERE more = 1')[0]?.['n'], 1);
});

test('the death of an accept worker ends the process, and loses nothing', async (t) => {
  const started: Worker[] = [];
  const note = (worker: Worker): void => void started.push(worker);
  process.on('worker', note);
  const rig = await startRig(t);
  process.off('worker', note);
  const [first] = started;
  assert(first && started.length === 2, 'two threads were started');
  assert.equal((await send(rig, line(1))).status, 202);
  await Promise.all([first.terminate(), once(first, 'exit')]);
  const failure = await rig.holdfast.failed;
  assert.match(failure.message, /An accept worker ended/);
  await rig.restart();
  assert.equal((await send(rig, line(2), { query: '?ack=settled' })).status, 200);
  assert.equal(rig.query('SELECT count(*) AS n FROM payments')[0]?.['n'], 2);
});
