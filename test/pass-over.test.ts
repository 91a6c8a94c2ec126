// The order to give lost records up (P3), by the command line and over HTTP.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { LostRange } from '../src/merge/lost.ts';
import type { Status, VerifyResult } from '../src/types.ts';
import { jsonOf, openShop, payments } from './support/command-line.ts';
import { fillingNotes, rememberPayments } from './support/gone-back.ts';
import { ask, send, startRig } from './support/server-rig.ts';

const limits = { segmentBytes: 4 * 1024 * 1024, retentionMsMin: 0, retentionBytesMin: 0 };
const header = 'tx_id,user_id,amount,status\n';

interface PassedOver {
  readonly stream: string;
  readonly records: number;
  readonly passedOver: boolean;
  readonly ranges: readonly LostRange[];
}

const recordsOf = (ranges: readonly LostRange[]): number =>
  ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);

async function until(isThere: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await isThere()) return;
    await setTimeout(50);
  }
  assert.fail('it never comes to that');
}

test('holdfast pass-over says what is lost, and gives it up only with --yes', async (t) => {
  const shop = openShop(t, { limits });
  const load = async (name: string, stream: string, text: string) => {
    const ended = await shop.run(['load', shop.write(name, text), '--stream', stream, '--json']);
    assert.equal(ended.exit, 0, ended.stderr);
  };
  const segments = () =>
    readdirSync(join(shop.folder, 'journal')).filter((name) => /^\d+\.segment$/.test(name));
  const passOver = async (...args: readonly string[]) => {
    const ended = await shop.run(['pass-over', '--stream', 'payments', '--json', ...args]);
    assert.equal(ended.exit, 0, ended.stderr);
    return jsonOf<PassedOver>(ended);
  };
  /** As the target tells them; on a busy machine it may not answer in the time that a look has. */
  const books = async () => {
    for (;;) {
      const { target, streams } = jsonOf<Status>(await shop.run(['status', '--json']));
      if (target.reachable) return streams;
    }
  };
  await load('before.csv', 'payments', header + payments(1, 10));
  const goBack = rememberPayments((sql) => shop.query(sql));
  await load('after.csv', 'payments', header + payments(11, 60));
  const before = segments();
  while (segments().some((name) => before.includes(name))) {
    await load('notes.ndjson', 'notes', fillingNotes(10).join(''));
  }
  const none = await shop.run(['pass-over', '--stream', 'payments', '--yes', '--json']);
  assert.deepEqual([none.exit, jsonOf(none)['code']], [2, 'HF_USAGE']);

  // By the process that serves.
  goBack();
  const server = shop.start(['serve']);
  await server.line(/^Listening on /);
  const seen = await passOver();
  assert.deepEqual([seen.records, seen.passedOver, recordsOf(seen.ranges)], [50, false, 50]);
  await until(async () => (await books())['payments']?.state === 'held');
  const { reason, unaccounted } = (await books())['payments'] ?? {};
  assert.match(reason ?? '', /holdfast pass-over/);
  assert.equal(unaccounted, 0, 'nothing is passed over by looking');
  assert.deepEqual(await passOver('--yes'), { ...seen, passedOver: true });
  await load('later.csv', 'payments', header + payments(101, 105));
  assert.equal((await books())['payments']?.unaccounted, 50);
  server.child.kill('SIGTERM');
  assert.equal((await server.ended).exit, 0);

  // And by the command itself.
  goBack();
  const told = await shop.run(['pass-over', '--stream', 'payments', '--yes']);
  assert.equal(told.exit, 0, told.stderr);
  assert.match(told.stdout, /50 records of stream "payments" passed over/);
  assert.equal((await books())['payments']?.unaccounted, 50);
  const verified = await shop.run(['verify', '--stream', 'payments', '--json']);
  assert.equal(verified.exit, 1);
  const { differences } = jsonOf<VerifyResult>(verified);
  assert(differences.length > 0 && differences.every(({ kind }) => kind === 'unaccounted'));
});

test('the order over HTTP needs the right to operate, and something that is lost', async (t) => {
  const tokens = [
    { token: 'operates-0123456789', rights: ['operate' as const] },
    { token: 'reads-0123456789abc', rights: ['read' as const, 'write' as const] },
  ];
  const rig = await startRig(t, { tokens }, { limits });
  const order = async (token: string, body: object, stream = 'payments') =>
    ask(rig, `/v1/streams/${stream}/pass-over`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  const write = async (stream: string, text: string) => {
    const headers = { authorization: 'Bearer reads-0123456789abc' };
    const { status } = await send(rig, text, { stream, headers, query: '?ack=settled' });
    assert.equal(status, 200);
  };
  const lines = (first: number, count: number): string =>
    Array.from({ length: count }, (_, i) => `{"tx_id":${first + i},"user_id":1}\n`).join('');
  await write('payments', lines(1, 10));
  const operator = 'operates-0123456789';
  const none = await order(operator, { dryRun: false });
  assert.deepEqual([none.status, none.body.code], [400, 'HF_USAGE']);
  const goBack = rememberPayments((sql) => rig.query(sql));
  await write('payments', lines(11, 19));
  const keyed = () => {
    const headers = { authorization: 'Bearer reads-0123456789abc', 'idempotency-key': 'k' };
    return send(rig, lines(30, 1), { stream: 'payments', headers, query: '?ack=settled' });
  };
  assert.equal((await keyed()).status, 200);
  for (const note of fillingNotes(24)) await write('notes', note);
  goBack();
  const denied = await order('reads-0123456789abc', { dryRun: false });
  assert.deepEqual([denied.status, denied.body.code], [403, 'HF_FORBIDDEN']);
  const unknown = await order(operator, { dryRun: false }, 'nope');
  assert.deepEqual([unknown.status, unknown.body.code], [404, 'HF_UNKNOWN_STREAM']);
  const seen = JSON.parse((await order(operator, { dryRun: true })).text) as PassedOver;
  assert.equal(recordsOf(seen.ranges), 20);
  assert.equal((await order(operator, {})).status, 400, 'nothing is given up by default');
  assert.deepEqual(JSON.parse((await order(operator, { dryRun: false })).text), seen);
  const again = await keyed();
  const { code, outcome } = again.body;
  assert.deepEqual([again.status, code, outcome], [404, 'HF_NOT_FOUND', 'unknown']);
  await write('payments', lines(100, 1));
  const { streams } = await rig.holdfast.status();
  assert.deepEqual([streams['payments']?.unaccounted, streams['payments']?.merged], [20, 11]);
});

test('a load with records that were passed over says so once; then it is a new one', async (t) => {
  const rig = await startRig(t);
  const text = Buffer.from('{"tx_id":1,"user_id":1}\n');
  const source = { size: text.length, digest: createHash('sha256').update(text).digest('hex') };
  const options = { format: 'ndjson', source } as const;
  const begun = await rig.holdfast.beginLoad('payments', options);
  await rig.holdfast.continueLoad(begun, Readable.from([text]), options);
  await rig.restart();
  assert.equal((await rig.holdfast.beginLoad('payments', options)).result?.merged, 1);
  await rig.restart(() => {
    // As it is noted where the ledger has said that they were passed over.
    const requests = new DatabaseSync(join(rig.folder, 'journal', 'requests.db'));
    requests
      .prepare('UPDATE requests SET counts = ? WHERE load IS NOT NULL')
      .run(JSON.stringify({ merged: 0, duplicates: 0, superseded: 0, deadLetters: 0 }));
    requests.close();
  });
  const again = () => rig.holdfast.beginLoad('payments', options);
  await assert.rejects(again(), { code: 'HF_NOT_FOUND', message: /passed over/ });
  const { offset, accepted, result } = await again();
  assert.deepEqual([offset, accepted, result], [0, 0, undefined]);
});
