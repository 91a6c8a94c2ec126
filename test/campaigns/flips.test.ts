import assert from 'node:assert/strict';
import test from 'node:test';
import { flipsCampaign } from '../../prove/flips.ts';
import { proved } from '../support/proofs.ts';

test('no flipped bit, cut or swapped segment makes a journal serve a wrong byte', async () => {
  const { seen } = await proved(flipsCampaign);
  assert((seen['flips'] ?? 0) >= 131_072, `${seen['flips']} bits were flipped`);
});
