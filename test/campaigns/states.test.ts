import assert from 'node:assert/strict';
import test from 'node:test';
import { statesCampaign } from '../../prove/states.ts';
import { proved } from '../support/proofs.ts';

test('no state that a power cut can leave loses, doubles or invents a record', async () => {
  const { runs, seen } = await proved(statesCampaign);
  assert(runs >= 100_000, `${runs} distinct crash states`);
  assert((seen['logs of a real process'] ?? 0) > 0, 'some were recorded on a real disk');
});
