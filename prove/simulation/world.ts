// One seed's world: a disk, a clock and a target that are simulated, the whole product between them
// in one process after another, the clients that write to it, and the events of the plan. It ends
// when everything that can break has stopped breaking, and all that was accepted has its end.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { HoldfastError } from '../../src/errors.ts';
import { open } from '../../src/holdfast.ts';
import type { OpenOptions } from '../../src/options.ts';
import type { RunningServer } from '../../src/server/server.ts';
import type { Holdfast, Status } from '../../src/types.ts';
import { ProcessTarget } from '../../test/simulation/process-target.ts';
import { Random } from '../../test/simulation/random.ts';
import { type ProcessClock, SimulatedClock } from '../../test/simulation/simulated-clock.ts';
import { SimulatedDeath, SimulatedDisk } from '../../test/simulation/simulated-disk.ts';
import { SimulatedTarget } from '../../test/simulation/simulated-target.ts';
import { Violation } from '../oracle.ts';
import { Clients, isPoison, type Served } from './clients.ts';
import { Events } from './events.ts';
import { checkStream, Judge } from './judge.ts';
import { optionsOf } from './options.ts';
import type { Plan, RequestPlan } from './plan.ts';
import { Shapes } from './shapes.ts';
import { isOfSurroundings } from './surroundings.ts';
import { Threads } from './threads.ts';

/** How often the owner of the processes looks at them. */
const ownerMs = 400;
/** No world lasts longer: what goes on then never ends. */
const worldMsMax = 20 * 60 * 1000;
/** Once nothing breaks any more, everything must be settled within this (O10). */
const settleMsMax = 10 * 60 * 1000;

/** What ends a process in good order. */
interface Ends {
  readonly closing: Promise<number>;
  readonly givenUp: Promise<'given up'>;
  /** With what it may leave. */
  readonly isExpected: (error: unknown) => boolean;
  readonly accepting: RunningServer | undefined;
}

type End = 'died' | 'ended' | 'failed' | 'was forsaken';

/** A process of the product. */
export interface Life {
  readonly disk: SimulatedDisk;
  readonly clock: ProcessClock;
  readonly threads: Threads | undefined;
  /** Under what name it claims lanes. */
  readonly name: string;
  /** What ends it as its owner asks: a shutdown that drains so long. */
  readonly close: (drainMs: number) => void;
  /** Its owner gives it up: it is started again. */
  readonly giveUp: () => void;
  /** Its owner's copy takes its place, and it goes on for a while without clients. */
  readonly forsake: () => void;
}

export interface Outcome {
  /** The same seed and the same product give the same one. */
  readonly hash: string;
  readonly seen: Readonly<Record<string, number>>;
}

export class World {
  readonly plan: Plan;
  readonly clock: SimulatedClock;
  readonly target: SimulatedTarget;
  readonly shapes: Shapes;
  disk: SimulatedDisk;
  /** The process that lives, if one does. */
  life: Life | undefined;
  /** What its end leaves to the next. */
  end: 'kill' | 'power cut' = 'kill';
  readonly #options: OpenOptions;
  readonly #delays: Random;
  readonly #clients: Clients;
  readonly #judge: Judge;
  /** Requests whose clients were told that no failover can take them away. */
  readonly #confirmed: RequestPlan[] = [];
  readonly #trace: string[] = [];
  readonly #seen: Record<string, number> = {};
  #served: Served | undefined;
  #arrivals: ((served: Served) => void)[] = [];
  #isOver = false;
  /** Of what a process died that its clients had left. */
  #wrong: unknown;
  #status: Status | undefined;

  constructor(plan: Plan) {
    this.plan = plan;
    const seed = Number(BigInt.asUintN(32, BigInt(plan.seed)));
    const clock = new SimulatedClock({ seed, isAlone: true });
    this.clock = clock;
    this.disk = new SimulatedDisk({ seed, clock });
    this.target = new SimulatedTarget({
      clock,
      latencyMsMax: plan.latencyMsMax,
      standby: plan.confirm === 'standby',
    });
    this.shapes = new Shapes(this.target, (what) => this.see(what));
    for (const stream of plan.streams) {
      const key = stream.isKeyed ? ['id'] : [];
      const refuse = ({ note }: { readonly [name: string]: unknown }) =>
        isPoison(note) ? 'This row is refused.' : undefined;
      this.target.createTable(stream.name, { columns: this.shapes.begin(stream), key, refuse });
    }
    this.#options = optionsOf(plan);
    this.#delays = new Random(BigInt(plan.seed)).fork(6);
    this.#clients = new Clients({
      plan,
      clock,
      served: () => this.#whoServes(),
      see: (what) => this.see(what),
      trace: (line) => this.trace(line),
      // What a failover took away comes back; until then it may be called settled and be gone. What
      // is confirmed is on the standby: no failover takes it away.
      onSettled: (request, level) => {
        if (level === 'confirmed') this.#confirmed.push(request);
        if (level === 'confirmed' || !this.#seen['rewinds']) this.#judge.checkSettled(request);
      },
    });
    this.#judge = new Judge({
      plan,
      target: this.target,
      shapes: this.shapes,
      clients: this.#clients,
    });
  }

  see(what: string, count = 1): void {
    this.#seen[what] = (this.#seen[what] ?? 0) + count;
  }

  trace(line: string): void {
    this.#trace.push(line);
  }

  async run(): Promise<Outcome> {
    try {
      await this.clock.run(this.#whole(), worldMsMax);
    } finally {
      this.disk.dispose();
      this.clock.abandon();
    }
    this.see('calls of the target', this.target.calls);
    this.see('dead letters', this.target.store.letters.size);
    this.see('lanes taken back', this.target.store.lanesTakenBack);
    for (const [route, count] of Object.entries(this.target.store.casts)) {
      this.see(`rows journaled under another type: ${route}`, count);
    }
    for (const [what, count] of Object.entries(this.target.server.late)) {
      this.see(`late commits ${what}`, count);
    }
    this.trace(this.target.trace.join());
    const hash = createHash('sha256').update(this.#trace.join('\n')).digest('hex').slice(0, 16);
    return { hash, seen: this.#seen };
  }

  async #whole(): Promise<void> {
    const events = new Events(this);
    const clients = this.#clients.run();
    // Their rejections are told by the race below.
    clients.catch(() => undefined);
    const lives = this.#lives(events);
    lives.catch(() => undefined);
    const attack = (async () => {
      await events.run();
      this.#clients.isCalm = true;
      void this.#unfence();
      await clients;
    })();
    // Whatever of these fails first has found something.
    await Promise.race([attack, lives]);
    this.#isOver = true;
    this.disk.heal();
    this.life?.close(settleMsMax);
    await lives;
    if (this.#wrong) throw this.#wrong;
    assert(this.#status, 'the last process told how it stands');
    this.#judge.check(this.#status.streams);
  }

  #whoServes(): Promise<Served> {
    if (this.#served) return Promise.resolve(this.#served);
    return new Promise((resolve) => this.#arrivals.push(resolve));
  }

  #serve(served: Served | undefined): void {
    this.#served = served;
    if (!served) return;
    for (const arrive of this.#arrivals.splice(0)) arrive(served);
  }

  /** One process after another, until the last one was closed in good order and all is settled. */
  async #lives(events: Events): Promise<void> {
    for (let number = 0; ; number++) {
      const how = await this.#live(events, `process ${number}`);
      this.see(`lives that ${how}`);
      if (this.#status) return;
      // A process that cannot open is started again and again, a little later.
      if (how === 'failed') await this.clock.sleep(20);
      assert(number < 1_000, 'a process can be opened at last');
    }
  }

  async #live(events: Events, name: string): Promise<End> {
    const { disk } = this;
    const clock = this.clock.process();
    const { promise: closing, resolve: close } = Promise.withResolvers<number>();
    const { promise: gone, resolve: tellGone } = Promise.withResolvers<void>();
    const { promise: forsaken, resolve: forsake } = Promise.withResolvers<End>();
    const { promise: givenUp, resolve: giveUp } = Promise.withResolvers<'given up'>();
    const threads = this.#threads(disk, clock, name);
    this.life = {
      disk,
      clock,
      name,
      threads,
      close,
      giveUp: () => giveUp('given up'),
      forsake: () => forsake('was forsaken'),
    };
    this.end = 'kill';
    if (this.#isOver) close(settleMsMax);
    events.beforeLife();
    const isExpected = (error: unknown): boolean =>
      isOfSurroundings(error) || threads?.isDeath(error) === true;
    const life = (async (): Promise<End> => {
      const holdfast = await open(this.#options, {
        ...(threads?.ports ?? { disk, clock, target: this.#reach(disk, clock, name) }),
        pid: 1,
      });
      const accepting = await threads?.startAccepting(holdfast);
      const door = (client: number) => threads?.door(client);
      if (this.life?.disk !== disk) return 'died'; // In the last step of its opening.
      this.#serve({ holdfast, door, gone, isGone: () => disk.isDead });
      return this.#use(holdfast, clock, { closing, givenUp, isExpected, accepting });
    })();
    const died = disk.died.then(() => 'died' as const);
    const end = await Promise.race([life, died, forsaken]).catch((error: unknown) => {
      if (error instanceof Violation) throw error;
      if (disk.isDead) return 'died' as const;
      if (isExpected(error)) return 'failed' as const;
      throw error;
    });
    life.catch((error: unknown) => {
      const isDeath = disk.isDead || error instanceof SimulatedDeath || isExpected(error);
      if (end === 'was forsaken' && !isDeath) this.#wrong ??= error;
    });
    if (end === 'died' && !this.#served) this.see('lives that died while opening');
    this.#serve(undefined);
    tellGone();
    this.life = undefined;
    if (end === 'was forsaken') return end;
    clock.end();
    this.#leave(disk);
    return end;
  }

  /** Until it fails or is closed; at the end of all, until everything is settled. */
  async #use(holdfast: Holdfast, clock: ProcessClock, ends: Ends): Promise<End> {
    const { closing, givenUp, isExpected, accepting } = ends;
    const failed = holdfast.failed.then((error) => {
      // A death by anything else is a bug, in a process that its clients have left as well.
      if (!isExpected(error)) throw error;
      return 'failed' as const;
    });
    const broken = Promise.race([failed, givenUp]);
    let how = await Promise.race([closing, broken]);
    // Asked to close at the end of all: not before everything is settled.
    if (typeof how === 'number' && this.#isOver) {
      how = await Promise.race([this.#settle(holdfast, clock), broken]);
    }
    if (how === 'failed') await checkRefusing(holdfast, this.plan);
    // A server that failed leaves at once.
    if (typeof how === 'number') await accepting?.close();
    await holdfast.close({ drainMs: typeof how === 'number' ? how : 0 });
    return typeof how === 'number' ? 'ended' : 'failed';
  }

  /**
   * A copy of the machine is started while the first one still runs: both have the same records,
   * and the same lanes. Clients have turned away from the first; what it had taken was answered.
   */
  async twin(ms: number): Promise<void> {
    const { life: first } = this;
    const served = this.#served;
    if (!first || !served) return;
    this.#serve(undefined);
    for (let waits = 0; this.#clients.inFlight > 0 && waits < 20; waits++)
      await this.clock.sleep(2);
    if (this.life !== first || first.disk.isDead) return;
    if (this.#clients.inFlight > 0) return this.#serve(served);
    this.see('twins');
    this.disk = first.disk.snapshot();
    first.forsake();
    await this.clock.sleep(ms);
    first.disk.die();
    first.clock.end();
    first.disk.dispose();
  }

  /**
   * A call of a process that is gone may take the lanes over late: of a twin, or of one that died.
   * Then the owner finds the process that lives held, and starts it again.
   */
  async #unfence(): Promise<void> {
    while (!this.#status) {
      await this.clock.sleep(ownerMs);
      const served = this.#served;
      if (!served) continue;
      const asked = served.holdfast.status().catch(() => undefined);
      const status = await Promise.race([asked, served.gone]);
      const fenced = Object.entries(status?.streams ?? {})
        .filter(([, { reason = '' }]) => reason.includes('belongs to epoch'))
        .map(([stream]) => stream);
      if (fenced.length === 0 || served !== this.#served) continue;
      this.see('fenced by one that is gone, and started again');
      for (const stream of fenced) this.#checkFence(stream);
      this.life?.giveUp();
    }
  }

  /** Nobody is fenced whose lanes no other has claimed since they were its own. */
  #checkFence(stream: string): void {
    const { name } = this.life ?? {};
    const claims = this.target.store.claims.filter((claim) => claim.stream === stream);
    const own = claims.findIndex(({ owner }) => owner === name);
    if (claims.some(({ owner }, at) => at > own && owner !== name)) return;
    this.#wrong ??= new Violation('wrong', `${stream}: ${name} was fenced by itself`);
  }

  /** A standby has just taken over, and nothing has come back from a journal yet. */
  checkConfirmed(): void {
    for (const request of this.#confirmed) this.#judge.checkSettled(request);
    this.see('confirmed requests that a failover met', this.#confirmed.length);
  }

  /** The target, as the process of that disk and name reaches it. */
  #reach(disk: SimulatedDisk, clock: ProcessClock, owner: string): ProcessTarget {
    return new ProcessTarget(this.target, { clock, owner, die: () => disk.die() });
  }

  #threads(disk: SimulatedDisk, process: ProcessClock, name: string): Threads | undefined {
    const { threads: plan } = this.plan;
    if (!plan) return undefined;
    const random = this.#delays;
    const target = (clock: ProcessClock) => this.#reach(disk, clock, name);
    return new Threads({ plan, random, process, disk, target, see: (what) => this.see(what) });
  }

  #leave(disk: SimulatedDisk): void {
    for (const { operation, path, position = '', length = '' } of disk.trace) {
      if (!path.endsWith('owner.json')) {
        this.trace(`${operation} ${basename(path)} ${position} ${length}`);
      }
    }
    if (this.disk === disk) this.disk = this.end === 'kill' ? disk.kill() : disk.crash();
    this.see(`ends by ${this.end}`);
    disk.dispose();
  }

  /** Waits until nothing is in flight, then asks the product's own opinion (O10, O13). */
  async #settle(holdfast: Holdfast, clock: ProcessClock): Promise<number> {
    const until = clock.monotonicMs() + settleMsMax;
    let settled: Status;
    for (;;) {
      const status = await holdfast.status();
      const all = Object.entries(status.streams);
      for (const [name, books] of all) checkStream(name, books);
      const isDone = all.every(([, { inFlight, state }]) => inFlight === 0 && state === 'running');
      // One that was stopped may find its question too old: then it says what it knew last.
      // What its client gave up may still be on its way from a worker that was stalled.
      if (isDone && status.target.reachable && this.#clients.inFlight === 0) {
        settled = status;
        break;
      }
      if (clock.monotonicMs() > until) {
        throw new Violation('lost', `not settled: ${JSON.stringify(status.streams)}`);
      }
      await clock.sleep(50);
    }
    this.#judge.checkVerified(await holdfast.verify());
    this.#status = settled;
    return settleMsMax;
  }
}

/** Once the journal has failed, nothing is taken any more (O5). */
async function checkRefusing(holdfast: Holdfast, { streams }: Plan): Promise<void> {
  const refused = holdfast.write(streams[0]?.name ?? '', { id: -1, version: 0, note: 'too late' });
  const error = await refused.then(
    () => undefined,
    (why: unknown) => why,
  );
  if (error instanceof HoldfastError && error.outcome === 'not written') return;
  throw new Violation('wrong', 'a journal that has failed takes rows');
}
