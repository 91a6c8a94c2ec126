// Campaign `commits`: the whole product in front of a real server, and each statement of its
// transactions struck once: cut before it reaches the server, after it was done, in the middle of
// its answer, or left without one; or a COMMIT comes late. Meanwhile the server stays, is killed
// and started again, or is lost and its standby takes over, with or without the last commits. Then
// the fault is gone: every row must come to its end once, with or without a key, and the books must
// say so.
//
// A cell of the matrix is a statement as it is sent on a route of its batch, a fault and a fate
// (commit-cells.ts). A short run has the core of it, a run of 2,000 the whole, one in between the
// core and others by chance. What was to be struck and did not come up is struck again; no cell may
// be left.
//
// What this shows: the answer to a commit may be lost at any byte. It shows it for these versions
// of the servers and drivers, one batch at a time.
import { Random } from '../test/simulation/random.ts';
import { hasMariadb } from '../test/support/mariadb.ts';
import type { DatabaseServer, Engine } from '../test/support/pairs.ts';
import { engines, type Pair, startPair, startServer } from '../test/support/pairs.ts';
import type { Strike } from '../test/support/proxy.ts';
import { type Campaign, type CampaignOptions, Tally } from './campaign.ts';
import {
  type Case,
  cellOf,
  coreOf,
  type Fate,
  fates,
  faults,
  inOrder,
  matrixTold,
} from './commit-cells.ts';
import { finder, isCommit, Listener, type Mark, routes } from './commit-marks.ts';
import { type Scenario, scenarios } from './commit-scenarios.ts';
import { type Ground, World } from './commit-world.ts';

/** A statement may not come up where its batch was divided in another way: it is tried so often. */
const triesMax = 5;
/** Worlds at once on a server that stays, and those that share a restart or a failover. */
const worldsAtOnce = 8;
const worldsEach = 20;

/** What happens to a server under a group of worlds. */
interface Fortune {
  /** Once all are struck; the server that they are on then. */
  readonly befall: () => Promise<DatabaseServer>;
  /** Before they write. */
  readonly prepare?: () => Promise<void>;
}

interface Struck {
  readonly one: Case;
  readonly world: World;
  readonly strike: Strike;
}

class Attack {
  /** By their cells. */
  readonly #cases = new Map<string, Case[]>();
  readonly #struck = new Set<string>();
  readonly #demanded = new Set<string>();
  readonly #tally: Tally;
  readonly #isBrief: boolean;
  readonly #progress: () => void;

  constructor(tally: Tally, isBrief: boolean, progress: () => void) {
    this.#tally = tally;
    this.#isBrief = isBrief;
    this.#progress = progress;
  }

  get cells(): { readonly struck: number; readonly there: number } {
    return { struck: this.#struck.size, there: this.#cases.size };
  }

  get isOver(): boolean {
    return this.#isBrief && this.#tally.failures > 0;
  }

  know(cases: readonly Case[]): void {
    for (const one of cases) {
      const cell = cellOf(one);
      this.#cases.set(cell, [...(this.#cases.get(cell) ?? []), one]);
    }
  }

  demand(cells: Iterable<string>): void {
    for (const cell of cells) this.#demanded.add(cell);
  }

  /** A case of each cell that is demanded and was not struck yet. */
  missed(random: Random): Case[] {
    const missed = [...this.#demanded].filter((cell) => !this.#struck.has(cell));
    return missed.flatMap((cell) => {
      const cases = this.#cases.get(cell) ?? [];
      return cases[random.below(cases.length)] ?? [];
    });
  }

  /** Cases on a server that stays, several beside each other. */
  async quiet(ground: Ground, cases: readonly Case[]): Promise<void> {
    await inTurn(cases, async (one) => {
      if (!this.isOver) await this.group(ground, [one], { befall: async () => ground.primary });
    });
  }

  /** Strikes all, lets `befall` happen to their server, and looks at the one that it leads to. */
  async group(ground: Ground, cases: readonly Case[], { befall, prepare }: Fortune): Promise<void> {
    const struck: Struck[] = [];
    try {
      const begin = async (one: Case): Promise<void> => {
        struck.push(await this.#begin(ground, one));
      };
      // The first makes Holdfast's own tables; and not all at once.
      await inTurn(cases.slice(0, 1), begin);
      await inTurn(cases.slice(1), begin);
      await prepare?.();
      await Promise.all(struck.map(({ world }) => world.write(world.scenario.sent)));
      await Promise.all(
        struck.map(({ world, strike }) => Promise.race([strike.hit, world.settle()])),
      );
      const server = await befall();
      for (const { world } of struck) world.proxy.up();
      await allEnded(struck.map((own) => this.#judge(own, server)));
    } finally {
      await Promise.all(struck.map(({ world }) => world.close()));
    }
  }

  async #begin(ground: Ground, one: Case): Promise<Struck> {
    const world = await World.open(one.scenario, ground);
    const options = { isLasting: one.fate !== 'same server' };
    return { one, world, strike: world.proxy.strike(one.fault, finder(one.mark), options) };
  }

  async #judge({ one, world, strike }: Struck, server: DatabaseServer): Promise<void> {
    const tally = this.#tally;
    tally.ran();
    if (!strike.isHit) tally.vacuous();
    else {
      tally.see('struck');
      this.#struck.add(cellOf(one));
      tally.see(`${one.engine}: struck`);
      tally.see(`${one.fault}: struck`);
      tally.see(`${one.fate}: struck`);
      tally.see(`${one.mark.route}: struck`);
      if (isCommit(one.mark)) tally.see('commits struck');
    }
    try {
      await world.settle();
      await (one.fate === 'failed over, behind'
        ? world.checkRowsAtLast(server)
        : world.checkRows(server));
      if (one.fault === 'hold') world.proxy.release();
      await world.write([{ id: 2, note: 'after', end: 'merged' }]);
      await world.settle();
      await world.check(server);
    } catch (error) {
      tally.take(error, one.name);
    }
    this.#progress();
  }
}

/** The statements of a scenario's batch on a server; one that was divided is listened to again. */
async function marksOf(scenario: Scenario, ground: Ground): Promise<Mark[]> {
  const commits = scenario.stream.route === 'staged' ? 2 : 1;
  let marks = await listen(scenario, ground);
  for (let tries = 1; tries < triesMax && marks.filter(isCommit).length !== commits; tries++) {
    marks = await listen(scenario, ground);
  }
  return marks;
}

async function listen(scenario: Scenario, ground: Ground): Promise<Mark[]> {
  const world = await World.open(scenario, ground);
  const listener = new Listener();
  world.proxy.onTurn = (turn) => listener.hear(turn);
  await world.write(scenario.sent);
  await world.settle();
  const marks = listener.marks();
  await world.check(ground.primary);
  await world.close();
  return marks;
}

/** Whether a name is meant by what was asked for (parts, by '; '), or no other of its kind is. */
const isMeant = (name: string, names: readonly string[], only: string): boolean =>
  only.includes(name) || !names.some((other) => only.includes(other));

/** Every statement with every fault and every fate: the whole matrix. */
async function casesOf(ground: Ground, only: string): Promise<Case[]> {
  const { engine } = ground;
  const cases: Case[] = [];
  const names = scenarios.map(({ name }) => name);
  const meant = fates.filter((fate) => only.includes(fate));
  for (const scenario of scenarios.filter(({ name }) => isMeant(name, names, only))) {
    for (const mark of await marksOf(scenario, ground)) {
      for (const fault of faults) {
        if (fault === 'hold' && !isCommit(mark)) continue;
        for (const fate of meant.length > 0 ? meant.slice(-1) : fates) {
          const name = [engine, scenario.name, mark.route, fate, fault, mark.name].join(', ');
          cases.push({ name, engine, scenario, mark, fault, fate });
        }
      }
    }
  }
  return cases.filter(({ name }) => only.split('; ').every((part) => name.includes(part)));
}

const chunks = (cases: readonly Case[], size: number): Case[][] =>
  Array.from({ length: Math.ceil(cases.length / size) }, (_, i) =>
    cases.slice(i * size, (i + 1) * size),
  );

async function restart(attack: Attack, ground: Ground, cases: readonly Case[]): Promise<void> {
  for (const some of chunks(cases, worldsEach)) {
    if (attack.isOver) return;
    const befall = async (): Promise<DatabaseServer> => {
      await ground.primary.kill();
      await ground.primary.start();
      return ground.primary;
    };
    await attack.group(ground, some, { befall });
  }
}

async function failOver(attack: Attack, engine: Engine, cases: readonly Case[]): Promise<void> {
  for (const some of chunks(cases, worldsEach)) {
    if (attack.isOver) return;
    const pair = await startPair(engine);
    try {
      const isBehind = some[0]?.fate === 'failed over, behind';
      const befall = async (): Promise<DatabaseServer> => {
        if (!isBehind) await pair.catchUp();
        await pair.failOver();
        return pair.standby;
      };
      const prepare = () => leave(pair, isBehind);
      await attack.group({ engine, ...pair }, some, { befall, prepare });
    } finally {
      await pair.stop();
    }
  }
}

/** The standby has what there is; from now on it may follow or not. */
async function leave(pair: Pair, isBehind: boolean): Promise<void> {
  await pair.catchUp();
  if (isBehind) await pair.standStill();
}

interface Whole extends CampaignOptions {
  readonly tally: Tally;
  /** Of one engine. */
  readonly count: number;
  readonly total: number;
}

/** Answers with the cells of its matrix, where all of them were asked for. */
async function attackEngine(engine: Engine, whole: Whole): Promise<Attack['cells'] | undefined> {
  const { tally, only = '', seed, total } = whole;
  const attack = new Attack(tally, whole.isBrief ?? false, () => tally.progress(tally.runs, total));
  const primary = await startServer(engine);
  const ground = { engine, primary };
  try {
    const all = await casesOf(ground, only);
    if (all.length === 0) throw new Error(`nothing is named "${only}"`);
    attack.know(all);
    if (only === '' && total >= commitsCampaign.countShort) attack.demand(coreOf(all));
    const random = (round: number): Random => new Random(seed * 1_000 + round);
    for (let left = whole.count, round = 0; left > 0 && !attack.isOver; round++) {
      const cases = inOrder(all, random(round)).slice(0, left);
      attack.demand(cases.map(cellOf));
      left -= cases.length;
      await strike(attack, ground, cases);
    }
    if (only !== '') return undefined;
    for (let tries = 1; tries < triesMax && !attack.isOver; tries++) {
      await strike(attack, ground, attack.missed(random(-tries)));
    }
    for (const { name } of attack.missed(random(0))) tally.fail(`vacuous: not struck: ${name}`);
    mustHaveAllRoutes(all, tally);
    return attack.cells;
  } finally {
    await primary.stop();
  }
}

async function strike(attack: Attack, ground: Ground, cases: readonly Case[]): Promise<void> {
  const of = (fate: Fate): Case[] => cases.filter((one) => one.fate === fate);
  const single = async (): Promise<void> => {
    await attack.quiet(ground, of('same server'));
    await restart(attack, ground, of('restarted'));
  };
  const paired = async (): Promise<void> => {
    await failOver(attack, ground.engine, of('failed over'));
    await failOver(attack, ground.engine, of('failed over, behind'));
  };
  await allEnded([single(), paired()]);
}

function mustHaveAllRoutes(cases: readonly Case[], tally: Tally): void {
  for (const route of routes) {
    if (cases.some(({ mark }) => mark.route === route && isCommit(mark))) continue;
    tally.fail(`vacuous: no batch of ${cases[0]?.engine} was committed on the route "${route}"`);
  }
}

/** Some at a time. */
async function inTurn<T>(all: readonly T[], use: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  const work = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await use(one);
  };
  await allEnded(Array.from({ length: worldsAtOnce }, work));
}

/** Whatever becomes of one, the others use the servers until they end. */
async function allEnded<T>(all: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(all);
  return Promise.all(all);
}

async function run(options: CampaignOptions) {
  const { count = commitsCampaign.countShort, only = '' } = options;
  const tally = new Tally('commits', options);
  const meant = engines.filter((engine) => isMeant(engine, engines, only));
  const here = meant.filter((engine) => engine !== 'MariaDB' || hasMariadb('MariaDB 10.11'));
  if (here.length < meant.length) tally.reduce('there is no MariaDB on this machine');
  const each = Math.ceil(count / here.length);
  const attack = async (): Promise<void> => {
    const cells = await allEnded(
      here.map((engine) => attackEngine(engine, { ...options, tally, count: each, total: count })),
    );
    for (const what of ['struck', 'there'] as const) {
      const all = cells.reduce((sum, own) => sum + (own?.[what] ?? 0), 0);
      if (all > 0) tally.most(matrixTold[what], all);
    }
  };
  if (only !== '') return tally.result(attack);
  return tally.result(attack, {
    struck: 0.9,
    'commits struck': 0.05,
    ...Object.fromEntries(here.map((engine) => [`${engine}: struck`, 0.8 / here.length])),
    ...Object.fromEntries(faults.map((fault) => [`${fault}: struck`, 0.001])),
    ...Object.fromEntries(fates.map((fate) => [`${fate}: struck`, 0.08])),
    ...Object.fromEntries(routes.map((route) => [`${route}: struck`, 0.05])),
  });
}

export const commitsCampaign: Campaign = {
  name: 'commits',
  unit: 'statements of a batch struck',
  countShort: 520,
  countLong: 3_000,
  // More than twice the cells of an engine: such a part has the whole matrix; a last one may not.
  countPart: 2_000,
  run,
};
