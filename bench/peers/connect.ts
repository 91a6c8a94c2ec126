// Kafka Connect, standalone, with the Debezium JDBC sink: no code to write.
//
// Good at: all that Kafka is good at, and a table that follows a topic by configuration alone:
// upserts, deletes, schema changes, transforms, hundreds of sources and sinks. Each message carries
// its schema here, as the JSON converter wants it without a registry.
//
// Acknowledged: by the broker, as for the consumer (kafka-consumer.ts): server. Offsets are committed
// now and then (`offset.flush.interval.ms`, a minute by default, 5 s here): what was written since is
// written again after a crash. With a key it upserts, and nothing is seen of that.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../test/support/machine.ts';
import { type Broker, brokerOn, createTopic } from './broker.ts';
import { classPath, jdbcUrl, lackOfJars, properties } from './java.ts';
import { lackOfPackages } from './packages.ts';
import type { OpenPeer, Peer, Place } from './peer.ts';
import { openProducer, withMs } from './producer.ts';
import type { Payment } from './rows.ts';

const batchRows = 5_000;

const field = (name: string, type: string, more: object = {}) => ({
  field: name,
  type,
  optional: false,
  ...more,
});

const schema = JSON.stringify({
  type: 'struct',
  name: 'payment',
  optional: false,
  fields: [
    field('tx_id', 'int64'),
    field('user_id', 'int64'),
    field('amount', 'double'),
    field('status', 'string'),
    field('created_at', 'int64', { name: 'io.debezium.time.Timestamp', version: 1 }),
    field('note', 'string', { optional: true }),
  ],
});

const message = (row: Payment): string => {
  const payload = JSON.stringify({ ...withMs(row), amount: Number(row.amount) });
  return `{"schema":${schema},"payload":${payload}}`;
};

const workerSettings = ({ address }: Broker, folder: string, port: number) => ({
  'bootstrap.servers': address,
  'key.converter': 'org.apache.kafka.connect.json.JsonConverter',
  'key.converter.schemas.enable': false,
  'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
  'value.converter.schemas.enable': true,
  'offset.storage.file.filename': join(folder, 'offsets'),
  'offset.flush.interval.ms': 5_000,
  listeners: `http://127.0.0.1:${port}`,
  // 500 by default, and no batch of the sink is larger.
  'consumer.max.poll.records': batchRows,
  'consumer.fetch.max.bytes': 52_428_800,
  'consumer.max.partition.fetch.bytes': 10_485_760,
  // 45 s by default, for which a new worker waits when the one before was killed.
  'consumer.session.timeout.ms': 6_000,
  'consumer.heartbeat.interval.ms': 2_000,
});

const sinkSettings = ({ url, run }: Place, topic: string) => ({
  name: topic,
  'connector.class': 'io.debezium.connector.jdbc.JdbcSinkConnector',
  'tasks.max': 1,
  topics: topic,
  'connection.url': jdbcUrl(url),
  'connection.username': 'postgres',
  'connection.password': 'none',
  'schema.evolution': 'none',
  'collection.name.format': 'payments',
  'batch.size': batchRows,
  ...(run === 'rates'
    ? { 'insert.mode': 'upsert', 'primary.key.mode': 'record_value', 'primary.key.fields': 'tx_id' }
    : { 'insert.mode': 'insert', 'primary.key.mode': 'none' }),
});

async function open(place: Place): Promise<OpenPeer> {
  const { ground, run } = place;
  const broker = await brokerOn(ground);
  const topic = `connect-${run}`;
  await createTopic(broker, topic);
  const folder = join(ground.folder, topic);
  mkdirSync(folder);
  const [worker, sink] = [join(folder, 'worker.properties'), join(folder, 'sink.properties')];
  writeFileSync(worker, properties(workerSettings(broker, folder, await freePort())));
  writeFileSync(sink, properties(sinkSettings(place, topic)));
  const main = 'org.apache.kafka.connect.cli.ConnectStandalone';
  const logging = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn';
  const path = ['-cp', await classPath('kafka')];
  const args = ['-Xms512m', '-Xmx1500m', logging, ...path, main, worker, sink];
  const start = () =>
    ground.program({ command: 'java', args, cwd: folder, log: join(folder, 'log') });
  const producer = await openProducer(broker, topic, message);
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

export const kafkaConnect: Peer = {
  name: 'kafkaConnect',
  acknowledges: 'server',
  unitRows: 500,
  inFlight: 8,
  rows: 200_000,
  lack: async () => (await lackOfPackages()) ?? (await lackOfJars('kafka')),
  open,
};
