// Whoever hands rows to Kafka: a message a row, 500 a send to one partition, the partitions in turn,
// with acks=all.
import { type Broker, partitions } from './broker.ts';
import { loadPlatformatic } from './kafka-library.ts';
import type { Unit } from './peer.ts';
import { type Payment, paymentsOf } from './rows.ts';

/** The constructor's `acks` is not looked at by `send`. */
const acksAll = -1;

export interface OpenProducer {
  submit(unit: Unit): Promise<void>;
  close(): Promise<void>;
}

export async function openProducer(
  { address }: Broker,
  topic: string,
  message: (row: Payment) => string,
): Promise<OpenProducer> {
  const { Producer } = await loadPlatformatic();
  const producer = new Producer({ clientId: 'bench', bootstrapBrokers: [address] });
  let turn = 0;
  return {
    async submit(unit) {
      const partition = turn++ % partitions;
      const messages = paymentsOf(unit).map((row) => ({
        topic,
        partition,
        value: Buffer.from(message(row)),
      }));
      await producer.send({ acks: acksAll, messages });
    },
    close: () => producer.close(),
  };
}

/** Times as milliseconds, as the JVM ones want them. */
export const withMs = (row: Payment) => ({ ...row, created_at: Date.parse(row.created_at) });
