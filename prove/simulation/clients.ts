// The clients of a simulation: each sends its requests one after another to whatever process lives,
// sends again what it may, and remembers what it was told. What it was told is all the judge knows.
import { HoldfastError } from '../../src/errors.ts';
import type { Holdfast, Receipt, WriteOptions } from '../../src/types.ts';
import { Random } from '../../test/simulation/random.ts';
import type { SimulatedClock } from '../../test/simulation/simulated-clock.ts';
import type { Plan, RequestPlan, RowPlan } from './plan.ts';

/** What became of a request, as its client knows it. */
export type Fate = 'acknowledged' | 'unknown' | 'not written';

/** A process as clients see it. */
export interface Served {
  readonly holdfast: Holdfast;
  /** Resolves when it is gone; its connections break. */
  readonly gone: Promise<void>;
  readonly isGone: () => boolean;
}

export interface ClientParts {
  readonly plan: Plan;
  readonly clock: SimulatedClock;
  /** The process that lives, or the next one. */
  readonly served: () => Promise<Served>;
  readonly see: (what: string) => void;
  readonly trace: (line: string) => void;
  /** A client that waited until its rows had their ends is told so: now they must be there. */
  readonly onSettled: (request: RequestPlan) => void;
}

const poisonMark = 'poison';

export const isPoison = (note: unknown): boolean =>
  typeof note === 'string' && note.startsWith(poisonMark);

/** The row that is sent. */
export function rowOf(stream: string, { id, version, bytes, isPoison: isBad }: RowPlan) {
  const note = `${isBad ? poisonMark : 'row'} ${id} of ${stream}, ${version} `;
  return { id, version, note: note.padEnd(bytes, '.') };
}

class Gone extends Error {}
class Impatient extends Error {}

export class Clients {
  readonly fates = new Map<RequestPlan, Fate>();
  readonly #parts: ClientParts;
  readonly #random: Random;
  /** No client gives up any more. */
  isCalm = false;

  constructor(parts: ClientParts) {
    this.#parts = parts;
    this.#random = new Random(BigInt(parts.plan.seed)).fork(4);
  }

  /** All clients, each to the end of its list. */
  async run(): Promise<void> {
    const { requests } = this.#parts.plan;
    const clients = new Set(requests.map(({ client }) => client));
    await Promise.all(
      [...clients].map((client) => this.#client(requests.filter((one) => one.client === client))),
    );
  }

  async #client(requests: readonly RequestPlan[]): Promise<void> {
    const { clock, trace, see } = this.#parts;
    for (const request of requests) {
      await clock.sleep(request.pauseMs);
      const fate = await this.#sendUntilKnown(request);
      this.fates.set(request, fate);
      trace(`${clock.monotonicMs()} ${request.stream} ${requestName(request)} ${fate}`);
      see(`requests ${fate}`);
    }
  }

  async #sendUntilKnown(request: RequestPlan): Promise<Fate> {
    const { clock, see, served } = this.#parts;
    for (let tries = 0; ; tries++) {
      const { holdfast, gone, isGone } = await served();
      try {
        const { repeated } = await this.#send(request, holdfast, gone);
        if (repeated) see('requests known again');
        return 'acknowledged';
      } catch (error) {
        // What a dead process still says is not heard.
        const isKnown = error instanceof HoldfastError && !isGone();
        if (!isKnown && !isGone() && !(error instanceof Gone) && !(error instanceof Impatient)) throw error;
        // What is settled was journaled, whatever came in its way: that is told, too.
        const outcome = isKnown ? error.outcome : 'unknown';
        if (outcome === 'written') return 'acknowledged';
        if (isKnown && error.code === 'HF_ROWS_REFUSED') throw error;
        if (request.key === undefined) {
          if (outcome === 'unknown') return 'unknown';
          if (tries > 3) return 'not written';
        }
      }
      await clock.sleep(this.#random.between(1, 20));
    }
  }

  #send(request: RequestPlan, holdfast: Holdfast, gone: Promise<void>): Promise<Receipt> {
    const { stream, key, rows, isSettled, patienceMs } = request;
    const { clock } = this.#parts;
    const options: WriteOptions = {
      ...(key === undefined ? {} : { idempotencyKey: key }),
      ...(isSettled && !this.isCalm ? { level: 'settled' } : {}),
      atBound: this.#random.chance(0.5) ? 'refuse' : 'wait',
    };
    const sent = holdfast.write(
      stream,
      rows.map((row) => rowOf(stream, row)),
      options,
    );
    const told = sent.then((receipt) => {
      // Nobody asks for these promises here.
      receipt.settled.catch(() => undefined);
      receipt.confirmed.catch(() => undefined);
      if (options.level === 'settled') this.#parts.onSettled(request);
      return receipt;
    });
    return new Promise((resolve, reject) => {
      told.then(resolve, reject);
      void gone.then(() => reject(new Gone()));
      if (patienceMs === undefined || this.isCalm) return;
      void clock.sleep(patienceMs).then(() => reject(new Impatient()));
    });
  }
}

export const requestName = ({ key, rows }: RequestPlan): string =>
  key ?? `rows ${rows.map(({ id }) => id).join()}`;
