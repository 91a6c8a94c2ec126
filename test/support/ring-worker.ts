// A thread that is one side of a ring under test, and tells how it ended.
import { parentPort, workerData } from 'node:worker_threads';
import { RingConsumer } from '../../src/threads/ring-consumer.ts';
import { RingProducer } from '../../src/threads/ring-producer.ts';
import type { SideName } from '../../src/threads/ring-side.ts';
import { consume, type Flow, produce } from './ring-flow.ts';

export interface RingThreadStart {
  readonly side: SideName;
  readonly memory: SharedArrayBuffer;
  readonly flow: Flow;
}

const port = parentPort;
if (!port) throw new Error('This file is the entry of a worker thread.');
const { side, memory, flow } = workerData as RingThreadStart;
// Waiting by `waitAsync` keeps no thread alive, a port with a listener does.
port.on('message', () => port.close());
const flown =
  side === 'producer'
    ? await produce(new RingProducer(memory), flow)
    : await consume(new RingConsumer(memory), flow);
port.postMessage(flown);
port.close();
