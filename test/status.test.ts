// What a status costs the target, and what it says without one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { statusText } from '../src/cli/status.ts';
import { open } from '../src/holdfast.ts';
import type { Status } from '../src/types.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';
import { column } from './support/rows.ts';

const plain = (status: Status): string => stripVTControlCharacters(statusText(status));

test('a status asks for all streams over one connection', async () => {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock, latencyMsMax: 4 });
  const names = ['a', 'b', 'c'];
  const columns = [{ column: column('id', { kind: 'int', bytes: 8 }) }];
  for (const name of names) target.createTable(name, { columns, key: ['id'] });
  let connections = 0;
  const counted = {
    capabilities: target.capabilities,
    connect: () => {
      connections++;
      return target.connect();
    },
    close: () => target.close(),
  };
  const streams = Object.fromEntries(names.map((table) => [table, { table, key: ['id'] }]));
  await clock.run(
    (async () => {
      const holdfast = await open(
        { journal: '/journal', target: 'postgres://simulated/shop', streams },
        { disk: new SimulatedDisk(), clock, target: counted },
      );
      for (const name of names) {
        const receipt = await holdfast.write(name, [{ id: 1 }, { id: 2 }]);
        await receipt.settled;
      }
      connections = 0;
      const status = await holdfast.status();
      assert.equal(connections, 1);
      for (const name of names) assert.equal(status.streams[name]?.merged, 2);
      assert.match(plain(status), /^0 rows unaccounted$/m);
      target.server.become('down', 60_000);
      const blind = plain(await holdfast.status());
      assert.match(blind, /^0 rows unaccounted, as far as is known without the target$/m);
      await holdfast.close();
    })(),
  );
});
