// bench article: the table of the article, measured: the same rows into MariaDB 10.11 and
// PostgreSQL 18 by four ways. Figures are named SERVER.WAY.MEASURE.
//
// The table: payments, primary key tx_id, a version. The rows, one sequence for all
// (article/load.ts): 91 % new payments, 5 % next versions of one of 200 hot ones, 4 % repeats of
// one of the last 1,000. In the end each key must stand there once, in its newest version; all ways
// see to that. The ways (article/ways.ts):
//   single   one INSERT … ON DUPLICATE KEY UPDATE / ON CONFLICT DO UPDATE a row, pool of 10
//            connections. (A plain INSERT would fail for each row whose key is there: by the share
//            of those that we chose. That would be no measurement.)
//   upserts  the same statement for up to 500 rows, in the order they came, only the newest of a key:
//            10 workers, each taking what waits. Deadlocks of both are tried again 3 times. (Sorted by
//            key first they do not deadlock; on PostgreSQL, which waits a second before it looks for
//            one, that alone is worth a factor of ten and more.)
//   direct   holdfast.write of each row, conflicts by `newest: version`.
//   staged   the same with route 'staged'.
// Producers and way share one process; every commit, and Holdfast's journal, is synced (MariaDB:
// also its binary log). Each run has a new database; rounds go through all ways of both servers in
// turn.
//
// As fast as it goes: 1,024 producers, each handing over its next row when the last one was
// answered.
//   mean, p99     ms from handing a row over until the answer this way gives: the commit for single and
//                 upserts; for Holdfast the acknowledgement: the row is synced in the journal
//   settledMean, settledP99  Holdfast: until the row is in the table (one row of 16 is asked)
//   success       share of rows answered with success, 0 to 1
//   rows          rows/s, until the last row is in the table; acknowledged: until the last answer
//   lockWaits     row locks that a session had to wait for, a second. MariaDB: Innodb_row_lock_waits,
//                 after less before. PostgreSQL has no such counter: pg_locks is looked at every 5 ms
//                 and each wait (pid, waitstart) counted once, so shorter ones are partly missed
//   lockTime      ms waited for row locks, summed over sessions, a second: Innodb_row_lock_time;
//                 PostgreSQL: of the same samples
// At 1,000 rows/s, which all ways sustain, timed from when each row was due: pacedMean, pacedP99,
//   pacedSettledMean, pacedSettledP99.
// Summed over all runs: deadlocks (the servers' count), lost and doubled (Load.compare, by reading
// the
//   whole table).
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Load } from './article/load.ts';
import { startMariadbServer } from './article/mariadb.ts';
import { startPostgresServer } from './article/postgres.ts';
import type { Locks, Server } from './article/servers.ts';
import { type Way, ways } from './article/ways.ts';
import {
  type BenchOptions,
  type Figure,
  type Figures,
  figureOf,
  quantile,
  type Size,
} from './figures.ts';
import { CpuMeter } from './machine.ts';
import { type Round, roundsOf, takeRounds } from './rounds.ts';

const producers = 1_024;
const closedMs: { readonly [size in Size]: number } = { tiny: 30, usual: 3_000, full: 30_000 };
const pacedRows = 1_000;
const pacedMs: { readonly [size in Size]: number } = { tiny: 30, usual: 2_000, full: 30_000 };
/** Of a run's time. */
const warmUpShare = 0.3;

/** One run of one way. */
interface Measured {
  readonly load: Load;
  readonly answeredSeconds: number;
  /** Until all was in the table. */
  readonly seconds: number;
  readonly locks: Locks;
  readonly lost: number;
  readonly doubled: number;
  readonly others: number;
}

interface Both {
  readonly closed: Measured;
  readonly paced: Measured;
  /** The worse of the two. */
  readonly others: number;
}

type Drive = (load: Load) => Promise<void>;

export async function benchArticle(options: BenchOptions): Promise<Figures> {
  const servers = await Promise.all([startMariadbServer(), startPostgresServer()]);
  try {
    const taken = await takeRounds(options, {
      rounds: roundsOf[options.size],
      take: (isWarmUp) => takeRound(servers, options.size, isWarmUp ? warmUpShare : 1),
      tell: told,
    });
    const names = [...(taken[0]?.keys() ?? [])];
    const figures = names.flatMap((name) =>
      figuresOf(
        name,
        taken.flatMap((round) => round.get(name) ?? []),
      ),
    );
    return Object.fromEntries(figures);
  } finally {
    for (const server of servers) await server.stop();
  }
}

async function takeRound(
  servers: readonly Server[],
  size: Size,
  share: number,
): Promise<Round<Both>> {
  const round = new Map<string, Both>();
  for (const way of ways) {
    for (const server of servers) {
      const closedFor = closedMs[size] * share;
      const pacedFor = pacedMs[size] * share;
      const closed = await run(server, way, (load) => load.closedLoop(producers, closedFor));
      const paced = await run(server, way, (load) => load.paced(pacedRows, pacedFor));
      const others = Math.max(closed.others, paced.others);
      round.set(`${server.name}.${way.name}`, { closed, paced, others });
    }
  }
  return round;
}

async function run(server: Server, way: Way, drive: Drive): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const database = await server.createDatabase();
  try {
    const open = await way.open(database, folder);
    const locks = await database.watchLocks();
    const load = new Load(open);
    const meter = new CpuMeter();
    const begun = performance.now();
    const passed = (): number => (performance.now() - begun) / 1000;
    await drive(load);
    const answeredSeconds = passed();
    await open.settle();
    const seconds = passed();
    const others = meter.others();
    await load.settled();
    await open.close();
    const counted = await locks();
    const compared = load.compare(await database.contents());
    return { load, answeredSeconds, seconds, others, locks: counted, ...compared };
  } finally {
    await database.drop();
    rmSync(folder, { recursive: true });
  }
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const p99 = (values: readonly number[]): number => quantile(values, 0.99);

const rate = ({ load, seconds }: Measured): number => load.succeeded / seconds;
const success = ({ load }: Measured): number => load.succeeded / load.handed;

function told({ closed, paced }: Both): string {
  const { load } = closed;
  const count = Math.round(rate(closed)).toLocaleString('en');
  const ms = `${mean(load.answerMs).toFixed(1)} ms, p99 ${p99(load.answerMs).toFixed(1)}`;
  const why = load.firstFailure ?? paced.load.firstFailure;
  const failure = why === undefined ? '' : `, first failure: ${why.message}`;
  return `${count} rows/s, ${ms}${failure}`;
}

function figuresOf(name: string, own: readonly Both[]): [string, Figure][] {
  const closed = own.map((round) => round.closed);
  const paced = own.map((round) => round.paced);
  const all = [...closed, ...paced];
  const over = (unit: string, runs: readonly Measured[], of: (run: Measured) => number) =>
    figureOf(
      unit,
      runs.map((one) => ({ value: of(one), others: one.others })),
    );
  const summed = (unit: string, of: (run: Measured) => number): Figure => {
    const value = all.reduce((sum, one) => sum + of(one), 0);
    return figureOf(unit, [{ value, others: Math.max(...all.map((one) => one.others)) }]);
  };
  const isLater = all.some(({ load }) => load.settledMs.length > 0);
  const later: Record<string, Figure> = {
    settledMean: over('ms', closed, ({ load }) => mean(load.settledMs)),
    settledP99: over('ms', closed, ({ load }) => p99(load.settledMs)),
    acknowledged: over('rows/s', closed, (one) => one.load.succeeded / one.answeredSeconds),
    pacedSettledMean: over('ms', paced, ({ load }) => mean(load.settledMs)),
    pacedSettledP99: over('ms', paced, ({ load }) => p99(load.settledMs)),
  };
  const figures: Record<string, Figure> = {
    mean: over('ms', closed, ({ load }) => mean(load.answerMs)),
    p99: over('ms', closed, ({ load }) => p99(load.answerMs)),
    success: over('of 1', closed, success),
    rows: over('rows/s', closed, rate),
    lockWaits: over('1/s', closed, ({ locks, seconds }) => locks.waits / seconds),
    lockTime: over('ms/s', closed, ({ locks, seconds }) => locks.waitMs / seconds),
    deadlocks: summed('count', ({ locks }) => locks.deadlocks),
    lost: summed('rows', ({ lost }) => lost),
    doubled: summed('rows', ({ doubled }) => doubled),
    pacedMean: over('ms', paced, ({ load }) => mean(load.answerMs)),
    pacedP99: over('ms', paced, ({ load }) => p99(load.answerMs)),
    ...(isLater ? later : {}),
  };
  return Object.entries(figures).map(([measure, figure]) => [`${name}.${measure}`, figure]);
}
