// A process to be killed: writes numbered requests to a real journal in front of an SQLite file, a
// few at a time, and says which are acknowledged. Arguments: folder, first number, last number,
// where the loaders run.
import process from 'node:process';
import { open } from '../../src/index.ts';
import type { Holdfast } from '../../src/types.ts';
import { childOptions, childRows, tellParent, writersMax } from './crash-folder.ts';
import { beTraced } from './traced.ts';

async function writeAll(holdfast: Holdfast, [first, last]: readonly [number, number]) {
  let next = first;
  const writers = Array.from({ length: writersMax }, async () => {
    while (next <= last) {
      const number = next++;
      await holdfast.write('events', childRows(number), { idempotencyKey: String(number) });
      await tellParent(`${number}`);
    }
  });
  await Promise.all(writers);
}

const [folder = '', first, last, place] = process.argv.slice(2);
await beTraced();
const holdfast = await open(childOptions(folder, place === 'own' ? 'own' : 'worker'));
await writeAll(holdfast, [Number(first), Number(last)]);
await holdfast.close();
