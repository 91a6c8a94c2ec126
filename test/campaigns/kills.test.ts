import test from 'node:test';
import { killsCampaign } from '../../prove/kills.ts';
import { proved } from '../support/proofs.ts';

test('killed hundreds of times, a process loses and doubles nothing it acknowledged', async () => {
  await proved(killsCampaign);
});
