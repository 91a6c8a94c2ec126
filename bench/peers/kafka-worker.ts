// The batching consumer: kafkajs commits the offsets of a batch after it was inserted.
import pg from 'pg';
import { answerCalls } from '../children.ts';
import { partitions } from './broker.ts';
import { insertUnnested } from './insert.ts';
import { loadKafkajs } from './kafka-library.ts';
import type { Payment } from './rows.ts';

const rowsMax = 5_000;
/** By default 30 s, for which a new consumer waits when the one before was killed. */
const sessionTimeout = 6_000;
const heartbeatInterval = 2_000;
const onlyErrors = 1;

interface Start {
  readonly url: string;
  readonly address: string;
  readonly topic: string;
}

async function start({ url, address, topic }: Start): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: partitions });
  const { Kafka } = await loadKafkajs();
  const kafka = new Kafka({ brokers: [address], logLevel: onlyErrors });
  const consumer = kafka.consumer({ groupId: topic, sessionTimeout, heartbeatInterval });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    partitionsConsumedConcurrently: partitions,
    async eachBatch({ batch: { messages } }) {
      for (let at = 0; at < messages.length; at += rowsMax) {
        const values = messages.slice(at, at + rowsMax).map(({ value }) => String(value));
        await insertUnnested(
          pool,
          values.map((value) => JSON.parse(value) as Payment),
        );
      }
    },
  });
}

answerCalls({ start });
