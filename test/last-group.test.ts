// Damage to the last group of a journal that was killed looks like a write that the power cut short
// (prove/flips.ts). Once its records are settled the target tells that they are missing: what is
// left then is what was written some milliseconds before a kill, or, where the target was not to be
// had, in the last second.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { systemDisk } from '../src/disk.ts';
import { open } from '../src/holdfast.ts';
import { listSegments } from '../src/journal/inspect.ts';
import type { Holdfast } from '../src/types.ts';
import { temporaryFolder } from './support/journals.ts';
import { streamWhere } from './support/waits.ts';

const damagesMax = 30;

const openedIn = (folder: string): Promise<Holdfast> =>
  open({
    journal: join(folder, 'journal'),
    target: `sqlite:${join(folder, 'target.db')}`,
    streams: { events: { table: 'events', lanes: 1 } },
    limits: { segmentBytes: 256 * 1024 },
  });

const endOf = (folder: string): number =>
  listSegments(systemDisk, join(folder, 'journal')).segments.at(-1)?.used ?? 0;

/** What whoever opens a copy of the folder is told, with one bit of its segment flipped. */
async function toldOf(folder: string, at: number, bit: number): Promise<string> {
  const place = temporaryFolder();
  try {
    cpSync(folder, place.path, { recursive: true });
    const path = join(place.path, 'journal/0000000001.segment');
    const bytes = readFileSync(path);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
    writeFileSync(path, bytes);
    const holdfast = await openedIn(place.path);
    const { reason = 'nothing' } = await streamWhere(
      holdfast,
      'events',
      ({ state }) => state === 'running' || state === 'held',
    );
    await holdfast.close({ drainMs: 0 });
    return reason;
  } finally {
    place.remove();
  }
}

test('damage to a last group that is settled is told, wherever it is', async (t) => {
  const place = temporaryFolder();
  t.after(() => place.remove());
  const [alive, killed] = [join(place.path, 'alive'), join(place.path, 'killed')];
  systemDisk.makeDirectory(alive);
  const database = new DatabaseSync(join(alive, 'target.db'));
  database.exec('PRAGMA journal_mode=WAL; CREATE TABLE events (id INTEGER NOT NULL, note TEXT)');
  database.close();
  const holdfast = await openedIn(alive);
  const write = (id: number) => holdfast.write('events', { id, note: 'n'.repeat(100) });
  await (await write(1)).settled;
  const from = endOf(alive);
  await (await write(2)).settled;
  const to = endOf(alive);
  // As a kill leaves it.
  cpSync(alive, killed, { recursive: true });
  await holdfast.close();
  assert(to - from > 100, 'a group of one row');
  const each = Math.ceil((to - from) / damagesMax);
  for (let at = from; at < to; at += each) {
    const told = await toldOf(killed, at, at % 8);
    assert.match(told, /lane 0 reaches 2 there and ends at 1 here/, `a bit of byte ${at}`);
  }
});
