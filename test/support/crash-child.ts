// A process to be killed: writes numbered requests to a real journal in front of an SQLite file, a
// few at a time, and says which are acknowledged. Arguments: folder, first number, last number,
// where the loaders run.
import assert from 'node:assert/strict';
import process from 'node:process';
import { open } from '../../src/holdfast.ts';
import { startServing } from '../../src/serving.ts';
import { childBytes, childOptions, childRows, tellParent, writersMax } from './crash-folder.ts';
import { beTraced } from './traced.ts';

type Write = (number: number) => Promise<unknown>;

async function writeAll(write: Write, [first, last]: readonly [number, number]) {
  let next = first;
  const writers = Array.from({ length: writersMax }, async () => {
    while (next <= last) {
      const number = next++;
      await write(number);
      await tellParent(`${number}`);
    }
  });
  await Promise.all(writers);
}

async function overHttp(url: string, number: number): Promise<void> {
  const answer = await fetch(`${url}/v1/streams/events/records`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson', 'idempotency-key': `${number}` },
    body: childBytes(number),
  });
  const text = await answer.text();
  assert(answer.ok, text);
}

const [folder = '', first, last, place] = process.argv.slice(2);
const numbers = [Number(first), Number(last)] as const;
await beTraced();
if (place === 'served') {
  const holdfast = await open(childOptions(folder, place));
  const server = await startServing(holdfast, { port: 0, workers: 1 });
  await writeAll((number) => overHttp(server.url, number), numbers);
  await server.close();
  await holdfast.close();
} else {
  const holdfast = await open(childOptions(folder, place === 'own' ? 'own' : 'worker'));
  await writeAll((number) => {
    return holdfast.write('events', childRows(number), { idempotencyKey: `${number}` });
  }, numbers);
  await holdfast.close();
}
