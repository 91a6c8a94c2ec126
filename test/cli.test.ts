// The command line from outside: child processes on real files.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type { LoadResult, Status, VerifyResult } from '../src/types.ts';
import {
  type Failed,
  failedOf,
  jsonOf,
  openShop,
  payments,
  type Shop,
} from './support/command-line.ts';

const header = 'tx_id,user_id,amount,status\n';

const load = async (shop: Shop, ...args: readonly string[]): Promise<LoadResult> => {
  const ended = await shop.run(['load', ...args, '--stream', 'payments', '--json']);
  assert.equal(ended.exit, 0, ended.stderr);
  return jsonOf<LoadResult>(ended);
};

async function booksOf(shop: Shop): Promise<Status['streams'][string]> {
  const ended = await shop.run(['status', '--json']);
  assert.equal(ended.exit, 0, ended.stderr);
  const { streams } = jsonOf<Status>(ended);
  assert(streams['payments']);
  return streams['payments'];
}

async function statusAt(url: string): Promise<Status> {
  const answer: unknown = await (await fetch(`${url}/v1/status`)).json();
  return answer as Status;
}

test('help lists the commands and the exit codes, and not the hidden one', async (t) => {
  const shop = openShop(t, null);
  const whole = await shop.run(['--help']);
  assert.equal(whole.exit, 0);
  const commands = ['serve', 'load', 'status', 'verify', 'dead-letters', 'archive', 'dedupe'];
  for (const command of [...commands, 'pass-over', 'journal', 'init']) {
    assert.match(whole.stdout, new RegExp(`^  ${command}`, 'm'));
  }
  assert.doesNotMatch(whole.stdout, /^ {2}start/m);
  const one = await shop.run(['load', '--help']);
  assert.match(one.stdout, /--invalid/);
  for (const help of [whole, one]) assert.match(help.stdout, /^ {2}70 {2}/m);
});

test('npm start and npm run holdfast give Node.js what the installed command does', () => {
  const read = (path: string): string =>
    readFileSync(join(import.meta.dirname, '..', path), 'utf8');
  const [first = ''] = read('src/cli/main.ts').split('\n');
  const command = first.replace('#!/usr/bin/env -S ', '');
  assert.match(command, /^MALLOC_ARENA_MAX=\d+ node --max-semi-space-size=\d+$/);
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  for (const name of ['start', 'holdfast']) {
    assert(scripts[name]?.startsWith(`exec env ${command} src/cli/main.ts`), name);
  }
});

test('a wrong call leaves with 2 and says what was meant, in JSON where asked', async (t) => {
  const shop = openShop(t);
  const calls: readonly (readonly [readonly string[], RegExp])[] = [
    [['stauts', '--json'], /Did you mean status/],
    [['status', '--jsn', '--json'], /Did you mean --json/],
    [['load', '--json'], /missing required argument 'file'/],
    [['load', 'no.csv', '--stream', 'payments', '--json'], /There is no file .*no\.csv/],
    [['load', 'a.csv', '--stream', 'paymets', '--json'], /did you mean "payments"/],
    [['load', 'a.csv', '--json'], /--stream: payments, notes/],
    [['load', 'a.dat', '--stream', 'notes', '--json'], /give --format ndjson or csv/],
    [['load', 'a.csv', '--format', 'xml', '--json'], /none of ndjson, csv/],
    [['status', '--config', 'other.json', '--json'], /There is no file .*other\.json/],
  ];
  const all = calls.map(async ([args, message]) => {
    const ended = await shop.run(args);
    assert.equal(ended.exit, 2, args.join(' '));
    const failed = failedOf(ended);
    assert.match(failed.code, /^HF_(?:USAGE|UNKNOWN_STREAM)$/);
    assert.equal(failed.outcome, 'not written');
    assert.match(failed.message, message);
  });
  await Promise.all(all);
});

test('serve without a configuration says what to do and leaves with 2', async (t) => {
  const shop = openShop(t, null);
  const ended = await shop.run(['serve']);
  assert.equal(ended.exit, 2);
  assert.equal(ended.stdout, '');
  assert.match(ended.stderr, /holdfast init/);
  assert.match(ended.stderr, /--config FILE/);
});

test('every problem of a configuration is told at once', async (t) => {
  const shop = openShop(t, { createTabels: true, target: 'mysql://x' });
  const failed = failedOf(await shop.run(['status', '--json']));
  assert.match(failed.message, /createTabels: unknown option; did you mean "createTables"\?/);
  const unfit = openShop(t, { streams: { payments: { table: 'payments', key: ['user_id'] } } });
  const ended = await unfit.run(['status', '--json']);
  assert.equal(failedOf(ended).code, 'HF_TABLE_UNFIT');
  assert.equal(ended.exit, 4);
});

test('a CSV file is loaded once: loaded again, its rows are duplicates', async (t) => {
  const shop = openShop(t);
  shop.write('p.csv', header + payments(1, 3000));
  const first = await load(shop, 'p.csv');
  const { seconds, ...counts } = first;
  assert.deepEqual(counts, {
    accepted: 3000,
    merged: 3000,
    duplicates: 0,
    superseded: 0,
    deadLetters: 0,
    rejected: [],
  });
  assert(seconds >= 0);
  const second = await load(shop, 'p.csv');
  assert.equal(second.merged, 0);
  assert.equal(second.duplicates, 3000);
  assert.deepEqual(shop.query('SELECT count(*) AS n, sum(amount) AS total FROM payments'), [
    { n: 3000, total: 3000 * 0.25 + 60 * 1225 },
  ]);
  const books = await booksOf(shop);
  assert.equal(books.unaccounted, 0);
  assert.equal(books.accepted, 6000);
});

test('delimiter, columns, nulls and gzip are read as the flags say', async (t) => {
  const shop = openShop(t);
  shop.write('n.csv.gz', gzipSync('a\nNULL\n\\N\n""\n'));
  const flags = ['--delimiter', ';', '--columns', 'body', '--null', 'NULL', '--null', '\\N'];
  const ended = await shop.run(['load', 'n.csv.gz', '--stream', 'notes', ...flags, '--json']);
  assert.equal(jsonOf<LoadResult>(ended).merged, 4, ended.stderr);
  const rows = shop.query('SELECT body, count(*) AS n FROM notes GROUP BY body ORDER BY body');
  assert.deepEqual(rows, [
    { body: null, n: 2 },
    { body: '', n: 1 },
    { body: 'a', n: 1 },
  ]);
});

test('a .gz that was cut off is refused before anything is written', async (t) => {
  const shop = openShop(t);
  shop.write('p.csv.gz', gzipSync(header + payments(1, 100)).subarray(0, -20));
  const ended = await shop.run(['load', 'p.csv.gz', '--stream', 'payments', '--json']);
  assert.equal(ended.exit, 3);
  assert.equal(failedOf(ended).code, 'HF_BODY_CUT');
  assert.equal((await booksOf(shop)).accepted, 0);
});

test('the first bad row stops a load and is named; dead-letter keeps it and goes on', async (t) => {
  const shop = openShop(t);
  shop.write('p.csv', `${header}1,7,1.00,paid\n2,7,abc,paid\n3,7,3.00,paid\n`);
  const stopped = await shop.run(['load', 'p.csv', '--stream', 'payments', '--json']);
  assert.equal(stopped.exit, 3);
  const body = jsonOf<Failed & LoadResult>(stopped);
  assert.equal(body.code, 'HF_ROWS_REFUSED');
  assert.equal(body.outcome, 'written');
  assert.equal(body.accepted, 1);
  const [rejected] = body.rejected;
  assert.deepEqual([rejected?.line, rejected?.column, rejected?.code], [3, 'amount', 'wrong-type']);
  assert.match(stopped.stderr, /line 3, amount: wrong-type/);

  const kept = await load(shop, 'p.csv', '--invalid', 'dead-letter');
  assert.deepEqual([kept.accepted, kept.merged, kept.duplicates, kept.deadLetters], [3, 1, 1, 1]);
  assert.equal(kept.rejected.length, 1);
});

test('a signal half a second after the first forces the end, an earlier one not', async (t) => {
  const shop = openShop(t);
  const server = shop.start(['serve']);
  const url = (await server.line(/^Listening on /)).slice('Listening on '.length);
  // A request that never ends its body keeps the server draining.
  const headers = { 'content-type': 'application/x-ndjson', expect: '100-continue' };
  const open = request(`${url}/v1/streams/payments/records`, { method: 'POST', headers });
  const cut = once(open, 'error');
  open.flushHeaders();
  await once(open, 'continue');
  server.child.kill('SIGTERM');
  await setTimeout(100);
  // npm forwards a Ctrl-C that the terminal has sent already.
  server.child.kill('SIGTERM');
  await setTimeout(900);
  assert.equal(server.child.exitCode, null);
  server.child.kill('SIGTERM');
  assert.equal((await server.ended).exit, 4);
  await cut;
});

test('commands go through a running serve, which SIGTERM ends with 0', async (t) => {
  const shop = openShop(t);
  const server = shop.start(['serve']);
  const url = (await server.line(/^Listening on /)).slice('Listening on '.length);
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/);
  const conflicting = '3,7,99.00,paid\n9007199254740993,1,5.00,paid\n';
  shop.write('p.csv', header + payments(1, 500) + conflicting);
  const loaded = await load(shop, 'p.csv', '--invalid', 'dead-letter');
  assert.deepEqual([loaded.accepted, loaded.merged, loaded.deadLetters], [502, 501, 1]);

  const books = await booksOf(shop);
  assert.deepEqual([books.accepted, books.deadLetters, books.unaccounted], [502, 1, 0]);
  const status = await statusAt(url);
  assert.equal(status.pid, server.child.pid);

  const stdin = '{"tx_id":1000,"user_id":2,"amount":1}\n';
  const piped = ['load', '-', '--format', 'ndjson', '--stream', 'payments', '--json'];
  assert.equal(jsonOf<LoadResult>(await shop.run(piped, { stdin })).merged, 1);

  const verified = await shop.run(['verify', '--json']);
  assert.equal(verified.exit, 0, verified.stdout);
  assert.equal(jsonOf<VerifyResult>(verified).checked, 502);
  const locked = await shop.run(['serve', '--json']);
  assert.equal(locked.exit, 5);
  assert.equal(failedOf(locked).code, 'HF_JOURNAL_LOCKED');

  server.child.kill('SIGTERM');
  assert.equal((await server.ended).exit, 0);
});

test('dead letters are listed, shown, replayed and dropped, their rows as they came', async (t) => {
  const shop = openShop(t);
  shop.write('p.csv', `${header}1,7,1.00,paid\n1,7,2.10,paid\n1,7,3.00,x\nno,7,1.00,paid\n`);
  await load(shop, 'p.csv', '--invalid', 'dead-letter');
  type List = { readonly deadLetters: readonly { readonly id: string; readonly code: string }[] };
  const list = async () =>
    jsonOf<List>(await shop.run(['dead-letters', 'list', '--json'])).deadLetters;
  const letters = await list();
  const codes = letters.map(({ code }) => code).toSorted();
  assert.deepEqual(codes, ['key-conflict', 'key-conflict', 'wrong-type']);
  const [first, second] = letters.filter(({ code }) => code === 'key-conflict');
  assert(first && second);

  const shown = await shop.run(['dead-letters', 'show', first.id, '--json']);
  assert.match(shown.stdout, /"row":\{"tx_id":1,"user_id":7,"amount":2\.10,/);
  shop.query('DELETE FROM payments');
  const replayed = await shop.run(['dead-letters', 'replay', first.id, '--json']);
  assert.deepEqual(jsonOf(replayed), { id: first.id, end: 'merged' });
  const dropped = await shop.run(['dead-letters', 'drop', second.id, '--json']);
  assert.deepEqual(jsonOf(dropped), { id: second.id, dropped: true });
  assert.equal((await list()).length, 1);
  const missing = await shop.run(['dead-letters', 'show', 'nothing', '--json']);
  assert.equal(failedOf(missing).code, 'HF_NOT_FOUND');
  assert.equal((await booksOf(shop)).unaccounted, 0);
});

test('all large dead letters are listed, by this process and by a running serve', async (t) => {
  const shop = openShop(t);
  shop.write(
    'p.ndjson',
    'abcdef'.replaceAll(/./g, (letter) => `${letter.repeat(900_000)}\n`),
  );
  await load(shop, 'p.ndjson', '--invalid', 'dead-letter');
  type List = { readonly deadLetters: readonly { readonly raw: string }[] };
  const list = async (...args: readonly string[]): Promise<string> => {
    const { deadLetters } = jsonOf<List>(await shop.run(['dead-letters', 'list', ...args]));
    const first = ({ raw }: { readonly raw: string }) =>
      Buffer.from(raw, 'base64').toString('utf8', 0, 1);
    return deadLetters.map(first).toSorted().join('');
  };
  const check = async (): Promise<void> => {
    assert.equal(await list('--json'), 'abcdef');
    assert.equal((await list('--json', '--limit', '5')).length, 5);
    const { stdout } = await shop.run(['dead-letters', 'list']);
    assert.equal(stdout.split('bad-json').length, 7, stdout);
  };
  await check();
  const server = shop.start(['serve']);
  await server.line(/^Listening on /);
  await check();
  server.child.kill('SIGTERM');
  await server.ended;
  const none = await shop.run(['dead-letters', 'list', '--stream', 'notes', '--json']);
  assert.equal(none.stdout, '{"deadLetters":[]}\n');
});

test('verify leaves with 1 and names the row that was changed by hand', async (t) => {
  const shop = openShop(t);
  shop.write('p.csv', header + payments(1, 100));
  await load(shop, 'p.csv');
  shop.query('UPDATE payments SET amount = 77 WHERE tx_id = 42');
  const ended = await shop.run(['verify', '--json']);
  assert.equal(ended.exit, 1);
  const { ok, differences } = jsonOf<VerifyResult>(ended);
  assert.equal(ok, false);
  assert.equal(differences.length, 1);
  assert.match(String(differences[0]?.key), /42/);
});

test('journal lists, checks, dumps and salvages without changing a byte', async (t) => {
  const shop = openShop(t);
  shop.write('p.csv', header + payments(1, 10));
  await load(shop, 'p.csv');
  type Listed = {
    readonly segments: readonly { readonly records: number; readonly file: string }[];
  };
  const { segments } = jsonOf<Listed>(await shop.run(['journal', 'ls', '--json']));
  const before = segments.map(({ file }) => readFileSync(file));
  const check = await shop.run(['journal', 'check', '--json']);
  assert.equal(jsonOf(check)['ok'], true);
  const dump = await shop.run(['journal', 'dump']);
  assert.equal(dump.stdout.trim().split('\n').length, 10);
  assert.match(dump.stdout, /"row":\{"tx_id":10,/);
  const salvage = await shop.run(['journal', 'salvage', '--into', 'out', '--json']);
  assert.equal(salvage.exit, 0, salvage.stderr);
  assert.equal(
    readFileSync(join(shop.folder, 'out/payments.ndjson'), 'utf8').split('\n').length,
    11,
  );
  for (const [i, { file }] of segments.entries()) {
    assert(readFileSync(file).equals(before[i] ?? Buffer.alloc(0)));
  }
  const [first] = segments;
  writeFileSync(first?.file ?? '', (before[0] ?? Buffer.alloc(0)).fill(0, 100, 110));
  const damaged = await shop.run(['journal', 'dump', '--json']);
  const { records, code } = jsonOf<{ records: object[]; code: string }>(damaged);
  assert.deepEqual([damaged.exit, records, code], [6, [], 'HF_CORRUPT']);
});

test('through npm, file names start at the folder that the user stands in', async (t) => {
  const shop = openShop(t);
  mkdirSync(join(shop.folder, 'deep'));
  shop.write('deep/p.csv', header + payments(1, 3));
  const INIT_CWD = join(shop.folder, 'deep');
  const args = ['load', 'p.csv', '--config', '../holdfast.config.json', '--stream', 'payments'];
  const env = { INIT_CWD, npm_lifecycle_event: 'holdfast' };
  assert.equal((await shop.run([...args, '--json'], { env })).exit, 0);
  const plain = await shop.run([...args, '--json'], { env: { INIT_CWD } });
  assert.equal(plain.exit, 2);
});

test('start loads the example rows once, says where it listens, and starts again', async (t) => {
  const shop = openShop(t, null);
  for (const attempt of ['first', 'second']) {
    const server = shop.start(['start'], { env: { PORT: '0' } });
    const url = (await server.line(/^Listening on /)).slice('Listening on '.length);
    const curl = await server.line(/^curl /);
    const sent = / -d '(.*)'$/.exec(curl)?.[1];
    const to = /^curl '([^']+)'/.exec(curl)?.[1];
    assert(to !== undefined && sent !== undefined);
    assert(to.startsWith(url));
    const headers = { 'content-type': 'application/x-ndjson' };
    const answer = await fetch(to, { method: 'POST', headers, body: sent });
    assert.equal(answer.status, 200, attempt);
    const status = await statusAt(url);
    const rows = attempt === 'first' ? 5001 : 5002;
    assert.equal(status.streams['payments']?.merged, rows);
    server.child.kill('SIGTERM');
    assert.equal((await server.ended).exit, 0);
  }
});
