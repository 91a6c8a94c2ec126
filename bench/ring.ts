// bench ring: records a second from one thread to another, 200 bytes each, copied in and out, every
// word written and read.
//
// batched, single: the L1 ring (src/threads/ring.ts), published 64 at a time and one by one.
// postMessage: the same records one by one through a MessagePort. disruptor: the LMAX Disruptor in
// Java, one by one; its consumer copies every byte but looks at the first word only. `of`:
// disruptor.
//
// --full: also ring-checked.ts.
import { once } from 'node:events';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { createRing } from '../src/threads/ring.ts';
import type { SideName } from '../src/threads/ring-side.ts';
import { lackOfDisruptor, runDisruptor } from './disruptor.ts';
import type { BenchOptions, Figures } from './figures.ts';
import { CpuMeter } from './machine.ts';
import { runChecked } from './ring-checked.ts';
import { figureOver, type Rate, type Round, takeRounds } from './rounds.ts';

export interface RingCall {
  readonly side: SideName;
  readonly memory: SharedArrayBuffer;
  readonly records: number;
  /** Records published at once. */
  readonly batch: number;
  /** Where they go by postMessage. */
  readonly port?: MessagePort;
}

const roundsMax = 5;
/** Of the records, in the smallest size. */
const tinyShare = 0.01;
const capacityBytes = 2 ** 20;
const ringRecords = 8_000_000;
const posted = 150_000;
const disruptorRecords = 8_000_000;

export async function benchRing(options: BenchOptions): Promise<Figures> {
  const { say, size } = options;
  const share = size === 'tiny' ? tinyShare : 1;
  const ways = new Map([
    ['batched', ringWay(64, ringRecords * share)],
    ['single', ringWay(1, ringRecords * share)],
    ['postMessage', overPort(posted * share)],
  ]);
  const lack = size === 'tiny' ? 'Nothing is fetched for a test.' : lackOfDisruptor();
  const isThere = lack === undefined;
  if (isThere) ways.set('disruptor', () => runDisruptor(disruptorRecords * share));
  else say(`NO FIGURE OF THE DISRUPTOR: it wants java, and Maven for its jar. ${lack}`);
  const threads = [startThread(), startThread()] as const;
  const take = async (): Promise<Round<Rate>> => {
    const round = new Map<string, Rate>();
    for (const [name, way] of ways) {
      const meter = new CpuMeter();
      round.set(name, { rate: await way(threads), others: meter.others() });
    }
    return round;
  };
  try {
    const tell = ({ rate }: Rate): string => `${(rate / 1e6).toFixed(2)} M/s`;
    const rounds = size === 'tiny' ? 1 : roundsMax;
    const taken = await takeRounds(options, { rounds, take, tell });
    const unit = 'records/s';
    const value = ({ rate }: Rate): number => rate;
    const figures = [...ways.keys()].map((name) => {
      const reference = isThere && name !== 'disruptor' ? 'disruptor' : undefined;
      return [name, figureOver(taken, name, { unit, value, reference })] as const;
    });
    const checked = size === 'full' ? await runChecked(say) : {};
    return { ...Object.fromEntries(figures), ...checked };
  } finally {
    for (const thread of threads) await thread.terminate();
  }
}

type Threads = readonly [Worker, Worker];
/** One run; answers with records a second. */
type Way = (threads: Threads) => Promise<number>;

const startThread = (): Worker => new Worker(new URL('./ring-thread.ts', import.meta.url));

const ringWay =
  (batch: number, records: number): Way =>
  async (threads) => {
    const memory = createRing({ capacityBytes });
    const call = { memory, records, batch };
    return await timed(threads, { ...call, side: 'producer' }, { ...call, side: 'consumer' });
  };

const overPort =
  (records: number): Way =>
  async (threads) => {
    const memory = createRing({ capacityBytes: 64 });
    const { port1, port2 } = new MessageChannel();
    const call = { memory, records, batch: 1 };
    const produced: RingCall = { ...call, side: 'producer', port: port1 };
    return await timed(threads, produced, { ...call, side: 'consumer', port: port2 });
  };

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
