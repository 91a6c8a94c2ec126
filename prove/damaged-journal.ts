// A small journal to be damaged: a few segments of rows, requests and dictionary, in memory, and
// what recovery makes of it while it is whole.
import assert from 'node:assert/strict';
import type { Disk } from '../src/disk.ts';
import { Journal } from '../src/journal/journal.ts';
import { type Found, readJournal } from '../src/journal/recovery.ts';
import { Feed } from '../src/merge/feed.ts';
import { SimulatedClock } from '../test/simulation/simulated-clock.ts';
import { SimulatedDisk } from '../test/simulation/simulated-disk.ts';
import { journalOptions, parcelOf } from '../test/support/journals.ts';
import { directory } from '../test/support/process-world.ts';
import { type ImageFile, imageDisk } from './crash-image.ts';
import { DiskLog } from './disk-log.ts';
import { History } from './history.ts';
import { type Recovered, type RecoveredBlock, recover, recoveredBlock } from './oracle.ts';

/** How the journal came to its end. */
export type Ending =
  | 'killed'
  /** Killed after a pause, in which its last group got a witness. */
  | 'idle'
  | 'closed';

export interface Whole {
  readonly ending: Ending;
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly names: readonly string[];
  readonly recovered: Recovered;
  readonly history: History;
  /** How many blocks stand before the last group that was acknowledged. */
  readonly blocksBeforeLast: number;
}

const segmentBytes = 8 * 1024;

const shown = (bytes: Uint8Array): ImageFile => ({
  size: bytes.length,
  platter: bytes,
  patches: new Map(),
});

type Files = ReadonlyMap<string, Uint8Array>;

const diskOf = (files: Files): Disk =>
  imageDisk(new Map([...files].map(([name, file]) => [name, shown(file)])));

/** What recovery finds where it reads every byte. */
export const recoverFiles = (files: Files): Recovered => recover(diskOf(files), directory);

/** What opening finds where all requests are remembered, so that no sealed segment is read. */
export const openFiles = (files: Files): Found | undefined =>
  readJournal(diskOf(files), directory, { isKnown: () => true });

/** Drains an opened journal by its feeds; throws what they find wrong. */
export function drainFiles(
  files: Files,
  { dictionary, end }: Found,
  take: (block: RecoveredBlock) => void,
): void {
  const disk = diskOf(files);
  for (const { id: stream, lanes } of dictionary.streams) {
    const feed = new Feed({ disk, directory, stream, serves: () => true }, lanes + 1);
    feed.seek(new Float64Array(lanes + 1));
    feed.extend(end);
    feed.read((block) => {
      take(recoveredBlock(block));
      return 'more';
    });
  }
}

function segmentsOf(disk: SimulatedDisk): Map<string, Uint8Array> {
  const names = disk.list(directory).filter((name) => name.endsWith('.segment'));
  return new Map(
    names.map((name) => {
      const file = disk.open(`${directory}/${name}`, 'read');
      const bytes = new Uint8Array(file.size());
      file.read(bytes, 0);
      return [name, bytes];
    }),
  );
}

interface Size {
  readonly seed: number;
  readonly segments: number;
  /** Another life has blocks of the same sizes, and other content in them. */
  readonly life?: number;
}

/** Writes a journal of `segments` segments; the same seed and life, the same bytes. */
export async function writeWhole(
  ending: Ending,
  { seed, segments, life = 0 }: Size,
): Promise<Whole> {
  const disk = new SimulatedDisk({ seed });
  disk.makeDirectory(directory);
  const log = new DiskLog();
  const clock = new SimulatedClock({ seed: seed + life });
  const options = journalOptions(directory, {
    disk: log.recorded(disk),
    clock,
    segmentBytes,
    // Nothing is trimmed.
    retentionMsMin: Number.MAX_SAFE_INTEGER,
  });
  const journal = await clock.run(Journal.open(options));
  let beforeLast = 0;
  const fill = async (): Promise<void> => {
    for (let i = 0; journal.end.segment < segments || journal.end.offset < 4_000; i++) {
      beforeLast = recover(disk, directory).blocks.length;
      const { keep, ...parcel } = parcelOf(journal, 12 + ((i * 7 + seed) % 11));
      // Only what its rows hold: sizes and places stay.
      for (const [row, end] of parcel.rows.ends.subarray(0, parcel.rows.count).entries()) {
        parcel.rows.bytes.fill(row + life, end - 4, end);
      }
      // One request in three is to be remembered.
      await journal.submit(
        i % 3 === 0 ? { ...parcel, keep: { ...keep, key: `key ${i}` } } : parcel,
      );
    }
    if (ending === 'idle') journal.mark();
    if (ending === 'closed') await journal.close();
  };
  await clock.run(fill());
  const files = segmentsOf(disk);
  disk.dispose();
  const history = new History();
  for (const entry of log.entries) if (entry.kind === 'write') history.learn(entry.bytes);
  const recovered = recoverFiles(files);
  assert(recovered.blocks.length > beforeLast, 'the last group holds records');
  return {
    ending,
    files,
    names: [...files.keys()].sort(),
    recovered,
    history,
    blocksBeforeLast: beforeLast,
  };
}
