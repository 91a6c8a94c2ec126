// What bench files does with a file, in the product's process: a load through the library, and the
// decoder alone over the same bytes.
import assert from 'node:assert/strict';
import { createReadStream, readFileSync } from 'node:fs';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import { open as openHoldfast } from '../src/holdfast.ts';
import type { Holdfast } from '../src/types.ts';
import { answerCalls } from './children.ts';
import { paymentsReader } from './payments.ts';

export interface Opening {
  readonly journal: string;
  readonly target: string;
}

export interface Source {
  readonly path: string;
  readonly format: 'ndjson' | 'csv';
  readonly rows: number;
}

/** As `holdfast load` reads. */
const chunkBytes = 1024 * 1024;
let running: Holdfast | undefined;

function product(): Holdfast {
  if (!running) throw new Error('open comes first');
  return running;
}

async function open({ journal, target }: Opening): Promise<void> {
  const streams = { payments: { table: 'payments', key: ['tx_id'] } };
  running = await openHoldfast({ journal, target, streams });
}

/** Seconds until all rows of the file are on disk; returns once they are settled. */
async function load({ path, format, rows }: Source): Promise<number> {
  const begun = performance.now();
  let seconds = 0;
  const { merged } = await product().load(
    'payments',
    createReadStream(path, { highWaterMark: chunkBytes }),
    {
      format,
      onProgress: ({ accepted }) => {
        if (accepted === rows) seconds ||= (performance.now() - begun) / 1000;
      },
    },
  );
  assert.equal(merged, rows, 'every row is in the table once');
  assert(seconds > 0, 'the load told when all was accepted');
  return seconds;
}

/** Seconds of the decoder alone, chunk after chunk. */
function decode({ path, format, rows }: Source): number {
  const reader = paymentsReader();
  const bytes = readFileSync(path);
  const csv = reader.csv({});
  let count = 0;
  const begun = performance.now();
  for (let at = 0; at < bytes.length; ) {
    const chunk = bytes.subarray(at, at + chunkBytes);
    const whole = chunk.subarray(0, chunk.lastIndexOf(10) + 1);
    const rowsOf = new RowBuffer(whole.length, whole.length >> 6);
    if (format === 'csv') csv.read(whole, rowsOf);
    else reader.ndjson(whole, rowsOf);
    count += rowsOf.count;
    at += whole.length;
  }
  const seconds = (performance.now() - begun) / 1000;
  assert.equal(count, rows, 'every row was decoded');
  return seconds;
}

/** Seconds. */
async function verify(): Promise<number> {
  const begun = performance.now();
  const { ok } = await product().verify();
  assert(ok, 'the journal and the table agree');
  return (performance.now() - begun) / 1000;
}

async function close(): Promise<void> {
  await running?.close();
}

answerCalls({ open, load, decode, verify, close });
