// The Kafka clients, as far as bench peers calls them. To produce: @platformatic/kafka, which is the
// fastest here; to consume: kafkajs, whose `eachBatch` is what a batching consumer is written with.
import { loadPackage } from './packages.ts';

interface Client {
  close(): Promise<void>;
}

interface Admin extends Client {
  createTopics(options: {
    readonly topics: readonly string[];
    readonly partitions: number;
    readonly replicas: number;
  }): Promise<unknown>;
}

interface Message {
  readonly topic: string;
  readonly partition: number;
  readonly value: Buffer;
}

interface Producer extends Client {
  send(options: { readonly acks: number; readonly messages: readonly Message[] }): Promise<unknown>;
}

interface ClientOptions {
  readonly clientId: string;
  readonly bootstrapBrokers: readonly string[];
}

interface Platformatic {
  readonly Admin: new (options: ClientOptions) => Admin;
  readonly Producer: new (options: ClientOptions) => Producer;
}

export const loadPlatformatic = (): Promise<Platformatic> =>
  loadPackage<Platformatic>('@platformatic/kafka');

interface Batch {
  readonly batch: { readonly messages: readonly { readonly value: Buffer }[] };
}

interface Consumer {
  connect(): Promise<void>;
  subscribe(options: {
    readonly topics: readonly string[];
    readonly fromBeginning: boolean;
  }): Promise<void>;
  run(options: {
    readonly partitionsConsumedConcurrently: number;
    readonly eachBatch: (batch: Batch) => Promise<void>;
  }): Promise<void>;
}

interface Kafkajs {
  readonly Kafka: new (options: {
    readonly brokers: readonly string[];
    readonly logLevel: number;
  }) => {
    consumer(options: {
      readonly groupId: string;
      readonly sessionTimeout: number;
      readonly heartbeatInterval: number;
    }): Consumer;
  };
}

/** CommonJS: its exports are its default export's. */
export const loadKafkajs = async (): Promise<Kafkajs> =>
  (await loadPackage<{ readonly default: Kafkajs }>('kafkajs')).default;
