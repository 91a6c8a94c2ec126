// What the routes ask of a Holdfast: of one on their own thread, or of one on another (threads/).
import type { Metrics } from '../metrics.ts';
import type { Holdfast } from '../types.ts';

/** What a server counts of its own requests. */
export interface Answered {
  /** Answers by route and status, as `route status`. */
  readonly answers: ReadonlyMap<string, number>;
  /** Bytes of bodies that are held in memory. */
  readonly bodyBytes: number;
}

type Same =
  | 'writeBytes'
  | 'beginLoad'
  | 'continueLoad'
  | 'receipt'
  | 'status'
  | 'verify'
  | 'deadLetters';

export interface Served extends Pick<Holdfast, Same> {
  health(): Promise<ReturnType<Holdfast['health']>>;
  reportedLoad(load: string): Promise<void>;
  /** The path's numbers, and those of all servers in front of it, `own` being of the one that asks. */
  observe(own: Answered): Promise<Answered & { readonly metrics: Metrics }>;
}

/** A Holdfast on this thread, with one server in front of it. */
export const served = (holdfast: Holdfast): Served => ({
  writeBytes: (...args) => holdfast.writeBytes(...args),
  beginLoad: (...args) => holdfast.beginLoad(...args),
  continueLoad: (...args) => holdfast.continueLoad(...args),
  receipt: (id) => holdfast.receipt(id),
  status: () => holdfast.status(),
  verify: (options) => holdfast.verify(options),
  deadLetters: holdfast.deadLetters,
  health: async () => holdfast.health(),
  reportedLoad: async (load) => holdfast.reportedLoad(load),
  observe: async (own) => ({ ...own, metrics: holdfast.metrics }),
});
