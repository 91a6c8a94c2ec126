// Streams whose tables have a column that changes while rows of it wait: which types it goes
// through, when, and what rows have in it. Drawn apart from all else of a plan: the other draws
// mean what they meant.
import type { Random } from '../../test/simulation/random.ts';
import type { EventPlan, RequestPlan, RowPlan, StreamPlan } from './plan.ts';

export type ValueType = 'jsonb' | 'json' | 'text' | 'numeric(12,2)' | 'numeric(12,4)' | 'bigint';

export interface RetypePlan {
  readonly kind: 'retype';
  readonly table: string;
  readonly type: ValueType;
  /** Rows must provide it. */
  readonly isRequired: boolean;
  /** It is dropped, and added anew after so long. */
  readonly goneMs?: number;
}

const numbers = ['numeric(12,2)', 'numeric(12,4)', 'bigint'] as const;
/** A column goes through the types of one of these: a number means the same in each. */
const families: readonly (readonly ValueType[])[] = [['jsonb', 'json', 'text'], numbers];
/** Also its text is the same: a row that comes again is equal, whatever was changed meanwhile. */
const familiesOfKeyed: readonly (readonly ValueType[])[] = [['jsonb', 'json'], numbers];

/** Ids that only one row has. */
const isOwn = ({ id }: RowPlan): boolean => id < 100_000;

interface Wanted {
  /** As text, which a text column takes; else as a number, the same however it is sent. */
  readonly isText: boolean;
  readonly mayLack: boolean;
}

function drawValue(random: Random, row: RowPlan, { isText, mayLack }: Wanted): RowPlan {
  const value = row.id * 100 + row.version;
  const number = { ...row, value: isText ? String(value) : value };
  const isFree = isOwn(row) && !row.isPoison && mayLack;
  if (!isFree || random.chance(0.75)) return number;
  return random.chance(0.7) ? row : { ...row, value: `word ${row.id}` };
}

function drawRetypes(random: Random, types: readonly ValueType[], of: Retyped): EventPlan[] {
  return Array.from({ length: random.pick([1, 2, 3]) }, (): EventPlan => {
    const type = random.pick(types);
    const at = random.below(of.untilMs);
    const retype = { at, kind: 'retype', table: of.table, type } as const;
    if (random.chance(0.7)) return { ...retype, isRequired: random.chance(0.15) };
    return { ...retype, isRequired: random.chance(0.6), goneMs: random.between(1, 60) };
  });
}

interface Retyped {
  readonly table: string;
  readonly untilMs: number;
}

export interface RetypedPlan {
  readonly streams: StreamPlan[];
  readonly requests: readonly RequestPlan[];
  readonly events: readonly EventPlan[];
}

/** The same plan, in which some streams have a column that changes. */
export function withRetypes(
  random: Random,
  { streams, requests }: Pick<RetypedPlan, 'streams' | 'requests'>,
  untilMs: number,
): RetypedPlan {
  const events: EventPlan[] = [];
  const changing = new Map<string, StreamPlan>();
  for (const stream of streams) {
    if (!random.chance(stream.route === 'staged' ? 0.3 : 0.12)) continue;
    const types = random.pick(stream.isKeyed ? familiesOfKeyed : families);
    changing.set(stream.name, { ...stream, value: random.pick(types) });
    events.push(...drawRetypes(random, types, { table: stream.name, untilMs }));
  }
  const withValues = (request: RequestPlan): RequestPlan => {
    const stream = changing.get(request.stream);
    if (!stream) return request;
    // Where a row takes another's place, what it lacks stays. A load waits for what it refuses.
    const mayLack = stream.policy !== 'update' && stream.policy !== 'newest' && !request.isLoad;
    const wanted = { isText: !stream.isKeyed, mayLack };
    return { ...request, rows: request.rows.map((row) => drawValue(random, row, wanted)) };
  };
  return {
    streams: streams.map((stream) => changing.get(stream.name) ?? stream),
    requests: requests.map(withValues),
    events,
  };
}
