import test from 'node:test';
import { commitsCampaign } from '../../prove/commits.ts';
import { apart, proved } from '../support/proofs.ts';

test('whichever statement of a batch is struck, each row comes to its table once', async () => {
  await proved(apart(commitsCampaign));
});
