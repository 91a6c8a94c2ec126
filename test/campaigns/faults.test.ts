import test from 'node:test';
import { faultsCampaign } from '../../prove/faults.ts';
import { proved } from '../support/proofs.ts';

test('whichever call of disk or target fails, each row comes to its table once', async () => {
  await proved(faultsCampaign);
});
