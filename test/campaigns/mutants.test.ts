import assert from 'node:assert/strict';
import test from 'node:test';
import { mutantsCampaign, mutated } from '../../prove/mutants.ts';
import { proved } from '../support/proofs.ts';

test('every broken build is found out, and the unbroken one is not', async () => {
  const { runs, seen } = await proved(mutantsCampaign);
  assert(runs >= 20, `${runs} broken builds`);
  assert.equal(seen['killed'], runs);
});

test('a mutant whose text is not there just once is refused', () => {
  const killer = { campaign: 'states', count: 1 };
  const mutant = { name: 'm', file: 'a.ts', search: 'a++', replace: 'a--', killer };
  assert.equal(mutated('let a = 1;\na++;', mutant), 'let a = 1;\na--;');
  assert.throws(() => mutated('let a = 1;', mutant), /occurs 0 times/);
  assert.throws(() => mutated('a++;a++;', mutant), /occurs 2 times/);
  assert.throws(() => mutated('a++;', { ...mutant, replace: 'a-- (' }));
});
