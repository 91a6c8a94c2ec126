// Flink's JDBC sink behind its Kafka source (jvm/flink/Payments.java), in a cluster of one process.
//
// flinkUpsert: at least once; rows that come again after a crash overwrite themselves by the key.
// flinkXa: exactly once by its documents, without a key too: the rows of a checkpoint are one XA
//   transaction for each of the 2 sinks. PostgreSQL must allow prepared transactions, and rows are
//   seen with the next checkpoint only: every 2 s here. In its version 3.3.0, though, `JdbcWriter`
//   commits what it has prepared when it takes its part of a checkpoint, not when that checkpoint is
//   complete (`snapshotState` finds no pending records, for `prepareCommit` has just said so): a
//   crash in between, and its rows come twice.
//
// Good at: all that Kafka is good at, and computing on the way: joins, windows, state of any size,
// restored exactly after a crash; it scales over machines.
//
// Acknowledged: by the broker, as for the consumer (kafka-consumer.ts): server. After a crash the job
// is started from its newest checkpoint, by hand as here or by a cluster.
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { brokerOn, createTopic } from './broker.ts';
import { classPath, jdbcUrl, lackOfJars, properties } from './java.ts';
import { lackOfPackages } from './packages.ts';
import type { OpenPeer, Peer, Place } from './peer.ts';
import { openProducer, withMs } from './producer.ts';

const checkpointMs = 2_000;
const parallelism = 2;

/** Java 17 keeps these closed to Flink's serializers. */
const opens = ['util', 'lang', 'time', 'math', 'util.concurrent'].flatMap((name) => [
  '--add-opens',
  `java.base/java.${name}=ALL-UNNAMED`,
]);

/** Each start of the job has a folder in there, and each of its checkpoints one in that. */
function newestCheckpoint(folder: string): string | undefined {
  if (!existsSync(folder)) return undefined;
  const whole = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => /chk-\d+\/_metadata$/.test(path))
    .map((path) => join(folder, path));
  const newest = whole.sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs).at(-1);
  return newest === undefined ? undefined : pathToFileURL(join(newest, '..')).href;
}

async function open(
  { ground, url, run }: Place,
  { name, mode }: { readonly name: string; readonly mode: string },
): Promise<OpenPeer> {
  const broker = await brokerOn(ground);
  const topic = `${name}-${run}`;
  await createTopic(broker, topic);
  const folder = join(ground.folder, topic);
  mkdirSync(folder);
  const checkpoints = join(folder, 'checkpoints');
  const settingsFile = join(folder, 'settings.properties');
  const logging = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn';
  const path = ['-cp', await classPath('flink')];
  const args = ['-Xms512m', '-Xmx1500m', ...opens, logging, ...path, 'Payments', settingsFile];
  const start = () => {
    const restore = newestCheckpoint(checkpoints);
    const settings = {
      mode,
      brokers: broker.address,
      topic,
      database: jdbcUrl(url),
      checkpoints: pathToFileURL(checkpoints).href,
      checkpointMs,
      parallelism,
      ...(restore === undefined ? {} : { restore }),
    };
    writeFileSync(settingsFile, properties(settings));
    return ground.program({ command: 'java', args, cwd: folder, log: join(folder, 'log') });
  };
  const producer = await openProducer(broker, topic, (row) => JSON.stringify(withMs(row)));
  let program = start();
  return {
    submit: (unit) => producer.submit(unit),
    check: () => program.check(),
    crash: () => program.crash(),
    async restart() {
      program = start();
    },
    async close() {
      await producer.close();
      await program.end();
    },
  };
}

function flinkPeer(name: string, modeOf: (run: Place['run']) => string): Peer {
  return {
    name,
    acknowledges: 'server',
    unitRows: 500,
    inFlight: 8,
    rows: 500_000,
    lack: async () =>
      (await lackOfPackages()) ?? (await lackOfJars('kafka')) ?? (await lackOfJars('flink')),
    open: (place) => open(place, { name, mode: modeOf(place.run) }),
  };
}

export const flinkPeers: readonly Peer[] = [
  // Without a key there is nothing to upsert by.
  flinkPeer('flinkUpsert', (run) => (run === 'rates' ? 'upsert' : 'insert')),
  flinkPeer('flinkXa', () => 'xa'),
];
