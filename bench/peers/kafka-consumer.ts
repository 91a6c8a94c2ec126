// Kafka with a consumer of ours that inserts what a fetch brings, up to 5,000 rows a statement, and
// commits its offsets afterwards, as Kafka's documents have it for at least once.
//
// Good at: many readers of the same rows, each at its own pace; rows are kept and read again; it
// scales over machines; the database may be away.
//
// Acknowledged: by the broker with acks=all, which is in its page cache (broker.ts): server. A
// consumer that is killed between its insert and its commit inserts those rows again.
import { brokerOn, createTopic } from './broker.ts';
import { lackOfJars } from './java.ts';
import { Mover } from './mover.ts';
import { lackOfPackages } from './packages.ts';
import type { OpenPeer, Peer, Place } from './peer.ts';
import { openProducer } from './producer.ts';

async function open({ ground, url, run }: Place): Promise<OpenPeer> {
  const broker = await brokerOn(ground);
  const topic = `consumer-${run}`;
  await createTopic(broker, topic);
  const producer = await openProducer(broker, topic, (row) => JSON.stringify(row));
  const argument = { url, address: broker.address, topic };
  const mover = await Mover.start(ground, { file: 'peers/kafka-worker.ts', argument });
  return {
    submit: (unit) => producer.submit(unit),
    crash: () => mover.crash(),
    restart: () => mover.restart(),
    async close() {
      await mover.end();
      await producer.close();
    },
  };
}

export const kafkaConsumer: Peer = {
  name: 'kafkaConsumer',
  acknowledges: 'server',
  unitRows: 500,
  inFlight: 8,
  rows: 500_000,
  lack: async () => (await lackOfPackages()) ?? (await lackOfJars('kafka')),
  open,
};
