// The loader thread, as its parent has it.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import test from 'node:test';
import { HoldfastError } from '../src/errors.ts';
import type { LoadingEvents } from '../src/merge/stream.ts';
import { remoteLoading } from '../src/threads/remote-loading.ts';

/** What a parent is told when its loader thread dies of that. */
async function told(of: Error): Promise<HoldfastError> {
  const thread = Object.assign(new EventEmitter(), {
    postMessage: () => undefined,
    terminate: () => Promise.resolve(),
  });
  return new Promise((resolve) => {
    const loading = remoteLoading(thread, {} as LoadingEvents, (error) => {
      assert(error instanceof HoldfastError);
      assert.rejects(loading.lanes(['payments']), error).then(() => resolve(error), assert.ifError);
    });
    thread.emit('error', of);
    thread.emit('exit', 1);
  });
}

/** As it has crossed: without its class. */
const crossed = (message: string, fields: object): Error =>
  Object.assign(new Error(message), fields);

test('of what the loader thread died is told: a disk, corruption, a bug', async () => {
  const ofDisk = await told(crossed('EIO: i/o error, read', { code: 'EIO', syscall: 'read' }));
  assert.equal(ofDisk.code, 'HF_JOURNAL_FAILED');
  const corrupt = await told(crossed('1.segment is corrupt', { code: 'HF_CORRUPT' }));
  assert.equal(corrupt.code, 'HF_CORRUPT');
  assert.match(corrupt.message, /loader thread ended: 1\.segment is corrupt/);
  const bug = await told(crossed('it is undefined', { code: 'ERR_SOMETHING' }));
  assert.equal(bug.code, 'HF_BUG');
});
