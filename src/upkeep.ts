// Now and then: what was journaled is remembered and marked, what was confirmed is let go, what is
// old is forgotten.
import type { Clock } from './clock.ts';
import type { ContentionHistory } from './contention.ts';
import { HoldfastError } from './errors.ts';
import { isShortage } from './journal/disk-failure.ts';
import type { Journal } from './journal/journal.ts';
import type { Requests } from './journal/requests.ts';
import { limits } from './limits.ts';
import type { LoadingCalls } from './merge/loading.ts';
import type { OpenStream } from './stream.ts';
import type { Streams } from './streams.ts';

export interface UpkeepParts {
  readonly journal: Journal;
  readonly requests: Requests;
  readonly streams: Streams;
  readonly loading: LoadingCalls;
  readonly contention: ContentionHistory;
}

const upkeepMs = 1_000;
/**
 * Requests are taken over a second after they came, when most have their ends and go there by one
 * statement; few at a time, because the journal waits for the thread meanwhile.
 */
const takeOverMs = 100;
const takeOverAfter = upkeepMs / takeOverMs;
const expireMs = 60_000;
/** A clock that is set moves further at once than one that is slewed does in a second. */
const clockStepMs = 10_000;

/**
 * Runs until aborted. What asks the target may wait for it long; the journal needs its upkeep all
 * the more then (P18).
 */
export async function keepUp(parts: UpkeepParts, clock: Clock, signal: AbortSignal): Promise<void> {
  await Promise.all([
    keepRequests(parts, clock, signal),
    keepJournal(parts, clock, signal),
    keepTarget(parts, clock, signal),
  ]);
}

async function keepRequests(
  { requests }: UpkeepParts,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const added: number[] = [];
  while (!signal.aborted) {
    await clock.sleep(takeOverMs, signal);
    if (signal.aborted) return;
    added.push(requests.lastAdded);
    const due = added.length > takeOverAfter ? added.shift() : undefined;
    if (due !== undefined) whereThereIsRoom(() => requests.flush(due));
  }
}

async function keepJournal(
  { journal, requests }: UpkeepParts,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const offset = (): number => clock.wallMs() - clock.monotonicMs();
  let expireAt = clock.monotonicMs() + expireMs;
  let offsetMs = offset();
  while (!signal.aborted) {
    await clock.sleep(upkeepMs, signal);
    if (signal.aborted) return;
    whereThereIsRoom(() => {
      const stepMs = offset() - offsetMs;
      // The wall clock was set: the requests are as old as before.
      if (Math.abs(stepMs) > clockStepMs) {
        requests.flush();
        requests.moveTimes(stepMs);
      }
      offsetMs += stepMs;
    });
    journal.mark();
    await journal.relieve();
    if (clock.monotonicMs() < expireAt) continue;
    expireAt = clock.monotonicMs() + expireMs;
    whereThereIsRoom(() => requests.expire(clock.wallMs() - limits.requestsKeptMs));
  }
}

async function keepTarget(parts: UpkeepParts, clock: Clock, signal: AbortSignal): Promise<void> {
  let pruneAt = clock.monotonicMs() + expireMs;
  while (!signal.aborted) {
    await clock.sleep(upkeepMs, signal);
    if (signal.aborted) return;
    const seen = await parts.loading.contention(upkeepMs);
    if (seen) parts.contention.add(seen, clock.monotonicMs());
    if (clock.monotonicMs() < pruneAt) continue;
    pruneAt = clock.monotonicMs() + expireMs;
    await prune(parts);
  }
}

function whereThereIsRoom(write: () => void): void {
  try {
    write();
  } catch (error) {
    // No room now: the journal keeps what the database lacks, and the next time is soon.
    if (!isShortage(error)) throw error;
  }
}

/**
 * Ledger rows that end before the retained journal begins have been added into the lanes' totals
 * (P13). It may begin earlier after a crash, where a drop was not durable: they stay then.
 */
async function prune({ journal, requests, loading, streams }: UpkeepParts): Promise<void> {
  if (!journal.segments.areDropsDurable) return;
  const oldest = journal.segments.list[0];
  for (const stream of streams.all) {
    const mark = oldest?.marks.find((known) => known.stream === stream.id);
    if (!mark || stream.state.state !== 'running' || isUncounted(stream, requests)) continue;
    const upTo = mark.last.map((last, lane) => ({
      lane,
      last: Math.min(last, stream.marks.confirmed[lane] ?? 0),
    }));
    try {
      await loading.prune(stream.name, upTo);
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'HF_TARGET') throw error;
      return;
    }
  }
}

/** Whether a request still needs the ledger to say how its records ended. */
function isUncounted(stream: OpenStream, requests: Requests): boolean {
  const [open] = requests.open(stream.id, -1, 1);
  return open !== undefined && stream.pending.isSettled(open.ranges);
}
