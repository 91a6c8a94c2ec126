import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Confirming } from '../src/confirm.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';

test('lanes that stay where they are when others go back are still confirmed', async () => {
  const clock = new SimulatedClock();
  const session = await new SimulatedTarget({ clock }).connect();
  const confirming = new Confirming({ afterMs: 100 }, clock);
  const poll = () => confirming.poll(session, { writer: '', stream: '' });
  const lanes = [
    { lane: 0, last: 10 },
    { lane: 1, last: 20 },
  ];
  confirming.add(lanes, { position: '', identity: session.identity });
  await clock.advance(60);
  confirming.rewind([{ lane: 0, last: 4 }]);
  await clock.advance(60);
  assert.deepEqual(await poll(), [], 'the time begins anew in the other history');
  await clock.advance(60);
  assert.deepEqual(await poll(), [{ lane: 0, last: 4 }, lanes[1]]);
  assert(confirming.isIdle);
});
