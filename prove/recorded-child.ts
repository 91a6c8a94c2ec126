// A process of its own with a real disk: lives one world through, and leaves the log of what it did
// to the disk in a file. Arguments: folder, seed. Time and target are the simulated ones, so that
// the same seed does the same to the simulated disk.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { serialize } from 'node:v8';
import { type Disk, systemDisk } from '../src/disk.ts';
import type { SimulatedClock } from '../test/simulation/simulated-clock.ts';
import { World } from '../test/support/crash-world.ts';
import { record } from './recorded-lives.ts';

/** The real disk, below a folder. */
function below(folder: string, clock: SimulatedClock): Disk {
  const at = (path: string): string => join(folder, path);
  return {
    open: (path, mode) => {
      const file = systemDisk.open(at(path), mode);
      return { ...file, syncAside: () => clock.during(file.syncAside()) };
    },
    list: (path) => systemDisk.list(at(path)),
    rename: (from, to) => systemDisk.rename(at(from), at(to)),
    remove: (path) => systemDisk.remove(at(path)),
    makeDirectory: (path) => systemDisk.makeDirectory(at(path)),
    syncDirectory: (path) => systemDisk.syncDirectory(at(path)),
    changeNames: (path, change) => systemDisk.changeNames(at(path), change),
    freeBytes: (path) => systemDisk.freeBytes(at(path)),
    lock: (path) => systemDisk.lock(at(path)),
    database: (path) => systemDisk.database(at(path)),
    createZeroed: (path, bytes) => clock.during(systemDisk.createZeroed(at(path), bytes)),
  };
}

const [folder = '', seed = ''] = process.argv.slice(2);
const world = new World({ seed: Number(seed) });
const disk = below(folder, world.clock);
const log = record(world, { on: () => disk });
await world.run();
log.end();
writeFileSync(join(folder, 'log'), serialize(log.entries));
