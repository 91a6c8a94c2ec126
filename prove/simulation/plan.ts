// What a seed stands for: the streams, what clients send, and what goes wrong when, as plain values
// in the order of virtual time. Each seed first draws which kinds of faults there are at all and
// how dense they are (a swarm): everything at once would hide most of it behind constant failure.
import type { Route } from '../../src/target/target.ts';
import { Random } from '../../test/simulation/random.ts';
import { type TargetFault, targetFaults } from '../../test/simulation/simulated-call-fault.ts';
import type { Fault } from '../../test/simulation/simulated-fault.ts';
import { withLull } from './lulls.ts';
import { withDedupes } from './operator.ts';
import { type CsvPlan, withReadings } from './readings.ts';
import { type RetypePlan, type ValueType, withRetypes } from './retypes.ts';
import { type LoadPlan, withSlips } from './slips.ts';

type Policy = 'dead-letter' | 'ignore' | 'update' | 'newest';

export interface StreamPlan {
  readonly name: string;
  /** Without a key nothing but Holdfast keeps a row from coming twice. */
  readonly isKeyed: boolean;
  readonly policy: Policy;
  readonly route: Route;
  readonly isLogged: boolean;
  readonly lanes: number;
  readonly loaders: number;
  readonly mergers: number;
  readonly mergeEveryMs: number;
  readonly batchRowsMax: number;
  /** The table has a column `value` of this type at first; left out: it has none. */
  readonly value?: ValueType;
}

export interface RowPlan {
  readonly id: number;
  readonly version: number;
  /** The table refuses it. */
  readonly isPoison?: true;
  /** Bytes of its note. */
  readonly bytes: number;
  readonly value?: string | number;
}

export interface RequestPlan {
  readonly client: number;
  readonly stream: string;
  /** Idempotency-Key; without one a request that was not answered is not sent again. */
  readonly key?: string;
  readonly rows: readonly RowPlan[];
  /** Before it is sent. */
  readonly pauseMs: number;
  /** Waits until the rows have their ends. */
  readonly isSettled?: true;
  /** Sent as a load of NDJSON, which goes on where it was cut off. */
  readonly isLoad?: true;
  /** How a load is sent; left out: in one piece, as it should be. */
  readonly load?: LoadPlan;
  /** The first answer does not come through. */
  readonly isUnheard?: true;
  /** Then other rows are sent under its key, which must be refused. */
  readonly isAbused?: true;
  /** Sent as bytes of CSV; left out: as rows, or as NDJSON. */
  readonly csv?: CsvPlan;
  /** After that the client gives up, and sends it again while the first may still be on its way. */
  readonly patienceMs?: number;
}

/** Which sides of each process are threads of their own, and how far these are apart. */
export interface ThreadsPlan {
  readonly hasLoader: boolean;
  readonly acceptWorkers: number;
  /** So many of the clients send bytes, to any accept worker; the others call the core. */
  readonly clientsOfWorkers: number;
  /** These send so many requests at once, where it does not matter which comes first. */
  readonly burst: number;
  /** What has a key they send so many times more, not waiting whether it comes through. */
  readonly copies: number;
  readonly ringBytes: number;
  /** Up to so long a message is on its way, sleeps who is woken, is busy who has a task. */
  readonly delayMsMax: number;
}

export type ThreadName = 'core' | 'loader' | 'accept worker';

export type EventPlan = { readonly at: number } & (
  | { readonly kind: 'die'; readonly after: number; readonly end: 'kill' | 'power cut' }
  | { readonly kind: 'close'; readonly drainMs: number }
  | { readonly kind: 'stop'; readonly ms: number }
  | { readonly kind: 'stall'; readonly thread: ThreadName; readonly ms: number }
  | { readonly kind: 'thread dies'; readonly thread: ThreadName; readonly isHeard: boolean }
  | { readonly kind: 'twin'; readonly ms: number }
  | { readonly kind: 'jump'; readonly ms: number }
  | {
      readonly kind: 'disk';
      readonly fault: Fault;
      readonly after: number;
      readonly isLasting: boolean;
    }
  | { readonly kind: 'full'; readonly bytes: number; readonly ms: number }
  | { readonly kind: 'slow'; readonly takesMs: number; readonly ms: number }
  | {
      readonly kind: 'target';
      readonly fault: TargetFault;
      /** Of the calls that it may strike, so many are passed over. */
      readonly after: number;
      readonly calls: number;
      /** It strikes only what commits rows. */
      readonly isOfRows?: true;
    }
  | { readonly kind: 'down'; readonly ms: number }
  | { readonly kind: 'read-only'; readonly ms: number }
  | { readonly kind: 'crash' }
  | { readonly kind: 'lag'; readonly ms: number }
  | { readonly kind: 'failover' }
  | { readonly kind: 'alter'; readonly table: string; readonly ms: number }
  | { readonly kind: 'drop'; readonly table: string; readonly ms: number }
  | RetypePlan
  | { readonly kind: 'dedupe'; readonly table: string }
);

export type EventKind = EventPlan['kind'];

export interface Plan {
  /** Decimal, of 64 bits: drives the clock, the disk and the target. */
  readonly seed: string;
  readonly streams: readonly StreamPlan[];
  readonly confirm: 'commit' | 'standby';
  /** Everything stays in the journal: then a failover may forget what was confirmed, too. */
  readonly keepsAll: boolean;
  readonly latencyMsMax: number;
  /** Left out: each process is one thread. */
  readonly threads?: ThreadsPlan;
  readonly requests: readonly RequestPlan[];
  readonly events: readonly EventPlan[];
}

const clientsMax = 4;

function drawStream(random: Random, index: number): StreamPlan {
  const isKeyed = random.chance(0.6);
  const policies: readonly Policy[] = ['dead-letter', 'dead-letter', 'ignore', 'update', 'newest'];
  const route = random.chance(0.4) ? 'staged' : 'direct';
  const lanes = random.between(1, 4);
  return {
    name: `s${index}`,
    isKeyed,
    policy: isKeyed ? random.pick(policies) : 'dead-letter',
    route,
    isLogged: route === 'direct' || random.chance(0.6),
    lanes,
    loaders: random.between(1, Math.min(2, lanes)),
    mergers: random.between(1, 2),
    mergeEveryMs: random.pick([20, 80, 320]),
    batchRowsMax: random.pick([1, 3, 10, 1000]),
  };
}

interface Bodies {
  /** Of its note, a row's bytes at most. */
  readonly bytesMax: number;
  readonly poison: number;
  readonly repeats: number;
}

interface Sender {
  readonly client: number;
  readonly number: number;
  readonly bodies: Bodies;
  readonly isLoad: boolean;
}

/** Rows of one request. Ids of `update` belong to one client each: their order is its order. */
function drawRows(
  random: Random,
  stream: StreamPlan,
  { client, number, bodies, isLoad }: Sender,
): RowPlan[] {
  const count = random.pick([1, 1, 2, 4, 6]);
  const isOwn = stream.policy === 'update' || stream.policy === 'newest';
  const seen = new Set<number>();
  return Array.from({ length: count }, (_, i): RowPlan => {
    // Two loads of the same bytes are one load (P20): the first row of each is its own.
    const isOnlyHere = isLoad && i === 0;
    const isRepeat = stream.isKeyed && random.chance(bodies.repeats) && !isOnlyHere;
    const shared = isOwn ? 100_000 * (client + 1) : 100_000 * clientsMax * 2;
    const fresh = 1_000 * (number + 1) + i;
    const id = isRepeat ? shared + random.below(6) : fresh;
    // Two rows of one key in one request would have one version.
    const own = seen.has(id) ? fresh : id;
    seen.add(own);
    // Under the default rule most rows that come again are equal.
    const isEqual = stream.policy === 'dead-letter' && random.chance(0.7);
    return {
      id: own,
      version: isEqual ? 0 : number + 1,
      bytes: own === fresh ? random.between(1, bodies.bytesMax) : 20,
      ...(random.chance(bodies.poison) ? { isPoison: true as const } : {}),
    };
  });
}

function drawRequests(random: Random, streams: readonly StreamPlan[], untilMs: number) {
  const clients = random.between(1, clientsMax);
  const count = random.between(3, 14);
  const bodies = {
    bytesMax: random.pick([40, 300, 2_500]),
    poison: random.pick([0, 0, 0.05, 0.3]),
    repeats: random.pick([0, 0.2, 0.6]),
  };
  const pauseMsMax = (2 * untilMs * clients) / count;
  return Array.from({ length: count }, (_, number): RequestPlan => {
    const client = number % clients;
    const stream = random.pick(streams);
    // Without a key, what is not known to be written cannot be sent again.
    const isKeyed = stream.policy === 'update' || random.chance(0.8);
    const isLoad = random.chance(0.1);
    const isSettled = random.chance(0.2);
    const isImpatient = !isLoad && (isSettled || random.chance(0.1));
    return {
      client,
      stream: stream.name,
      ...(isKeyed ? { key: `key ${number}` } : {}),
      rows: drawRows(random, stream, { client, number, bodies, isLoad }),
      pauseMs: random.chance(0.3) ? 0 : random.below(pauseMsMax),
      ...(isSettled ? { isSettled } : {}),
      ...(isLoad ? { isLoad } : {}),
      ...(random.chance(0.1) ? { isUnheard: true as const } : {}),
      ...(random.chance(0.1) ? { isAbused: true as const } : {}),
      ...(isImpatient ? { patienceMs: random.between(1, 60) } : {}),
    };
  });
}

/** How often each kind of event comes, for one seed: many kinds never. */
type Density = (kind: EventKind) => number;

const diskFaults: readonly Fault[] = ['EIO', 'ENOSPC', 'EROFS', 'EMFILE', 'short'];
interface Moment {
  readonly random: Random;
  readonly at: number;
  readonly streams: readonly StreamPlan[];
}

/** What is drawn apart: where there are threads at all, columns that change, what came later. */
type EventApart = 'stall' | 'thread dies' | 'retype' | 'dedupe' | 'slow';

/** What an event of each kind is; deaths are drawn apart. */
const drawEvent: Readonly<Record<Exclude<EventKind, EventApart>, (moment: Moment) => EventPlan>> = {
  die: ({ random, at }) => {
    const end = random.chance(0.5) ? 'kill' : 'power cut';
    return { at, kind: 'die', after: random.chance(0.2) ? 0 : random.below(40), end };
  },
  close: ({ random, at }) => ({ at, kind: 'close', drainMs: random.pick([0, 20, 10_000]) }),
  stop: ({ random, at }) => ({ at, kind: 'stop', ms: random.pick([5, 50, 5_000]) }),
  twin: ({ random, at }) => {
    // Some live on until they look, idle, at what became of their lanes.
    const ms = random.chance(0.1) ? random.between(3_000, 8_000) : random.between(1, 80);
    return { at, kind: 'twin', ms };
  },
  jump: ({ random, at }) => {
    const ms = random.pick([1, 1_000, 60_000, 3_600_000, 12 * 3_600_000]);
    return { at, kind: 'jump', ms: random.chance(0.5) ? -ms : ms };
  },
  disk: ({ random, at }) => ({
    at,
    kind: 'disk',
    fault: random.pick(diskFaults),
    after: random.below(30),
    isLasting: random.chance(0.2),
  }),
  full: ({ random, at }) => ({
    at,
    kind: 'full',
    bytes: random.pick([0, 1_000, 40_000, 70_000]),
    ms: random.between(5, 100),
  }),
  target: ({ random, at }) => ({
    at,
    kind: 'target',
    fault: random.pick(targetFaults),
    after: random.below(4),
    calls: random.pick([1, 1, 2, 8]),
    ...(random.chance(0.7) ? { isOfRows: true as const } : {}),
  }),
  down: ({ random, at }) => ({ at, kind: 'down', ms: random.pick([5, 30, 200]) }),
  'read-only': ({ random, at }) => ({ at, kind: 'read-only', ms: random.pick([5, 30, 200]) }),
  crash: ({ at }) => ({ at, kind: 'crash' }),
  lag: ({ random, at }) => ({ at, kind: 'lag', ms: random.between(5, 120) }),
  failover: ({ at }) => ({ at, kind: 'failover' }),
  alter: ({ random, at, streams }) => ({
    at,
    kind: 'alter',
    table: random.pick(streams).name,
    ms: random.between(1, 60),
  }),
  drop: ({ random, at, streams }) => ({
    at,
    kind: 'drop',
    table: random.pick(streams).name,
    ms: random.between(1, 60),
  }),
};

const kinds = Object.keys(drawEvent) as (keyof typeof drawEvent)[];

function drawEvents(random: Random, streams: readonly StreamPlan[], untilMs: number): EventPlan[] {
  const density: Density = (kind) => {
    if (kind === 'die') return 0;
    if (kind === 'target') return random.chance(0.35) ? 0 : random.pick([1, 3, 8]);
    return random.chance(0.7) ? 0 : random.pick([1, 1, 2, 4]);
  };
  const events = kinds.flatMap((kind) =>
    Array.from({ length: density(kind) }, () =>
      drawEvent[kind]({ random, at: random.below(untilMs), streams }),
    ),
  );
  // Half of the deaths come in a recovery: the moment at which the process before died.
  let at = random.below(untilMs / 2);
  const deaths = random.between(3, 4);
  for (let death = 0; death < deaths; death++) {
    events.push(drawEvent.die({ random, at, streams }));
    if (random.chance(0.6)) at = Math.min(untilMs, at + random.below(untilMs / 2));
  }
  return events;
}

/** Two of five seeds have threads; some of these stall, or die by themselves. */
function drawThreads(random: Random, untilMs: number) {
  if (random.chance(0.6)) return { events: [] };
  const acceptWorkers = random.pick([0, 0, 1, 2]);
  const hasLoader = acceptWorkers === 0 || random.chance(0.7);
  const threads: ThreadsPlan = {
    hasLoader,
    acceptWorkers,
    clientsOfWorkers: acceptWorkers && random.pick([1, clientsMax, clientsMax]),
    burst: random.pick([1, 14]),
    copies: random.pick([0, 0, 0, 4]),
    ringBytes: random.pick([1_024, 1_024, 2_048, 16_384]),
    delayMsMax: random.pick([0, 1, 5, 30]),
  };
  const names: ThreadName[] = ['core'];
  if (hasLoader) names.push('loader');
  if (acceptWorkers > 0) names.push('accept worker');
  const at = (): number => random.below(untilMs);
  const stalls = Array.from({ length: random.pick([0, 1, 3]) }, (): EventPlan => {
    const ms = random.pick([2, 20, 200, 3_000]);
    return { at: at(), kind: 'stall', thread: random.pick(names), ms };
  });
  const deaths = Array.from({ length: random.pick([0, 0, 0, 1]) }, (): EventPlan => {
    const thread = random.pick(names.slice(1));
    return { at: at(), kind: 'thread dies', thread, isHeard: random.chance(0.5) };
  });
  return { threads, events: [...stalls, ...deaths] };
}

/** For a while each sync, and each file that is made, takes up to so long. */
function drawSlowness(random: Random, untilMs: number): EventPlan[] {
  if (random.chance(0.7)) return [];
  return Array.from({ length: random.pick([1, 1, 2]) }, (): EventPlan => {
    const takesMs = random.pick([20, 200, 2_000]);
    return { at: random.below(untilMs), kind: 'slow', takesMs, ms: random.between(5, 500) };
  });
}

/** The plan of a seed: always the same. */
export function drawPlan(seed: bigint): Plan {
  const root = new Random(seed);
  const random = root.fork(1);
  const drawn = Array.from({ length: random.pick([1, 1, 2, 2, 3]) }, (_, i) =>
    drawStream(random, i),
  );
  const untilMs = random.pick([40, 150, 600]);
  const { threads, events } = drawThreads(root.fork(5), untilMs);
  const sent = withSlips(root.fork(7), drawRequests(root.fork(2), drawn, untilMs));
  const lulled = withLull(root.fork(12), { streams: drawn, requests: sent }, untilMs);
  const deduped = withDedupes(root.fork(10), lulled, untilMs);
  const changing = withRetypes(root.fork(8), deduped, untilMs);
  const all = [
    ...drawEvents(root.fork(3), drawn, untilMs),
    ...events,
    ...changing.events,
    ...deduped.events,
    ...drawSlowness(root.fork(11), untilMs),
  ];
  return {
    seed: String(seed),
    streams: changing.streams,
    confirm: random.chance(0.5) ? 'standby' : 'commit',
    keepsAll: random.chance(0.4),
    latencyMsMax: random.pick([0, 2, 10, 40]),
    requests: withReadings(root.fork(9), changing.requests),
    ...(threads ? { threads } : {}),
    events: all.map(lulled.at).sort((a, b) => a.at - b.at),
  };
}
