// Campaign `http`: `holdfast serve` as a process under attack. A run is one attack that was judged:
// a route asked with a token that does not open it, a request that lies about itself, a load that
// is sent wrong, a body that is wrong, or a siege (slow, silent, flooding, oversized) while a
// client that behaves writes on. All but the sieges also strikes a server with two accept workers.
//
// Judged are the status of every answer; that nothing of what was refused is in a table, and all of
// what was acknowledged is there once, to the last digit; that the client keeps its pace under
// siege (besiege.ts says how); that memory stays bounded, descriptors come back, the server still
// answers and ends in good order; and that no token is told to anybody.
//
// What this shows: loopback and one machine, attackers of a bounded rate in a process of their own.
// It says nothing of a network that is flooded before the bytes reach this process.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { Random } from '../test/simulation/random.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Tally } from './campaign.ts';
import { besiege, descriptorsMax } from './http/besiege.ts';
import { drawBody, type HostileBody, namedBodies } from './http/bodies.ts';
import { Client } from './http/client.ts';
import { type Lie, lies, tell } from './http/lies.ts';
import { sendWrong, type WrongLoad, wrongLoads } from './http/loads.ts';
import { attackRoutes, removed } from './http/routes.ts';
import { sieges } from './http/sieges.ts';
import { bearer, Site, type Stream, type StreamRow, tokenList, tokens } from './http/site.ts';
import { checkBooks, checkTable, Violation } from './oracle.ts';

const signals = ['SIGINT', 'SIGTERM'] as const;
const settlingMsMax = 60_000;
const warmingWrites = 20;
/** How long a siege is: rounds, and writes of the client in each half of one. */
const briefly = { rounds: 1, writes: 12 } as const;
const atLength = { rounds: 5, writes: 100 } as const;
const refusals = ['400', '413', '415', '422'];

interface HttpOptions extends CampaignOptions {
  /** Whether the client's pace is judged. */
  readonly isTimed?: boolean;
}

class HttpAttack {
  readonly #site: Site;
  readonly #tally: Tally;
  readonly #client: Client;
  /** What attackers were told is written, and what they were told nothing about. */
  readonly #acknowledged: StreamRow[] = [];
  readonly #uncertain: StreamRow[] = [];
  #number = 1_000_000;
  #quietMiB = 0;

  constructor(site: Site, tally: Tally) {
    this.#site = site;
    this.#tally = tally;
    this.#client = new Client(site);
  }

  async lie(lie: Lie): Promise<void> {
    const id = this.#number++;
    const { statuses } = await tell(this.#site.port, {
      bytes: lie.bytes(id),
      isCut: lie.isCut,
    });
    const [first = ''] = statuses;
    this.#tally.ran();
    this.#tally.see(`lies answered with ${first}`);
    const row = { id: BigInt(id), note: 'lie' };
    if (first === '202') this.#acknowledged.push(row);
    if (!lie.allowed.includes(first)) {
      this.#tally.fail(`${lie.name}: ${first}, expected ${lie.allowed.join(' or ')}`);
    }
  }

  async send(body: HostileBody): Promise<void> {
    const { name, type, bytes, rows, mayBeRefused } = body;
    const { status, text } = await this.#site.ask('/v1/streams/hostile/records', {
      method: 'POST',
      headers: { ...bearer(tokens.strangerWrites), 'content-type': type },
      body: bytes,
    });
    this.#tally.ran();
    this.#tally.see(`bodies answered with ${status}`);
    if (status === 202) {
      if (!rows) {
        const shown = JSON.stringify(bytes.toString('latin1').slice(-200));
        throw new Violation('wrong', `${name} was taken, and is no row: ${shown}`);
      }
      this.#acknowledged.push(...rows);
    } else if (!mayBeRefused || !refusals.includes(String(status))) {
      this.#tally.fail(`${name}: ${status}, ${text.slice(-300)}`);
    }
  }

  /** Its rows are written in the end, each once. */
  async load(load: WrongLoad): Promise<void> {
    const rows = await sendWrong(this.#site, load, this.#number);
    this.#number += rows.length;
    this.#tally.ran();
    this.#tally.see('loads that were sent wrong');
    this.#acknowledged.push(...rows);
  }

  /** The server has its code compiled then, and what it holds is what it holds in peace. */
  async warm(): Promise<void> {
    await this.#client.pace(warmingWrites);
    this.#quietMiB = this.#site.residentMiB();
  }

  async besiege(siege: (typeof sieges)[number], isTimed: boolean): Promise<void> {
    const strangers = { acknowledged: [] as number[], uncertain: [] as number[] };
    const length = isTimed ? atLength : briefly;
    const quietMiB = this.#quietMiB;
    const by = { site: this.#site, client: this.#client, tally: this.#tally, quietMiB };
    await besiege(siege, { ...by, strangers, isTimed, ...length });
    this.#tally.ran();
    const rows = (numbers: readonly number[]): StreamRow[] =>
      numbers.map((number) => ({ id: BigInt(number), note: 'flood' }));
    this.#acknowledged.push(...rows(strangers.acknowledged));
    this.#uncertain.push(...rows(strangers.uncertain));
  }

  /** Lets everything settle, ends the server in good order, and holds the tables to account. */
  async audit(): Promise<void> {
    this.#client.close();
    for (const stream of ['events', 'hostile'] as const) await this.#settled(stream);
    await this.#site.stop();
    const client = [...this.#client.acknowledged()];
    const found = this.#site.rows('events').map(({ id, note }) => ({ id: Number(id), note }));
    checkTable({ table: 'events', found, sent: client, acknowledged: client });
    this.#checkHostile();
    this.#tally.see('rows of the client', client.length);
    this.#tally.see('rows of attackers that were taken', this.#acknowledged.length);
  }

  async #settled(stream: Stream): Promise<void> {
    const endMs = performance.now() + settlingMsMax;
    for (;;) {
      const books = await this.#site.books(stream);
      checkBooks(stream, books);
      if (books.inFlight === 0) return;
      if (performance.now() > endMs) throw new Error(`${stream} does not settle`);
      await pause(50);
    }
  }

  /** Rows without a key: each is there as often as it was acknowledged. */
  #checkHostile(): void {
    const named = ({ id, note }: StreamRow): string => `${id} ${JSON.stringify(note)}`;
    const count = (rows: readonly StreamRow[]): Map<string, number> => {
      const counts = new Map<string, number>();
      for (const row of rows) counts.set(named(row), (counts.get(named(row)) ?? 0) + 1);
      return counts;
    };
    const [acknowledged, uncertain] = [count(this.#acknowledged), count(this.#uncertain)];
    const found = count(this.#site.rows('hostile'));
    for (const [row, times] of found) {
      const least = acknowledged.get(row) ?? 0;
      const most = least + (uncertain.get(row) ?? 0);
      if (most === 0) throw new Violation('wrong', `hostile: ${row} was refused, or never sent`);
      if (times > most) throw new Violation('doubled', `hostile: ${row}, ${times} times`);
    }
    for (const [row, least] of acknowledged) {
      const times = found.get(row) ?? 0;
      if (times < least) throw new Violation('lost', `hostile: ${row}, ${times} of ${least}`);
    }
  }
}

/** A server that had one more token before, at its most talkative, and its routes. */
async function attackAllRoutes(folder: string, tally: Tally): Promise<void> {
  const site = new Site(folder);
  try {
    await site.start({ tokens: [...tokenList, removed] }, 'trace');
    const { status } = await site.ask('/v1/status', { headers: bearer(removed.token) });
    if (status !== 200) tally.fail(`routes: a token that is still valid: ${status}`);
    await site.stop();
    await site.start({ tokens: tokenList }, 'trace');
    await attackRoutes(site, tally);
    await site.stop();
  } catch (error) {
    tally.take(error, 'routes');
  } finally {
    await site.remove();
  }
}

interface Plan {
  readonly folder: string;
  readonly tally: Tally;
  readonly options: HttpOptions;
  readonly count: number;
  /** Accept workers of the server; where there are some it is not besieged. */
  readonly workers: number;
}

async function attackOne(plan: Plan): Promise<void> {
  const { folder, tally, options, count, workers } = plan;
  const { only = '', seed, isTimed = true } = options;
  const wanted = <T extends { readonly name: string }>(all: readonly T[]): readonly T[] =>
    all.filter(({ name }) => name.includes(only));
  const besieged = workers === 0 ? wanted(sieges) : [];
  const site = new Site(folder);
  const attack = new HttpAttack(site, tally);
  const each = async (name: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      tally.take(error, name);
    }
    tally.progress(tally.runs, count);
  };
  try {
    await site.start({ tokens: tokenList, workers });
    // From now on guesses of others do not lock out the audit.
    await site.books('events');
    for (const lie of wanted(lies)) await each(lie.name, () => attack.lie(lie));
    for (const load of wanted(wrongLoads)) await each(load.name, () => attack.load(load));
    for (const body of wanted(namedBodies)) await each(body.name, () => attack.send(body));
    if (besieged.length > 0) await attack.warm();
    for (const siege of besieged) {
      if ((siege.descriptors ?? 0) + 500 > descriptorsMax()) {
        tally.reduce(`fewer than ${siege.descriptors} open files are allowed (ulimit -n)`);
      } else await each(siege.name, () => attack.besiege(siege, isTimed));
    }
    const random = new Random(seed);
    const isDrawn = workers === 0 && only === '';
    for (let number = 0; isDrawn && tally.runs < count; number++) {
      const body = drawBody(random, number);
      await each(`${body.name}, seed ${seed}`, () => attack.send(body));
    }
    await each('the audit', () => attack.audit());
  } finally {
    await site.remove();
  }
}

async function run(options: HttpOptions): Promise<CampaignResult> {
  const { seed, count = httpCampaign.countShort, only = '' } = options;
  const tally = new Tally('http', options);
  const root = join(tmpdir(), `holdfast-http-${process.pid}-${seed}`);
  // A signal ends this process by its `exit`, on which the servers are ended too.
  const leave = (): never => process.exit(1);
  for (const signal of signals) process.once(signal, leave);
  const attack = async (): Promise<void> => {
    try {
      if ('route'.startsWith(only)) await attackAllRoutes(`${root}-routes`, tally);
      for (const workers of only === 'route' ? [] : [2, 0]) {
        const folder = `${root}-of-${workers}`;
        await attackOne({ folder, tally, options, count, workers });
        tally.see(`servers with ${workers} accept workers`);
      }
    } finally {
      for (const signal of signals) process.off(signal, leave);
    }
  };
  return tally.result(attack, only === '' ? floors : {});
}

const floors = {
  'routes refused with 401': 0.05,
  'routes refused with 403': 0.01,
  'lies answered with 400': 0,
  'bodies answered with 422': 0.01,
  'bodies answered with 202': 0.01,
  'rows of the client': 1,
  'rows of attackers that were taken': 0.1,
  'tokens looked for': 0,
  'loads that were sent wrong': 0,
  'servers with 2 accept workers': 0,
};

export const httpCampaign: Campaign = {
  name: 'http',
  unit: 'attacks on a server: requests, bodies, tokens, sieges',
  countShort: 850,
  countLong: 8_000,
  countPart: 1_000,
  run,
};

/** As in `npm test`: whatever depends on how busy the machine is is told and not judged. */
export const httpUntimed: Campaign = {
  ...httpCampaign,
  run: (options) => run({ ...options, isTimed: false }),
};
