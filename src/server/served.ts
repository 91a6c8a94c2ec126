// What the routes ask of a Holdfast: of one on their own thread, or of one on another (threads/).
// What all servers in front of it share stands here: the loads that were begun, and the limits that
// hold for them together.
import { HoldfastError } from '../errors.ts';
import type { Opened } from '../holdfast.ts';
import type { Metrics } from '../metrics.ts';
import type { Holdfast } from '../types.ts';
import type { WaitingReceipt } from '../writing.ts';
import { type BegunLoad, BegunLoads } from './begun-loads.ts';
import { Tries } from './tries.ts';

/** What a server counts of its own requests. */
export interface Answered {
  /** Answers by route and status, as `route status`. */
  readonly answers: ReadonlyMap<string, number>;
  /** Bytes of bodies that are held in memory. */
  readonly bodyBytes: number;
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
  /** A load that was begun with any server in front of it, and is remembered. */
  begunLoad(load: string): Promise<BegunLoad | undefined>;
  /** Takes a try of a token, see Tries. */
  tryToken(...args: Parameters<Tries['count']>): Promise<number>;
  /** The path's numbers, and those of all servers in front of it; `own`: the one that asks. */
  observe(own: Answered): Promise<Answered & { readonly metrics: Metrics }>;
}

/** A Holdfast on this thread, for all the servers in front of it. */
export function served(holdfast: Opened): Served {
  const loads = new BegunLoads(holdfast);
  const tries = new Tries();
  return {
    writeBytes: (...args) => holdfast.writeBytes(...args),
    beginLoad: (...args) => loads.begin(...args),
    continueLoad: (...args) => loads.run(...args),
    receipt: (id) => holdfast.receipt(id),
    status: () => holdfast.status(),
    verify: oneAtATime((options) => holdfast.verify(options)),
    passOver: (...args) => holdfast.passOver(...args),
    deadLetters: holdfast.deadLetters,
    health: async () => holdfast.health(),
    reportedLoad: async (load) => loads.reported(load),
    begunLoad: (load) => loads.find(load),
    tryToken: async (...args) => tries.count(...args),
    observe: async (own) => ({ ...own, metrics: holdfast.metrics }),
  };
}

function oneAtATime(verify: Served['verify']): Served['verify'] {
  let isVerifying = false;
  return async (options) => {
    if (isVerifying) {
      const message = 'Another verify is running; it reads all of the journal and the tables.';
      throw new HoldfastError('HF_OVERLOADED', message, { retryAfterSeconds: 5 });
    }
    isVerifying = true;
    try {
      return await verify(options);
    } finally {
      isVerifying = false;
    }
  };
}
