// The events of a plan, brought about when their time comes: deaths and stops of the process,
// faults of its disk, faults of the target, jumps of the wall clock.

import type { TargetFault } from '../../test/simulation/simulated-call-fault.ts';
import { quickMs } from '../../test/simulation/simulated-disk.ts';
import type { Struck } from '../../test/simulation/simulated-server.ts';
import { dedupe } from './operator.ts';
import type { EventKind, EventPlan } from './plan.ts';
import type { Life, World } from './world.ts';

type Of<K extends EventKind> = Extract<EventPlan, { readonly kind: K }>;

/** How long no file can be opened, where that lasts. */
const withoutDescriptorsMs = 5_000;
/** A process that was told to die at an operation that it never came to dies after this. */
const lingerMs = 30;
/** So far a standby is behind when all is well. */
const followMs = 2;

export class Events {
  readonly #world: World;
  /** In order of time; what has happened is gone. */
  readonly #left: EventPlan[];
  /** What was told to die: all that comes after is for the process that follows it. */
  #dying: Life | undefined;
  /** Faults of calls that are still to strike, with how often. */
  readonly #onTarget: (Of<'target'> & { after: number; calls: number })[] = [];
  /** Ends of what lasts: later than the event that began it. */
  readonly #lasting: Promise<void>[] = [];

  constructor(world: World) {
    this.#world = world;
    this.#left = [...world.plan.events];
    world.target.follow(followMs);
    world.target.strikeWhere((call) => this.#strike(call));
  }

  /** From the first to the last, and until nothing of them lasts any more. */
  async run(): Promise<void> {
    const { clock, target } = this.#world;
    for (let next = this.#left[0]; next; next = this.#left[0]) {
      // What has come due and could not happen waits for the next process.
      await clock.sleep(Math.max(1, next.at - clock.monotonicMs()));
      this.#due();
    }
    await Promise.all(this.#lasting);
    target.heal();
    this.#world.shapes.heal();
  }

  /** What has come due strikes the process that is about to open. */
  beforeLife(): void {
    this.#due();
  }

  #due(): void {
    const { clock } = this.#world;
    for (;;) {
      const [next] = this.#left;
      const { life } = this.#world;
      if (!next || next.at > clock.monotonicMs() || !life || life === this.#dying) return;
      this.#left.shift();
      this.#world.trace(`${clock.monotonicMs()} ${JSON.stringify(next)}`);
      this.#world.see(`events: ${next.kind}`);
      this.#happen(next);
    }
  }

  #happen(event: EventPlan): void {
    const kinds: { readonly [K in EventKind]: (event: Of<K>) => void } = {
      die: (death) => this.#die(death),
      close: ({ drainMs }) => this.#world.life?.close(drainMs),
      stop: ({ ms }) => this.#world.life?.clock.stopUntil(this.#world.clock.monotonicMs() + ms),
      stall: ({ thread, ms }) => this.#world.life?.threads?.stall(thread, ms),
      'thread dies': ({ thread, isHeard }) => this.#world.life?.threads?.die(thread, isHeard),
      twin: ({ ms }) => this.#lasting.push(this.#world.twin(ms)),
      jump: ({ ms }) => this.#world.clock.jump(ms),
      disk: (fault) => this.#breakDisk(fault),
      full: (full) => this.#full(full),
      slow: (slow) => this.#slow(slow),
      target: (fault) => this.#onTarget.push({ ...fault }),
      down: ({ ms }) => this.#world.target.down(ms),
      'read-only': ({ ms }) => this.#world.target.readOnly(ms),
      crash: () => this.#world.target.crash(),
      lag: ({ ms }) => this.#lag(ms),
      failover: () => this.#failover(),
      alter: (change) => this.#alter(change),
      drop: (change) => this.#drop(change),
      retype: (change) => this.#retype(change),
      dedupe: ({ table }) => this.#lasting.push(this.#dedupe(table)),
    };
    const happen = kinds[event.kind] as (event: EventPlan) => void;
    happen(event);
  }

  #breakDisk({ fault, after, isLasting }: Of<'disk'>): void {
    const { disk } = this.#world;
    disk.inject({ fault, at: disk.operations + 1 + after, isLasting });
    // Who only lacks descriptors waits for them, for ever.
    if (fault === 'EMFILE') this.#later(withoutDescriptorsMs, () => disk.spare(fault));
  }

  /** The fault that strikes a call of the target: of the oldest event that means it. */
  #strike({ name }: Struck): TargetFault | undefined {
    const isOfRows = name.startsWith('merge') || name === 'stage';
    for (const plan of this.#onTarget) {
      if (plan.isOfRows && !isOfRows) continue;
      if (plan.after-- > 0) continue;
      if (--plan.calls === 0) this.#onTarget.splice(this.#onTarget.indexOf(plan), 1);
      this.#world.see(`calls struck: ${plan.fault}`);
      return plan.fault;
    }
    return undefined;
  }

  #lag(ms: number): void {
    const { target } = this.#world;
    target.follow(undefined);
    this.#later(ms, () => target.follow(followMs));
  }

  #later(ms: number, then: () => void): void {
    this.#lasting.push(this.#world.clock.sleep(ms).then(then));
  }

  #die({ after, end }: Of<'die'>): void {
    const { disk, life } = this.#world;
    this.#world.end = end;
    this.#dying = life;
    if (after > 0) {
      disk.inject({ fault: 'die', at: disk.operations + after });
      this.#later(lingerMs, () => disk.die());
    } else disk.die();
  }

  #full({ bytes, ms }: Of<'full'>): void {
    const { disk } = this.#world;
    disk.capacityBytes = disk.usedBytes + bytes;
    this.#later(ms, () => {
      this.#world.disk.capacityBytes = Number.POSITIVE_INFINITY;
    });
  }

  #slow({ takesMs, ms }: Of<'slow'>): void {
    this.#world.disk.takesMsMax = takesMs;
    this.#later(ms, () => {
      this.#world.disk.takesMsMax = quickMs;
    });
  }

  /** Where nothing keeps what the target would lose, its standby has everything. */
  #failover(): void {
    const { target, plan } = this.#world;
    if (plan.confirm !== 'standby' && !plan.keepsAll) target.replicate();
    const { commits } = target.store;
    target.failover();
    this.#world.shapes.afterFailover();
    if (target.store.commits < commits) this.#world.see('rewinds');
    this.#world.checkConfirmed();
  }

  /** Somebody adds a column, and takes it away again. */
  #alter({ table, ms }: Of<'alter'>): void {
    const { shapes } = this.#world;
    if (shapes.extend(table, true)) this.#later(ms, () => void shapes.extend(table, false));
  }

  /** Somebody gives a column another type, or drops it and adds another one of its name. */
  #retype(change: Of<'retype'>): void {
    const { shapes } = this.#world;
    const { table, goneMs } = change;
    if (goneMs === undefined) shapes.retype(change);
    else if (shapes.drop(table)) this.#later(goneMs, () => shapes.add(change));
  }

  async #dedupe(table: string): Promise<void> {
    const { target, plan, clock } = this.#world;
    const stream = plan.streams.find(({ name }) => name === table);
    const collapsed = stream ? await dedupe(target, stream, clock) : 0;
    if (collapsed > 0) this.#world.see('duplicates collapsed', collapsed);
  }

  /** The table is gone for a while, as where somebody renames it. */
  #drop({ table, ms }: Of<'drop'>): void {
    const { target } = this.#world;
    if (!target.store.tables.has(table)) return;
    const dropped = target.dropTable(table);
    this.#later(ms, () => target.putBack(table, dropped));
  }
}
