// Opens the journal and, beside it, what is remembered of requests: the two must tell one story.
import { join } from 'node:path';
import process from 'node:process';
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from './clock.ts';
import type { Disk } from './disk.ts';
import { HoldfastError } from './errors.ts';
import { CorruptJournal } from './journal/corrupt.ts';
import { diskFailure, isBusy } from './journal/disk-failure.ts';
import { segmentNumbers, spareNumbers } from './journal/files.ts';
import { Journal } from './journal/journal.ts';
import { Requests } from './journal/requests.ts';
import { limits } from './limits.ts';
import type { Metrics } from './metrics.ts';
import type { Options } from './options.ts';

interface Ports {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly pid?: number;
}

interface Opened {
  readonly journal: Journal;
  readonly requests: Requests;
}

/**
 * Rejects with HF_JOURNAL_LOCKED, HF_CORRUPT, HF_JOURNAL_FULL or HF_JOURNAL_FAILED; nothing is held
 * then.
 */
export async function openJournal(
  options: Options,
  ports: Ports,
  metrics: Metrics,
): Promise<Opened> {
  try {
    return await openBoth(options, ports, metrics);
  } catch (error) {
    throw diskFailure(error);
  }
}

async function openBoth(
  options: Options,
  { disk, clock, pid = process.pid }: Ports,
  metrics: Metrics,
): Promise<Opened> {
  const { limits: bounds, journal: directory } = options;
  let requests: Requests | undefined;
  // The database may be touched only once the journal's lock is held.
  const opened = (): Requests => {
    requests ??= openRequests(disk, directory);
    return requests;
  };
  disk.makeDirectory(directory);
  const { journalBytesMax, journalFreeShareMax } = limits;
  const bytesMax =
    bounds.bytesMax ??
    Math.max(
      Math.min(journalBytesMax, roomBytes(disk, options) * journalFreeShareMax),
      bounds.segmentBytes * 3,
    );
  let journal: Journal | undefined;
  try {
    journal = await Journal.open(
      { ...bounds, bytesMax, disk, clock, metrics, directory, pid },
      {
        onRequests: (notes, { isLast }) => {
          for (const note of notes) opened().recover(note);
          // Of the last segment the platter may lack what is read here: until it was copied to
          // safety, its requests must not be durable anywhere else.
          if (!isLast && opened().freshCount > 1_000) opened().flush();
        },
        isKnown: (request) => opened().hasTaken(request),
        check: (group) => checkEnd(opened(), directory, group),
      },
    );
    opened().flush();
    return { journal, requests: opened() };
  } catch (error) {
    try {
      requests?.letGo();
    } finally {
      await journal?.close();
    }
    throw error;
  }
}

function openRequests(disk: Disk, directory: string): Requests {
  const path = join(directory, 'requests.db');
  let database: DatabaseSync | undefined;
  try {
    database = disk.database(path);
    return new Requests(database, limits.requestsKeptMax);
  } catch (error) {
    database?.close();
    if (!isBusy(error)) throw error;
    const message = `"${path}" is open in another program. Close it there.`;
    throw new HoldfastError('HF_JOURNAL_LOCKED', message, { cause: error });
  }
}

/** Requests are remembered once they are durable in the journal: it cannot end before them. */
function checkEnd(requests: Requests, directory: string, group: number): void {
  const { lastGroup } = requests;
  if (lastGroup <= group) return;
  const what = `it ends with group ${group}, and requests of group ${lastGroup} are remembered`;
  throw new CorruptJournal(directory, 0, what);
}

/** What is free on the journal's disk, and what the journal itself takes there. */
const roomBytes = (disk: Disk, { journal, limits: { segmentBytes } }: Options): number =>
  disk.freeBytes(journal) +
  (segmentNumbers(disk, journal).length + spareNumbers(disk, journal).length) * segmentBytes;
