// What the routes ask of a Holdfast: of one on their own thread, or of one on another (threads/).

import type { Opened } from '../holdfast.ts';
import type { Metrics } from '../metrics.ts';
import type { Holdfast, LoadOptions, LoadState } from '../types.ts';
import type { WaitingReceipt } from '../writing.ts';

/** What a server counts of its own requests. */
export interface Answered {
  /** Answers by route and status, as `route status`. */
  readonly answers: ReadonlyMap<string, number>;
  /** Bytes of bodies that are held in memory. */
  readonly bodyBytes: number;
}

/** A load that was begun, and how. */
export interface BegunLoad {
  readonly stream: string;
  readonly state: LoadState;
  readonly options: LoadOptions;
}

type Same =
  | 'beginLoad'
  | 'continueLoad'
  | 'receipt'
  | 'status'
  | 'verify'
  | 'passOver'
  | 'deadLetters';

export interface Served extends Pick<Holdfast, Same> {
  writeBytes(...args: Parameters<Holdfast['writeBytes']>): Promise<WaitingReceipt>;
  health(): Promise<ReturnType<Holdfast['health']>>;
  reportedLoad(load: string): Promise<void>;
  /** A load that was begun at another server in front of the same Holdfast. */
  begunLoad(load: string): Promise<BegunLoad | undefined>;
  /** The path's numbers, and those of all servers in front of it; `own`: the one that asks. */
  observe(own: Answered): Promise<Answered & { readonly metrics: Metrics }>;
}

/** A Holdfast on this thread, with one server in front of it. */
export const served = (holdfast: Opened): Served => ({
  writeBytes: (...args) => holdfast.writeBytes(...args),
  beginLoad: (...args) => holdfast.beginLoad(...args),
  continueLoad: (...args) => holdfast.continueLoad(...args),
  receipt: (id) => holdfast.receipt(id),
  status: () => holdfast.status(),
  verify: (options) => holdfast.verify(options),
  passOver: (...args) => holdfast.passOver(...args),
  deadLetters: holdfast.deadLetters,
  health: async () => holdfast.health(),
  reportedLoad: async (load) => holdfast.reportedLoad(load),
  begunLoad: async () => undefined,
  observe: async (own) => ({ ...own, metrics: holdfast.metrics }),
});
