// The simulated disk keeps and loses what a real one may, or the crash tests prove nothing.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { DiskFile } from '../src/disk.ts';
import {
  SimulatedDeath,
  SimulatedDisk,
  type SimulatedDiskOptions,
} from './simulation/simulated-disk.ts';
import { sectorBytes } from './simulation/simulated-file.ts';

const directory = '/journal';

function newDisk(options?: SimulatedDiskOptions): SimulatedDisk {
  const disk = new SimulatedDisk(options);
  disk.makeDirectory(directory);
  return disk;
}

function newFile(disk: SimulatedDisk, name = 'a'): DiskFile {
  const file = disk.open(`${directory}/${name}`, 'create');
  disk.syncDirectory(directory);
  return file;
}

function content(disk: SimulatedDisk, name = 'a'): string {
  const file = disk.open(`${directory}/${name}`, 'read');
  const bytes = new Uint8Array(file.size());
  assert.equal(file.read(bytes, 0), bytes.length);
  return Buffer.from(bytes).toString('latin1');
}

const sectors = (letter: string, count: number) => Buffer.from(letter.repeat(sectorBytes * count));

const hasCode = (code: string) => (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === code;

test('a synced write survives a power cut in which nothing else does', () => {
  const disk = newDisk();
  const file = newFile(disk);
  file.write(Buffer.from('kept'), 0);
  file.sync();
  file.write(Buffer.from('lost'), 4);
  assert.equal(content(disk), 'keptlost');
  assert.equal(content(disk.crash({ keep: () => false })), 'kept');
});

test('an unsynced write can survive a power cut', () => {
  const disk = newDisk();
  newFile(disk).write(Buffer.from('lucky'), 0);
  assert.equal(content(disk.crash({ keep: () => true })), 'lucky');
});

test('a write is torn between sectors and never within one', () => {
  const disk = newDisk();
  const file = newFile(disk);
  file.write(sectors('o', 3), 0);
  file.sync();
  file.write(sectors('n', 3), 0);
  const torn = disk.crash({ keep: (unit) => unit.kind === 'sector' && unit.sector === 1 });
  const expected = [sectors('o', 1), sectors('n', 1), sectors('o', 1)];
  assert.equal(content(torn), Buffer.concat(expected).toString('latin1'));
});

test('a sector that an earlier write reached does not hold a later one', () => {
  const disk = newDisk();
  const file = newFile(disk);
  file.write(Buffer.from('first'), 0);
  file.write(Buffer.from('again'), 0);
  const early = (write: number) =>
    disk.crash({ keep: (u) => u.kind === 'sector' && u.write === write });
  assert.equal(content(early(0)), 'first');
  assert.equal(content(early(1)), 'again');
});

test('a power cut brings nothing back from before the last sync', () => {
  const disk = newDisk();
  const file = newFile(disk);
  for (const text of ['first', 'again']) {
    file.write(Buffer.from(text), 0);
    file.sync();
  }
  assert.equal(content(disk.crash({ keep: (u) => u.kind === 'sector' && u.write === 0 })), 'again');
});

test('what one power cut left is there after the next', () => {
  const disk = newDisk();
  disk.open(`${directory}/a`, 'create').write(Buffer.from('x'), 0);
  const left = disk.crash({ keep: () => true });
  assert.equal(content(left.crash({ keep: () => false })), 'x');
});

test('a name is lost unless its directory was synced, whatever its content', () => {
  const disk = newDisk();
  const file = disk.open(`${directory}/a`, 'create');
  file.write(Buffer.from('x'), 0);
  file.sync();
  const before = disk.crash({ keep: () => false });
  assert.deepEqual(before.list(directory), []);
  const after = disk.crash({ keep: () => true });
  assert.deepEqual(after.list(directory), ['a']);
});

test('a rename is undone by a power cut until the directory is synced', () => {
  const disk = newDisk();
  newFile(disk);
  disk.rename(`${directory}/a`, `${directory}/b`);
  assert.deepEqual(disk.list(directory), ['b']);
  assert.deepEqual(disk.crash({ keep: () => false }).list(directory), ['a']);
  assert.deepEqual(disk.crash({ keep: () => true }).list(directory), ['b']);
});

test('a removed file comes back after a power cut until the directory is synced', () => {
  const disk = newDisk();
  newFile(disk).sync();
  disk.remove(`${directory}/a`);
  assert.deepEqual(disk.crash({ keep: () => false }).list(directory), ['a']);
  const next = newDisk();
  newFile(next);
  next.remove(`${directory}/a`);
  next.syncDirectory(directory);
  assert.deepEqual(next.crash({ keep: () => false }).list(directory), []);
});

test('the death of a process loses nothing, and a power cut after it can', () => {
  const disk = newDisk();
  newFile(disk).write(Buffer.from('cached'), 0);
  const next = disk.kill();
  assert.equal(content(next), 'cached');
  assert.equal(content(next.crash({ keep: () => false })), '');
});

test('a dead process does nothing any more', () => {
  const disk = newDisk();
  const file = newFile(disk);
  disk.inject({ fault: 'die', at: disk.operations + 2 });
  file.write(Buffer.from('x'), 0);
  assert.throws(() => file.sync(), SimulatedDeath);
  assert.throws(() => file.write(Buffer.from('y'), 0), SimulatedDeath);
  assert.throws(() => disk.list(directory), SimulatedDeath);
  assert.equal(content(disk.crash({ keep: () => false })), '');
});

test('every operation is counted, so that a fault can strike each of them', () => {
  const steps = (disk: SimulatedDisk): void => {
    const file = newFile(disk);
    file.write(Buffer.from('x'), 0);
    file.sync();
    file.close();
    disk.rename(`${directory}/a`, `${directory}/b`);
  };
  const whole = newDisk();
  steps(whole);
  for (let at = 2; at <= whole.operations; at++) {
    const disk = newDisk();
    disk.inject({ fault: 'die', at });
    assert.throws(() => steps(disk), SimulatedDeath);
    assert.equal(disk.operations, at);
    assert.deepEqual(disk.trace, whole.trace.slice(0, at));
  }
});

test('a failed sync loses pages, and the next one succeeds without them', () => {
  const losses = [1, 2, 3, 4, 5, 6].map((seed) => {
    const disk = newDisk({ seed });
    const file = newFile(disk);
    file.write(sectors('o', 4), 0);
    file.sync();
    file.write(sectors('n', 4), 0);
    disk.inject({ fault: 'EIO', operation: 'sync', path: '/a' });
    assert.throws(() => file.sync(), hasCode('EIO'));
    file.sync();
    return content(disk) !== sectors('n', 4).toString();
  });
  assert(losses.includes(true));
});

test('a short write says how much it took', () => {
  const disk = newDisk();
  const file = newFile(disk);
  disk.inject({ fault: 'short', operation: 'write' });
  assert.equal(file.write(Buffer.from('12345678'), 0), 4);
  assert.equal(file.write(Buffer.from('5678'), 4), 4);
  assert.equal(content(disk), '12345678');
});

test('a full disk takes what fits, then nothing, until room is made', () => {
  const disk = newDisk({ capacityBytes: 6 });
  const file = newFile(disk);
  assert.equal(file.write(Buffer.from('12345678'), 0), 6);
  assert.throws(() => file.write(Buffer.from('78'), 6), hasCode('ENOSPC'));
  assert.equal(file.write(Buffer.from('abc'), 0), 3, 'bytes that are there are written over');
  assert.equal(disk.freeBytes(directory), 0);
  disk.capacityBytes = 8;
  assert.equal(file.write(Buffer.from('78'), 6), 2);
});

test('createZeroed leaves a durable file of zeros, or no file', async () => {
  const disk = newDisk({ capacityBytes: 2000 });
  await disk.createZeroed(`${directory}/z`, 1500);
  disk.syncDirectory(directory);
  await assert.rejects(disk.createZeroed(`${directory}/y`, 1500), hasCode('ENOSPC'));
  const after = disk.crash({ keep: () => false });
  assert.deepEqual(after.list(directory), ['z']);
  assert.equal(content(after, 'z'), '\0'.repeat(1500));
});

test('the lock is held once, and let go by release or by death', () => {
  const disk = newDisk();
  const held = disk.lock(`${directory}/lock`);
  assert(held);
  assert.equal(disk.lock(`${directory}/lock`), undefined);
  held.release();
  assert(disk.lock(`${directory}/lock`));
  assert(disk.kill().lock(`${directory}/lock`));
});

test('a database keeps what was committed and nothing else', () => {
  const disk = newDisk();
  const database = disk.database(`${directory}/requests.db`);
  database.exec('CREATE TABLE t (a); INSERT INTO t VALUES (1); BEGIN; INSERT INTO t VALUES (2)');
  const after = disk.crash({ keep: () => false });
  assert.throws(() => database.exec('COMMIT'), /not open/);
  const reopened = after.database(`${directory}/requests.db`);
  assert.deepEqual(reopened.prepare('SELECT a FROM t').all().length, 1);
});

test('two power cuts of one state differ only in what was not synced', () => {
  const disk = newDisk({ seed: 7 });
  const file = newFile(disk);
  file.write(sectors('k', 2), 0);
  file.sync();
  file.write(sectors('u', 20), sectorBytes * 2);
  const seen = new Set<string>();
  for (let i = 0; i < 40; i++) {
    const left = content(disk.crash());
    assert.equal(left.slice(0, sectorBytes * 2), sectors('k', 2).toString());
    seen.add(left.slice(sectorBytes * 2));
  }
  assert(seen.size > 5);
});

test('the same seed gives the same power cut', () => {
  const cut = (): string => {
    const disk = newDisk({ seed: 11 });
    newFile(disk).write(sectors('x', 50), 0);
    return content(disk.crash());
  };
  assert.equal(cut(), cut());
});
