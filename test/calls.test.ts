// Calls between threads: what becomes of errors on the way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '../src/errors.ts';
import { Calls } from '../src/threads/calls.ts';

/** Two sides, of which the second has these methods. */
function joined(methods: object): Calls {
  const asking: Calls = new Calls(
    { postMessage: (messages) => void answering.take(messages) },
    {},
    assert.ifError,
  );
  const answering = new Calls(
    { postMessage: (messages) => void asking.take(messages) },
    methods,
    assert.ifError,
  );
  return asking;
}

test('what nobody foresaw goes over without its text, which is for the log', async () => {
  const asking = joined({
    break: () => {
      throw new TypeError('secret of row 7');
    },
  });
  const error = await asking.call('break').catch((thrown: unknown) => thrown);
  assert(error instanceof HoldfastError && error.code === 'HF_BUG');
  assert.doesNotMatch(error.message, /secret|calls\.test/);
  assert(error.cause instanceof Error);
  assert.match(error.cause.stack ?? '', /secret of row 7.*calls\.test\.ts/s);
});

test('what a caller is to know goes over as it is', async () => {
  const details = { outcome: 'written', retryAfterSeconds: 3 } as const;
  const asking = joined({
    refuse: () => Promise.reject(new HoldfastError('HF_NOT_SETTLED', 'Not yet.', details)),
  });
  const error = await asking.call('refuse').catch((thrown: unknown) => thrown);
  assert(error instanceof HoldfastError);
  const { code, message, outcome, retryAfterSeconds } = error;
  assert.deepEqual(
    { code, message, outcome, retryAfterSeconds },
    { code: 'HF_NOT_SETTLED', message: 'Not yet.', ...details },
  );
});
