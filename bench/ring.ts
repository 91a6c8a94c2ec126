// bench ring: records a second from one thread to another, 200 bytes each, copied in and out, every
// word written and read.
//
// batched, single: the L1 ring (src/threads/ring.ts), published 64 at a time and one by one.
// postMessage: the same records one by one through a MessagePort. disruptor: the LMAX Disruptor in
// Java, one by one; its consumer copies every byte but looks at the first word only. `of`:
// disruptor. Rounds in turn; of up to ten the least disturbed count.
//
// --full: also ring-checked.ts.
import { once } from 'node:events';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { createRing } from '../src/threads/ring.ts';
import type { SideName } from '../src/threads/ring-side.ts';
import { lackOfDisruptor, runDisruptor } from './disruptor.ts';
import { type BenchOptions, type Figures, figureOf, quietShareMax, type Run } from './figures.ts';
import { CpuMeter } from './machine.ts';
import { runChecked } from './ring-checked.ts';

export interface RingCall {
  readonly side: SideName;
  readonly memory: SharedArrayBuffer;
  readonly records: number;
  /** Records published at once. */
  readonly batch: number;
  /** Where they go by postMessage. */
  readonly port?: MessagePort;
}

const rounds = 5;
const roundsMax = 10;
const capacityBytes = 2 ** 20;
const ringRecords = 8_000_000;
const posted = 150_000;
const disruptorRecords = 8_000_000;

export async function benchRing({ say, isFull = false }: BenchOptions): Promise<Figures> {
  const ways = new Map([
    ['batched', ringWay(64)],
    ['single', ringWay(1)],
    ['postMessage', overPort],
  ]);
  const lack = lackOfDisruptor();
  if (lack === undefined) ways.set('disruptor', () => runDisruptor(disruptorRecords));
  else say(`NO FIGURE OF THE DISRUPTOR: it wants java, and Maven for its jar. ${lack}`);
  const threads = [startThread(), startThread()] as const;
  try {
    return {
      ...(await runRounds(ways, threads, say)),
      ...(isFull ? await runChecked(say) : {}),
    };
  } finally {
    for (const thread of threads) await thread.terminate();
  }
}

type Threads = readonly [Worker, Worker];
/** One run; answers with records a second. */
type Way = (threads: Threads) => Promise<number>;

const startThread = (): Worker => new Worker(new URL('./ring-thread.ts', import.meta.url));

async function runRounds(
  ways: ReadonlyMap<string, Way>,
  threads: Threads,
  say: BenchOptions['say'],
): Promise<Figures> {
  const runs = new Map([...ways.keys()].map((name) => [name, [] as Run[]]));
  const quiet = (taken: readonly Run[]): Run[] =>
    taken.filter(({ others }) => others <= quietShareMax);
  for (let round = 0; round <= roundsMax; round++) {
    if ([...runs.values()].every((taken) => quiet(taken).length >= rounds)) break;
    const found = new Map<string, Run>();
    for (const [name, way] of ways) {
      const meter = new CpuMeter();
      found.set(name, { value: await way(threads), others: meter.others() });
    }
    const shown = [...found].map(
      ([name, { value, others }]) =>
        `${name} ${(value / 1e6).toFixed(2)} M/s (${Math.round(others * 100)} % others)`,
    );
    say(`round ${round}: ${shown.join(', ')}`);
    // The first one warms the compiler up.
    if (round > 0)
      for (const [name, run] of found) runs.get(name)?.push(besideDisruptor(name, run, found));
  }
  return Object.fromEntries(
    [...runs].map(([name, taken]) => [name, figureOf('records/s', leastDisturbed(taken))]),
  );
}

function besideDisruptor(name: string, run: Run, found: ReadonlyMap<string, Run>): Run {
  const of = found.get('disruptor')?.value;
  return of === undefined || name === 'disruptor' ? run : { ...run, of };
}

const leastDisturbed = (runs: readonly Run[]): Run[] =>
  runs.toSorted((a, b) => a.others - b.others).slice(0, rounds);

const ringWay =
  (batch: number): Way =>
  async (threads) => {
    const memory = createRing({ capacityBytes });
    const call = { memory, records: ringRecords, batch };
    return await timed(threads, { ...call, side: 'producer' }, { ...call, side: 'consumer' });
  };

async function overPort(threads: Threads): Promise<number> {
  const memory = createRing({ capacityBytes: 64 });
  const { port1, port2 } = new MessageChannel();
  const call = { memory, records: posted, batch: 1 };
  const produced: RingCall = { ...call, side: 'producer', port: port1 };
  return await timed(threads, produced, { ...call, side: 'consumer', port: port2 });
}

/** From before the first record to after the last one. */
async function timed(threads: Threads, produced: RingCall, consumed: RingCall): Promise<number> {
  const begun = performance.now();
  const done = threads.map((thread) => once(thread, 'message'));
  for (const [i, call] of [produced, consumed].entries()) {
    threads[i]?.postMessage(call, call.port ? [call.port] : []);
  }
  await Promise.all(done);
  return (produced.records * 1000) / (performance.now() - begun);
}
