// BullMQ, as far as bench peers calls it.
import { loadPackage } from './packages.ts';

interface Connection {
  readonly connection: { readonly path: string };
}

interface Queue {
  add(name: string, data: object, options: JobOptions): Promise<unknown>;
  getJobCounts(...states: string[]): Promise<{ readonly [state: string]: number }>;
  close(): Promise<void>;
}

interface JobOptions {
  readonly jobId: string;
  readonly removeOnComplete: { readonly count: number };
}

interface WorkerOptions extends Connection {
  readonly concurrency: number;
  readonly lockDuration: number;
  readonly stalledInterval: number;
}

interface Library {
  readonly Queue: new (name: string, options: Connection) => Queue;
  readonly Worker: new (
    name: string,
    work: (job: { readonly data: unknown }) => Promise<void>,
    options: WorkerOptions,
  ) => { on(event: 'error', listener: (error: Error) => void): unknown };
}

export const loadBullmq = (): Promise<Library> => loadPackage<Library>('bullmq');

export const queue = 'payments';
