// bench peers: the same rows into the same table of the same PostgreSQL 18 (as it comes, fsync on), by
// Holdfast and by what people use instead, each as its own documents recommend; what each is good
// at, and what its acknowledgement means, stands at the head of its file in peers/.
//
// The figures: rows/s, from the first submission until the last row is in the table, which has its
// primary key; the queues that stand in between are filled and emptied in that time. `of`: holdfast.
//   ackP50, ackP99  ms of a submission (a row for pool, 500 rows for the others) until it is
//                   acknowledged, while all goes as fast as it goes
//   acknowledges    what an acknowledged row survives: figures.ts
//   lost, doubled   rows, over two kills with SIGKILL of what brings the rows into the table: soon after
//                   40 % and 70 % of the rows, on a table without a key (peers/kills.ts)
//
// Peers other than Holdfast get their rows as ready JavaScript values; Holdfast parses NDJSON. Whoever
// hands over shares the bench's process; of pool, inserts and unnest it is all of the application.
//
// --with jvm: also those that need a JVM (java, and Maven to fetch them for the first time).
import {
  type Acknowledgement,
  type BenchOptions,
  type Figure,
  type Figures,
  median,
} from './figures.ts';
import { onPostgres } from './ground.ts';
import { bullmq } from './peers/bullmq.ts';
import { kafkaConnect } from './peers/connect.ts';
import { flinkPeers } from './peers/flink.ts';
import { graphileWorker } from './peers/graphile.ts';
import { holdfast } from './peers/holdfast.ts';
import { applications } from './peers/inserts.ts';
import { kafkaConsumer } from './peers/kafka-consumer.ts';
import { type Damage, takeKills } from './peers/kills.ts';
import type { Peer } from './peers/peer.ts';
import { pgBoss } from './peers/pg-boss.ts';
import { type Measured, takeRates } from './peers/rates.ts';
import { type Round, rateFigure } from './rounds.ts';

const plain: readonly Peer[] = [holdfast, ...applications, pgBoss, graphileWorker, bullmq];
const onJvm: readonly Peer[] = [kafkaConsumer, kafkaConnect, ...flinkPeers];

/** Flink's XA sink prepares its transactions; PostgreSQL as it comes allows none. */
const settings = { max_prepared_transactions: '50' };

export async function benchPeers(options: BenchOptions): Promise<Figures> {
  const peers = await thatCanBeHad(options, options.jvm ? [...plain, ...onJvm] : plain);
  return onPostgres(async (on) => {
    const taken = await takeRates(options, on, peers);
    const damages = await takeKills(options, on, peers);
    return Object.fromEntries(peers.map((peer) => [peer.name, figure(peer, taken, damages)]));
  }, settings);
}

async function thatCanBeHad({ say }: BenchOptions, wanted: readonly Peer[]): Promise<Peer[]> {
  const found: Peer[] = [];
  for (const peer of wanted) {
    const lack = await peer.lack?.();
    if (lack === undefined) found.push(peer);
    else say(`REDUCED: no figure of ${peer.name}. ${lack}`);
  }
  return found;
}

function figure(
  { name, acknowledges }: Peer,
  taken: readonly Round<Measured>[],
  damages: ReadonlyMap<string, Damage>,
): Figure {
  const own = taken.flatMap((round) => round.get(name) ?? []);
  const ms = (of: (measured: Measured) => number): number => Number(median(own.map(of)).toFixed(2));
  const { lost = Number.NaN, doubled = Number.NaN } = damages.get(name) ?? {};
  const acknowledgement: Acknowledgement = {
    ackP50: ms(({ ackP50 }) => ackP50),
    ackP99: ms(({ ackP99 }) => ackP99),
    acknowledges,
    lost,
    doubled,
  };
  const reference = name === holdfast.name ? undefined : holdfast.name;
  return { ...rateFigure(taken, name, reference), ...acknowledgement };
}
