// What loads make of lines that are too long, or do not end.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { open } from '../src/holdfast.ts';
import { limits } from '../src/limits.ts';
import { temporaryFolder } from './support/journals.ts';

async function openShop(t: TestContext) {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const path = join(folder.path, 'target.db');
  const database = new DatabaseSync(path);
  t.after(() => database.close());
  database.exec('PRAGMA journal_mode=WAL; CREATE TABLE notes (body TEXT NOT NULL) STRICT');
  const holdfast = await open({
    journal: join(folder.path, 'journal'),
    target: `sqlite:${path}`,
    streams: { notes: { table: 'notes' } },
  });
  t.after(() => holdfast.close({ drainMs: 0 }));
  return { holdfast, bodies: () => database.prepare('SELECT body FROM notes').all() };
}

const MiB = 1024 * 1024;

test('a load that goes on inside a line that is too long makes no row of its end', async (t) => {
  const { holdfast, bodies } = await openShop(t);
  const long = Buffer.alloc(limits.lineBytesMax + MiB, 'a');
  const all = [Buffer.from('body\nfirst\n'), long, Buffer.from(' 1000.00\nlast\n')];
  const input = Buffer.concat(all);
  const digest = createHash('sha256').update(input).digest('hex');
  const source = { size: input.length, digest };
  const options = { format: 'csv', invalid: 'dead-letter', source } as const;
  async function* pieces(from: number, to: number) {
    for (let at = from; at < to; at += MiB) yield input.subarray(at, Math.min(at + MiB, to));
    if (to < input.length) throw new Error('the line is dead');
  }
  const first = await holdfast.beginLoad('notes', options);
  const broken = pieces(0, limits.lineBytesMax + MiB);
  await assert.rejects(holdfast.continueLoad(first, broken, options), /the line is dead/);
  const again = await holdfast.beginLoad('notes', options);
  assert(again.offset > limits.lineBytesMax && again.offset < input.length - 20, 'inside the line');
  const rest = pieces(again.offset, input.length);
  const { accepted, merged, deadLetters } = await holdfast.continueLoad(again, rest, options);
  assert.deepEqual({ accepted, merged, deadLetters }, { accepted: 3, merged: 2, deadLetters: 1 });
  assert.deepEqual(
    bodies().map(({ body }) => body),
    ['first', 'last'],
  );
});

test('lines without end do not take the memory, however many loads send them', async (t) => {
  const { holdfast } = await openShop(t);
  const { promise: silence, resolve: end } = Promise.withResolvers<void>();
  const piece = Buffer.alloc(MiB, 'a');
  const pieces = limits.lineBytesMax / MiB - 1;
  async function* endless() {
    yield Buffer.from('{"body":"');
    for (let i = 0; i < pieces; i++) yield piece;
    await silence;
  }
  const many = Math.ceil(limits.memoryBytesMax / (pieces * MiB)) + 1;
  const loads = Array.from({ length: many }, () =>
    holdfast.load('notes', endless(), { format: 'ndjson' }),
  );
  await assert.rejects(Promise.race(loads), { code: 'HF_OVERLOADED', outcome: 'not written' });
  end();
  await Promise.allSettled(loads);
  const { accepted } = (await holdfast.status()).streams['notes'] ?? {};
  assert.equal(accepted, 0);
});
