// The clients of a simulation: each sends its requests one after another to whatever process lives,
// sends again what it may, and remembers what it was told. What it was told is all the judge knows.
import assert from 'node:assert/strict';
import type { Row } from '../../src/accept/rows.ts';
import { errorTable, HoldfastError, type Outcome } from '../../src/errors.ts';
import type { Holdfast, Receipt, WriteOptions } from '../../src/types.ts';
import { Random } from '../../test/simulation/random.ts';
import type { SimulatedClock } from '../../test/simulation/simulated-clock.ts';
import { Violation } from '../oracle.ts';
import { LoadSender, Slipped } from './loads.ts';
import type { Plan, RequestPlan, RowPlan } from './plan.ts';
import { type Body, bodyOf, ndjsonOf, otherReading } from './readings.ts';
import type { LoadPlan } from './slips.ts';
import type { Door } from './threads.ts';

/** What became of a request, as its client knows it. */
export type Fate = 'acknowledged' | 'unknown' | 'not written';

/** From when a request was first sent to when its fate was known, in the order of the world. */
export interface Span {
  readonly begun: number;
  readonly ended: number;
}

/** A process as clients see it. */
export interface Served {
  readonly holdfast: Holdfast;
  /** The accept worker that a client's next connection comes to; without one it calls the core. */
  readonly door: (client: number) => Door | undefined;
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
  readonly onSettled: (request: RequestPlan, level: 'settled' | 'confirmed') => void;
}

/** To whom something is sent, and with which options. */
interface Sending {
  readonly server: Served;
  readonly options: WriteOptions;
}

/** What is sent: as rows where it can be, else as bytes that are read like that. */
interface Sent {
  readonly rows: readonly Row[];
  readonly body: Body;
}

const poisonMark = 'poison';

export const isPoison = (note: unknown): boolean =>
  typeof note === 'string' && note.startsWith(poisonMark);

/** The row that is sent. */
export function rowOf(stream: string, { id, version, bytes, value, isPoison: isBad }: RowPlan) {
  const note = `${isBad ? poisonMark : 'row'} ${id} of ${stream}, ${version} `;
  const row = { id, version, note: note.padEnd(bytes, '.') };
  return value === undefined ? row : { ...row, value };
}

/** No answer came through. */
class Unheard extends Error {}
class Gone extends Unheard {}
class Impatient extends Unheard {}

export class Clients {
  readonly fates = new Map<RequestPlan, Fate>();
  readonly spans = new Map<RequestPlan, Span>();
  /** Requests whose client did not wait for an answer. */
  readonly #abandoned = new Set<RequestPlan>();
  #moments = 0;
  readonly #parts: ClientParts;
  readonly #random: Random;
  /** No client gives up any more. */
  isCalm = false;
  /** Requests that somebody waits for, or that may still be written. */
  inFlight = 0;

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
    let open: Promise<void>[] = [];
    for (const [i, request] of requests.entries()) {
      if (!this.#isInBurst(request, i)) {
        await Promise.all(open);
        open = [];
        await this.#parts.clock.sleep(request.pauseMs);
      }
      open.push(this.#one(request));
    }
    await Promise.all(open);
  }

  /** Whether its client does not wait for the answer to the one before. */
  #isInBurst({ client, stream: name }: RequestPlan, index: number): boolean {
    const { threads, streams } = this.#parts.plan;
    if (!threads || client >= threads.clientsOfWorkers || index % threads.burst === 0) return false;
    return streams.some((stream) => stream.name === name && stream.policy !== 'update');
  }

  async #one(request: RequestPlan): Promise<void> {
    const { clock, trace, see } = this.#parts;
    const begun = ++this.#moments;
    const fate = await this.#sendUntilKnown(request);
    this.fates.set(request, fate);
    this.spans.set(request, { begun, ended: ++this.#moments });
    trace(`${clock.monotonicMs()} ${request.stream} ${requestName(request)} ${fate}`);
    see(`requests ${fate}`);
  }

  async #sendUntilKnown(request: RequestPlan): Promise<Fate> {
    const { clock, see, served } = this.#parts;
    for (let tries = 0; ; tries++) {
      const server = await served();
      this.inFlight++;
      try {
        const isKnown = await this.#heard(server, request, this.#send(request, server, tries));
        if (isKnown) see('requests known again');
        if (request.isUnheard && tries === 0) throw new Gone();
        await this.#abuse(request, server);
        return 'acknowledged';
      } catch (error) {
        const fate = this.#fateAfter(error, request, { tries, isGone: server.isGone() });
        if (fate) return fate;
      } finally {
        this.inFlight--;
      }
      await clock.sleep(this.#random.between(1, 20));
    }
  }

  /** Undefined where it is sent again. Throws what no process may say. */
  #fateAfter(
    error: unknown,
    request: RequestPlan,
    { tries, isGone }: { readonly tries: number; readonly isGone: boolean },
  ): Fate | undefined {
    const isSlip = error instanceof Slipped;
    // What a dead process still says is not heard.
    const isTold = (isSlip || error instanceof HoldfastError) && !isGone;
    if (!isTold && !isGone && !(error instanceof Unheard)) throw error;
    // What is settled was journaled, whatever came in its way: that is told, too.
    const outcome = isTold ? error.outcome : 'unknown';
    if (outcome === 'written' && !request.isLoad) return 'acknowledged';
    if (error instanceof Impatient) this.#abandoned.add(request);
    if (isTold && this.#isUnfit(error, request)) return this.#refused(request);
    // The client's own fault: the simulation's, then.
    if (isTold && !isSlip && errorTable[error.code].kind === 'caller') throw error;
    if (request.load && isTold) return this.#givenUp(request.load, tries, outcome);
    if (request.key !== undefined || request.isLoad) return undefined;
    if (outcome === 'unknown') return 'unknown';
    return tries > 3 ? 'not written' : undefined;
  }

  /** Its table may not take these rows now, or not yet. */
  #isUnfit(error: Error, { stream: name }: RequestPlan): boolean {
    if (!(error instanceof HoldfastError) || error.code !== 'HF_ROWS_REFUSED') return false;
    return this.#parts.plan.streams.some(({ name: one, value }) => one === name && value);
  }

  /** Of what is still on its way somewhere else a refusal says nothing. */
  #refused(request: RequestPlan): Fate {
    this.#parts.see('requests refused by a table that changes');
    const copies = this.#parts.plan.threads?.copies ?? 0;
    return copies > 0 || this.#abandoned.has(request) ? 'unknown' : 'not written';
  }

  #givenUp({ isGivenUp, slips }: LoadPlan, tries: number, outcome: Outcome): Fate | undefined {
    if (!isGivenUp || tries < slips.length - 1) return undefined;
    this.#parts.see(`loads given up: ${outcome}`);
    return outcome === 'not written' ? outcome : 'unknown';
  }

  /** Sends it; whether it was known already. */
  async #send(request: RequestPlan, server: Served, tries: number): Promise<boolean> {
    const { stream, rows, isSettled, isLoad } = request;
    const sent = rows.map((row) => rowOf(stream, row));
    if (isLoad) return this.#load(request, server, tries);
    const mustSettle = isSettled && !this.isCalm;
    const level = this.#parts.plan.confirm === 'standby' ? 'confirmed' : 'settled';
    const options: WriteOptions = {
      ...(mustSettle ? { level } : {}),
      atBound: this.#random.chance(0.5) ? 'refuse' : 'wait',
    };
    const body = bodyOf(sent, request.csv);
    const repeated = await this.#write(request, { rows: sent, body }, { server, options });
    if (mustSettle) {
      this.#parts.see(`requests ${level}`);
      this.#parts.onSettled(request, level);
    }
    return repeated;
  }

  /** By a call of the core, or as bytes through an accept worker. */
  async #write(
    request: Pick<RequestPlan, 'stream' | 'client' | 'key'>,
    { rows, body }: Sent,
    { server, options }: Sending,
  ): Promise<boolean> {
    const { stream, client, key } = request;
    const keyed = { ...options, ...(key === undefined ? {} : { idempotencyKey: key }) };
    const door = server.door(client);
    if (door) return this.#writeBytes(request, body, { server, options: keyed });
    const { bytes, reading } = body;
    const { holdfast } = server;
    const write =
      reading.format === 'csv'
        ? holdfast.writeBytes(stream, bytes, { ...keyed, ...reading })
        : holdfast.write(stream, rows, keyed);
    const { repeated, settled, confirmed } = await this.#track(server, write);
    // Nobody asks for these promises here.
    settled.catch(() => undefined);
    confirmed.catch(() => undefined);
    return repeated;
  }

  async #writeBytes(
    { stream, client }: Pick<RequestPlan, 'stream' | 'client'>,
    { bytes, reading }: Body,
    { server, options }: Sending,
  ): Promise<boolean> {
    const send = async (): Promise<Receipt | undefined> => {
      const remote = await server.door(client)?.enter();
      this.#parts.see('requests through accept workers');
      return remote?.writeBytes(stream, bytes, { ...options, ...reading });
    };
    const copies = options.idempotencyKey === undefined ? 0 : this.#parts.plan.threads?.copies;
    const sent = Array.from({ length: 1 + (copies ?? 0) }, () => this.#track(server, send()));
    const receipt = await sent[0];
    assert(receipt, 'who has a door keeps it');
    const { level } = options;
    if (level === 'settled' || level === 'confirmed') await receipt[level];
    return receipt.repeated;
  }

  async #load(request: RequestPlan, server: Served, tries: number): Promise<boolean> {
    const { stream, client, rows } = request;
    const { clock, see, onSettled } = this.#parts;
    const reach = () => server.door(client)?.enter() ?? server.holdfast;
    const track = <T>(answer: Promise<T>) => this.#track(server, answer);
    const bytes = ndjsonOf(rows.map((row) => rowOf(stream, row)));
    const isKnown = await new LoadSender({ clock, see, reach, track }, request, bytes).send(tries);
    onSettled(request, 'settled');
    return isKnown;
  }

  /** What its client gave up may still be journaled: it is in flight, until its answer. */
  #track<T>({ gone }: Served, answer: Promise<T>): Promise<T> {
    this.inFlight++;
    const ended = answer.catch(() => undefined);
    void Promise.race([ended, gone]).then(() => this.inFlight--);
    return answer;
  }

  /** What is answered, unless the process is gone or the client loses its patience first. */
  #heard<T>({ gone }: Served, { patienceMs }: RequestPlan, answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      answer.then(resolve, reject);
      void gone.then(() => reject(new Gone()));
      if (patienceMs === undefined || this.isCalm) return;
      void this.#parts.clock.sleep(patienceMs).then(() => reject(new Impatient()));
    });
  }

  /** Other rows under a key that is known must be refused, or the same read otherwise (O8). */
  async #abuse(request: RequestPlan, server: Served): Promise<void> {
    const { stream, key, isAbused, isLoad, csv } = request;
    if (!isAbused || key === undefined || isLoad) return;
    const other = [{ id: -1, version: 0, note: 'other rows under a known key' }];
    const same = request.rows.map((row) => rowOf(stream, row));
    const body = csv
      ? { ...bodyOf(same, csv), reading: otherReading(same, csv) }
      : bodyOf(other, undefined);
    const abuse = this.#write(request, { rows: other, body }, { server, options: {} });
    try {
      await this.#heard(server, { ...request, patienceMs: 50 }, abuse);
    } catch (error) {
      const isOurs = error instanceof HoldfastError || error instanceof Unheard;
      if (!isOurs && !server.isGone()) throw error;
      if (error instanceof HoldfastError && error.code === 'HF_KEY_REUSED') {
        this.#parts.see(`keys refused to ${csv ? 'other readings' : 'other rows'}`);
      }
      return;
    }
    throw new Violation('wrong', `other rows were taken under ${key} of ${stream}`);
  }
}

const requestName = ({ key, rows }: RequestPlan): string =>
  key ?? `rows ${rows.map(({ id }) => id).join()}`;
