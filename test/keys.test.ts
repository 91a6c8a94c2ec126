// Requests under an Idempotency-Key that meet: who is the first, and of which rows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Row } from '../src/accept/rows.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { Shop } from './support/simulated-shop.ts';

test('one of those that waited for a twin that was refused is the first (P20)', async () => {
  const shop = new Shop();
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.settled(holdfast, 'a');
    const send = (row: Row) => holdfast.write('a', row, { idempotencyKey: 'k' });
    const refused = send({ id: 'none' });
    const waited = [1, 2, 3].map(() => send({ id: 1, note: '' }));
    await assert.rejects(refused, { code: 'HF_ROWS_REFUSED' });
    const receipts = await Promise.all(waited);
    assert.equal(new Set(receipts.map(({ id }) => id)).size, 1);
    assert.equal(receipts.filter(({ repeated }) => repeated).length, 2);
  });
});

test('bytes under a key are the caller’s again once they are given (P20)', async () => {
  const shop = new Shop();
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    const bytes = Buffer.alloc(20);
    const send = (key: string, text: string) => {
      bytes.fill(' ').write(text);
      return holdfast.writeBytes('a', bytes, { format: 'json', idempotencyKey: key });
    };
    const [first, refused, behind] = await Promise.allSettled([
      send('k', '{"id":1,"note":"a"}'),
      send('m', '{"id":"no"}'),
      // Waits for its twin, and is the first then.
      send('m', '{"id":2,"note":"b"}'),
      send('n', '{"id":3,"note":"c"}'),
    ]);
    const statuses = [first, refused, behind].map(({ status }) => status);
    assert.deepEqual(statuses, ['fulfilled', 'rejected', 'fulfilled'], JSON.stringify(behind));
    await shop.settled(holdfast, 'a');
    const notes = shop.target.rows('a').map(({ id, note }) => `${String(id)}${String(note)}`);
    assert.deepEqual(notes.sort(), ['1a', '2b', '3c']);
  });
});
