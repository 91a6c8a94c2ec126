// What senders of loads do wrong, and in how many pieces they send. Drawn apart from all else of a
// plan: the other draws mean what they meant.
import type { Random } from '../../test/simulation/random.ts';
import type { RequestPlan, RowPlan } from './plan.ts';

/** One sending of a load that goes wrong. Shares are of all bytes, or of those that are left. */
export type Slip =
  /** From that byte of all on, wherever the load stands. */
  | { readonly kind: 'elsewhere'; readonly share: number }
  /** The bytes end behind that part of those that are left, or the connection breaks there. */
  | { readonly kind: 'cut'; readonly share: number; readonly breaks: boolean }
  /** So much later a second sender has them too; it asks where they stand, or knows it already. */
  | { readonly kind: 'two senders'; readonly afterMs: number; readonly asks: boolean };

export interface LoadPlan {
  readonly chunks: number;
  /** Before each chunk. */
  readonly pauseMs: number;
  /** One for each sending; later ones are as they should be. */
  readonly slips: readonly Slip[];
  /** Whoever is refused in the last of them, or later, does not come again. */
  readonly isGivenUp?: true;
}

const courses: readonly (readonly Slip['kind'][])[] = [
  [],
  ['elsewhere'],
  ['cut'],
  ['two senders'],
  ['cut', 'elsewhere'],
  ['cut', 'elsewhere'],
  ['cut', 'two senders'],
  ['cut', 'cut'],
];

function drawSlip(random: Random, kind: Slip['kind']): Slip {
  if (kind === 'cut') return { kind, share: random.next(), breaks: random.chance(0.5) };
  if (kind === 'elsewhere') return { kind, share: random.chance(0.4) ? 0 : random.next() };
  return { kind, afterMs: random.pick([0, 1, 5, 20]), asks: random.chance(0.5) };
}

/** Further rows of a load, of keys of their own: it is cut where some of it is journaled. */
function drawMore(random: Random, rows: readonly RowPlan[]): RowPlan[] {
  const [first] = rows;
  if (!first) return [];
  return Array.from({ length: random.pick([0, 4, 8]) }, (_, i) => ({
    id: first.id + 100 + i,
    version: first.version,
    bytes: random.between(1, 60),
  }));
}

/** The requests, with how their loads are sent: most of these go wrong at first. */
export function withSlips(random: Random, requests: readonly RequestPlan[]): RequestPlan[] {
  return requests.map((request) => {
    if (!request.isLoad || random.chance(0.4)) return request;
    const load: LoadPlan = {
      chunks: random.pick([1, 3, 8]),
      pauseMs: random.pick([0, 1, 8]),
      slips: random.pick(courses).map((kind) => drawSlip(random, kind)),
      ...(random.chance(0.25) ? { isGivenUp: true as const } : {}),
    };
    return { ...request, rows: [...request.rows, ...drawMore(random, request.rows)], load };
  });
}
