// A Kafka broker of the bench's own, one for all that need it: one node, KRaft, on loopback.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../../test/support/machine.ts';
import type { Ground } from '../ground.ts';
import { classPath, properties } from './java.ts';
import { loadPlatformatic } from './kafka-library.ts';

const run = promisify(execFile);

export const partitions = 4;
const logging = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn';
const startMsMax = 60_000;
const retryMs = 300;

export interface Broker {
  /** `host:port`. */
  readonly address: string;
}

const brokers = new WeakMap<Ground, Promise<Broker>>();

export function brokerOn(ground: Ground): Promise<Broker> {
  const known = brokers.get(ground) ?? startBroker(ground);
  brokers.set(ground, known);
  return known;
}

async function startBroker(ground: Ground): Promise<Broker> {
  const folder = join(ground.folder, 'kafka');
  mkdirSync(folder);
  const [port, controllerPort] = [await freePort(), await freePort()];
  const address = `127.0.0.1:${port}`;
  const config = join(folder, 'server.properties');
  writeFileSync(config, properties(settings({ folder, address, controllerPort })));
  const path = ['-cp', await classPath('kafka')];
  // 16 bytes in base64, without what is a sign of an option at the beginning.
  const id = randomBytes(16).toString('base64url').replaceAll(/[-_]/g, 'A');
  const format = ['kafka.tools.StorageTool', 'format', '-t', id, '-c', config];
  await run('java', [logging, ...path, ...format], { cwd: folder });
  const args = ['-Xms256m', '-Xmx1g', logging, ...path, 'kafka.Kafka', config];
  const log = join(folder, 'log');
  const program = ground.program({ command: 'java', args, cwd: folder, log });
  await answers(address, () => program.check());
  return { address };
}

const settings = (of: { folder: string; address: string; controllerPort: number }) => ({
  'process.roles': 'broker,controller',
  'node.id': 1,
  'controller.quorum.voters': `1@127.0.0.1:${of.controllerPort}`,
  listeners: `PLAINTEXT://${of.address},CONTROLLER://127.0.0.1:${of.controllerPort}`,
  'advertised.listeners': `PLAINTEXT://${of.address}`,
  'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
  'controller.listener.names': 'CONTROLLER',
  'inter.broker.listener.name': 'PLAINTEXT',
  'log.dirs': join(of.folder, 'data'),
  'offsets.topic.replication.factor': 1,
  'offsets.topic.num.partitions': 4,
  'transaction.state.log.replication.factor': 1,
  'transaction.state.log.min.isr': 1,
  'transaction.state.log.num.partitions': 4,
  'share.coordinator.state.topic.replication.factor': 1,
  'share.coordinator.state.topic.min.isr': 1,
  'group.initial.rebalance.delay.ms': 0,
  'auto.create.topics.enable': false,
});

/** Ready is who makes a topic. */
async function answers(address: string, check: () => void): Promise<void> {
  const giveUpAt = performance.now() + startMsMax;
  for (;;) {
    try {
      return await createTopic({ address }, 'ready');
    } catch (error) {
      check();
      if (performance.now() > giveUpAt) throw error;
      await sleep(retryMs);
    }
  }
}

/**
 * As it comes: with acks=all Kafka answers when a row is in the page cache of all replicas, of one
 * broker here. That survives the broker, not the machine; its documents advise to leave syncing to
 * the operating system, and durability to replicas. (`flush.messages=1` would sync each append and
 * mean disk; it halved what could be handed over.)
 */
export async function createTopic({ address }: Broker, name: string): Promise<void> {
  const { Admin } = await loadPlatformatic();
  const admin = new Admin({ clientId: 'bench', bootstrapBrokers: [address] });
  try {
    await admin.createTopics({ topics: [name], partitions, replicas: 1 });
  } finally {
    await admin.close();
  }
}
