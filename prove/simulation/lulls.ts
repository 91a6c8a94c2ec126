// For some seconds nobody writes and nothing breaks, as between two rushes. Loaders that had shared
// the lanes of a stream leave them to one; then there is more to write. Drawn apart from all else
// of a plan: the other draws mean what they meant.
import { limits } from '../../src/limits.ts';
import type { Random } from '../../test/simulation/random.ts';
import type { EventPlan, RequestPlan } from './plan.ts';
import type { RetypedPlan } from './retypes.ts';

type Drawn = Pick<RetypedPlan, 'streams' | 'requests'>;

export interface LulledPlan extends Drawn {
  /** When an event happens that was to happen then. */
  readonly at: (event: EventPlan) => EventPlan;
}

/** Numbers of requests from there on are drawn by nobody else. */
const firstNumber = 40;

/** The same plan, or one whose later part comes some seconds later, with more to write. */
export function withLull(random: Random, drawn: Drawn, untilMs: number): LulledPlan {
  if (random.chance(0.8)) return { ...drawn, at: (event) => event };
  const from = random.below(untilMs);
  const ms = limits.loadersCalmMs + random.below(2 * limits.idleCheckMs);
  const streams = drawn.streams.map((stream) => ({
    ...stream,
    loaders: Math.min(2, stream.lanes),
    batchRowsMax: Math.min(stream.batchRowsMax, 3),
  }));
  const more = Array.from({ length: random.between(2, 8) }, (_, i) =>
    drawRequest(random, drawn, firstNumber + i),
  );
  return {
    streams,
    requests: [...pausing(drawn.requests, { from, ms }), ...more],
    at: (event) => (event.at < from ? event : { ...event, at: event.at + ms }),
  };
}

/** Rows of keys of their own. */
function drawRequest(random: Random, { streams, requests }: Drawn, number: number): RequestPlan {
  const { client } = random.pick(requests);
  const { name } = random.pick(streams);
  const rows = Array.from({ length: random.pick([2, 6]) }, (_, i) => {
    return { id: 1_000 * (number + 1) + i, version: number + 1, bytes: random.between(1, 40) };
  });
  const pauseMs = random.pick([0, 5]);
  return { client, stream: name, key: `key ${number}`, rows, pauseMs };
}

/** Each client sends so much later what it would send from then on, as far as pauses tell. */
function pausing(
  requests: readonly RequestPlan[],
  { from, ms }: { readonly from: number; readonly ms: number },
): RequestPlan[] {
  const sentAt = new Map<number, number>();
  const left = new Map(requests.map((request) => [request.client, request]));
  return requests.map((request) => {
    const { client, pauseMs } = request;
    const before = sentAt.get(client) ?? 0;
    const at = before + pauseMs;
    sentAt.set(client, at);
    // The last one, where all would be sent before.
    const isLate = at >= from || left.get(client) === request;
    return before < from && isLate ? { ...request, pauseMs: pauseMs + ms } : request;
  });
}
