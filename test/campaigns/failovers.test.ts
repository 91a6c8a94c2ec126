import test from 'node:test';
import { failoversCampaign } from '../../prove/failovers.ts';
import { apart, proved } from '../support/proofs.ts';

test('what a failover of the database loses comes back from the journal, once', async () => {
  await proved(apart(failoversCampaign));
});
