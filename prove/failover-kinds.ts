// What can happen around a failover, one run each.
import assert from 'node:assert/strict';
import { HoldfastError } from '../src/index.ts';
import type { Engine } from '../test/support/pairs.ts';
import { streamOf, streamWhere } from '../test/support/waits.ts';
import { type FailoverWorld, isGone } from './failover-world.ts';
import { Violation } from './oracle.ts';

export interface Kind {
  readonly name: string;
  readonly engines: readonly Engine[];
  readonly run: (world: FailoverWorld) => Promise<void>;
}

const both: readonly Engine[] = ['PostgreSQL', 'MariaDB'];

/** Fails over to a standby that lacks rows; counts them. */
async function loseSome(world: FailoverWorld): Promise<void> {
  const lost = await world.lacking(world.pair.standby);
  assert(lost > 0, 'the standby lacks rows');
  world.see('rows that the database had lost', lost);
  await world.pair.failOver();
}

/** Only a primary of PostgreSQL knows what its standby has; elsewhere the journal keeps all. */
const carefully = ({ pair }: FailoverWorld) =>
  pair.primary.engine === 'PostgreSQL' ? ({ confirm: 'standby', keepsNothing: true } as const) : {};

async function behind(world: FailoverWorld): Promise<void> {
  await world.create();
  await world.open(carefully(world));
  await world.write(300, 'settled');
  await world.pair.catchUp();
  await world.pair.standStill();
  await world.write(300, 'settled');
  await loseSome(world);
  await world.write(100, 'settled');
  await world.check(world.pair.standby);
}

/** Nothing is written any more: the streams notice by themselves. */
async function idle(world: FailoverWorld): Promise<void> {
  await world.create();
  await world.open(carefully(world));
  await world.write(100, 'settled');
  await world.pair.catchUp();
  await world.pair.standStill();
  await world.write(100, 'settled');
  await loseSome(world);
  const { standby } = world.pair;
  const comeBack = async (): Promise<void> => {
    while ((await world.lacking(standby)) > 0);
  };
  await world.watched(comeBack());
  await world.check(standby);
}

/** The standby has the tables, and never heard of Holdfast. */
async function unaware(world: FailoverWorld): Promise<void> {
  await world.create();
  await world.pair.standStill();
  await world.open(carefully(world));
  await world.write(200, 'settled');
  await loseSome(world);
  await world.write(100, 'settled');
  await world.check(world.pair.standby);
}

/** What is on its way at the failover, and never waited for. */
async function underway(world: FailoverWorld): Promise<void> {
  await world.create();
  await world.open(carefully(world));
  await world.write(100, 'settled');
  await world.pair.catchUp();
  await world.pair.standStill();
  const failing = async (): Promise<void> => {
    while ((await world.lacking(world.pair.standby)) < 300);
    await loseSome(world);
  };
  await Promise.all([world.write(500, 'settled'), failing()]);
  await world.check(world.pair.standby);
}

/** Commits wait for the standby: what is confirmed needs no journal any more. */
async function synchronous(world: FailoverWorld): Promise<void> {
  const { primary, standby } = world.pair;
  await world.create();
  await primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
  await primary.sql('SELECT pg_reload_conf()');
  await world.open({ confirm: 'standby', keepsNothing: true });
  const [before] = world.segments;
  do await world.write(100, 'confirmed');
  while (world.segments[0] === before);
  world.see('confirmed rows not in the journal any more');
  await world.pair.failOver();
  // Before anything can come back from the journal that is still there, too.
  for (const name of world.names) await world.checkRows(standby, name);
  await world.write(100, 'settled');
  await world.check(standby);
}

/** Where the journal has not kept what the standby lacks, the stream says so and stands still. */
async function tooLate(world: FailoverWorld): Promise<void> {
  const { pair } = world;
  await world.create();
  await world.open({ keepsNothing: true });
  await world.write(100, 'settled');
  await pair.catchUp();
  await pair.standStill();
  await world.write(100, 'settled');
  // No segment up to here stays: each stream has rows in them that the standby lacks.
  const newest = world.segments.at(-1) ?? 0;
  do await world.write(100, 'settled');
  while ((world.segments[0] ?? 0) <= newest);
  await loseSome(world);
  for (const name of world.names) {
    await streamWhere(world.holdfast, name, ({ reason = '' }) => isGone(reason));
    await world.checkRows(pair.standby, name, Number.POSITIVE_INFINITY);
  }
  world.see('losses that were told');
}

/** The old primary comes back while the new one is away: it must not be written to. */
async function comesBack(world: FailoverWorld): Promise<void> {
  const { pair } = world;
  const { primary, standby } = pair;
  await world.create();
  await world.open();
  await world.write(100, 'settled');
  await world.pair.catchUp();
  await pair.standStill();
  await pair.failOver();
  await world.write(100, 'settled');
  await standby.kill();
  await primary.start();
  await world.write(100, 'journaled');
  for (const name of world.names) {
    // Either the stream says why it waits, or its rows go where they must not.
    const isHeld = async (): Promise<boolean> =>
      (await streamOf(world.holdfast, name)).reason?.includes('old primary') === true;
    const isTaken = async (): Promise<boolean> => (await world.countOf(primary, name)) > 100;
    while (!(await isHeld()) && !(await isTaken()));
    if (await isTaken()) throw new Violation('wrong', `rows of ${name} went to the old primary`);
  }
  await refused(world, () => world.holdfast.verify(), 'verify with the old primary alone');
  world.see('an old primary refused');
  await standby.start();
  await world.check(standby);
}

/** A standby that lags is asked for nothing, though it stands first in the URL. */
async function lags(world: FailoverWorld): Promise<void> {
  const { primary, standby } = world.pair;
  await world.create();
  const isPostgres = primary.engine === 'PostgreSQL';
  await standby.sql(isPostgres ? 'SELECT pg_wal_replay_pause()' : 'STOP SLAVE SQL_THREAD');
  await world.open({ standbyFirst: true });
  await world.write(100, 'settled');
  assert((await world.lacking(standby)) > 0, 'the standby lags');
  await world.check(primary);
  await primary.kill();
  await refused(world, () => world.holdfast.verify(), 'verify with a standby alone');
  await primary.start();
  await world.check(primary);
  world.see('verified beside a standby that lags');
  await standby.sql(isPostgres ? 'SELECT pg_wal_replay_resume()' : 'START SLAVE SQL_THREAD');
  await world.pair.catchUp();
  await world.pair.failOver();
  await world.write(100, 'settled');
  await world.check(standby);
}

/** What cannot be known now is said to be so, and never reported as fine. */
async function refused(
  world: FailoverWorld,
  ask: () => Promise<unknown>,
  what: string,
): Promise<void> {
  let answer: unknown;
  try {
    answer = await ask();
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'HF_TARGET') throw error;
    world.see('unverified');
    return;
  }
  throw new Violation('wrong', `${what} answered ${JSON.stringify(answer).slice(0, 200)}`);
}

/** Those that say most come first: a short run has the first of each server. */
export const kinds: readonly Kind[] = [
  { name: 'behind', engines: both, run: behind },
  { name: 'synchronous', engines: ['PostgreSQL'], run: synchronous },
  { name: 'comes back', engines: ['PostgreSQL'], run: comesBack },
  { name: 'too late', engines: both, run: tooLate },
  { name: 'lags', engines: both, run: lags },
  { name: 'underway', engines: both, run: underway },
  { name: 'idle', engines: both, run: idle },
  { name: 'unaware', engines: both, run: unaware },
];
