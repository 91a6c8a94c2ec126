// The owner of a journal in a process of its own, so that it can be killed: fills it, opens it
// again as the product does, or reads every byte of it.
import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import { checkJournal } from '../src/journal/inspect.ts';
import type { Journal } from '../src/journal/journal.ts';
import { limits } from '../src/limits.ts';
import { newMetrics } from '../src/metrics.ts';
import { openJournal } from '../src/open-journal.ts';
import { readOptions } from '../src/options.ts';
import { answerCalls } from './children.ts';
import { recordParcel } from './records.ts';

export interface Directory {
  readonly directory: string;
}

export interface Fill extends Directory {
  readonly segments: number;
}

const groupRecords = 4096;
/** As upkeep does it every second. */
const flushMs = 1_000;
/** A last segment that has no room for many more groups. */
const fullBytes = limits.segmentBytes * 0.95;
let running: Journal | undefined;

async function opened({ directory: journal }: Directory) {
  const options = readOptions({
    journal,
    target: 'sqlite:nobody-opens-it.db',
    streams: { records: { table: 'records' } },
    limits: { bytesMax: 64 * 2 ** 30 },
  });
  const ports = { disk: systemDisk, clock: systemClock };
  const both = await openJournal(options, ports, newMetrics());
  running = both.journal;
  return both;
}

/** Writes groups, each with a request, until the last of so many segments is full. */
async function fill({ directory, segments }: Fill): Promise<void> {
  const { journal, requests } = await opened({ directory });
  const parcel = { ...recordParcel(journal, groupRecords), keep: {} };
  const { stream } = parcel;
  let flushAt = 0;
  while (journal.segments.list.length < segments || journal.end.offset < fullBytes) {
    requests.add({ ...(await journal.submit(parcel)), stream, rows: groupRecords });
    if (performance.now() < flushAt) continue;
    requests.flush();
    flushAt = performance.now() + flushMs;
  }
  await settle();
}

/** Milliseconds until the journal takes records. */
async function open(directory: Directory): Promise<number> {
  const begun = performance.now();
  await opened(directory);
  return performance.now() - begun;
}

/** Until there are spares, as a process leaves them that lives for more than a moment. */
async function settle(): Promise<void> {
  await running?.segments.prepare();
}

/** Milliseconds until every byte was read and checked. */
function read({ directory }: Directory): number {
  const begun = performance.now();
  const { ok } = checkJournal(systemDisk, directory);
  if (!ok) throw new Error('the journal is damaged');
  return performance.now() - begun;
}

answerCalls({ fill, open, settle, read, ready: () => undefined });
