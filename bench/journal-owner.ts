// The owner of a journal in a process of its own, so that it can be killed: fills it, opens it
// again as the product does, or reads every byte of it.

import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import { checkJournal } from '../src/journal/inspect.ts';
import { newMetrics } from '../src/metrics.ts';
import { openJournal } from '../src/open-journal.ts';
import { readOptions } from '../src/options.ts';
import { answerCalls } from './children.ts';
import { recordParcel } from './records.ts';

interface Directory {
  readonly directory: string;
}

export interface Fill extends Directory {
  readonly bytes: number;
}

const groupRecords = 4096;
/** As upkeep does it every second. */
const flushMs = 1_000;

const opened = ({ directory: journal }: Directory) => {
  const options = readOptions({
    journal,
    target: 'sqlite:nobody-opens-it.db',
    streams: { records: { table: 'records' } },
    limits: { bytesMax: 64 * 2 ** 30 },
  });
  return openJournal(options, { disk: systemDisk, clock: systemClock }, newMetrics());
};

/** Writes groups, each with a request, until its segments take so many bytes. */
async function fill({ directory, bytes }: Fill): Promise<void> {
  const { journal, requests } = await opened({ directory });
  const parcel = { ...recordParcel(journal, groupRecords), keep: {} };
  const { stream } = parcel;
  for (let flushAt = 0; journal.segments.bytes < bytes; ) {
    requests.add({ ...(await journal.submit(parcel)), stream, rows: groupRecords });
    if (performance.now() < flushAt) continue;
    requests.flush();
    flushAt = performance.now() + flushMs;
  }
}

/** Milliseconds until the journal takes records. */
async function open(directory: Directory): Promise<number> {
  const begun = performance.now();
  const { journal } = await opened(directory);
  const ms = performance.now() - begun;
  // Whoever comes next finds spares, as a process leaves them that lived for more than a moment.
  await journal.segments.prepare();
  return ms;
}

/** Milliseconds until every byte was read and checked. */
function readAll({ directory }: Directory): number {
  const begun = performance.now();
  const { ok } = checkJournal(systemDisk, directory);
  if (!ok) throw new Error('the journal is damaged');
  return performance.now() - begun;
}

answerCalls({ fill, open, readAll, ready: () => undefined });
