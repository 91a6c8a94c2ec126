import test from 'node:test';
import { httpUntimed } from '../../prove/http.ts';
import { proved } from '../support/proofs.ts';

test('a server under attack refuses what it must, and keeps what it acknowledged', async () => {
  await proved(httpUntimed);
});
