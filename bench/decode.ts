// bench decode: rows/s of decode + check + encode on one thread: NDJSON bodies of 500 rows into
// tuples of the bench table (two bigint, numeric, text, timestamptz, a text that is null in a tenth
// of the rows), lanes by the key included, each body into a new buffer, as `writeBytes` does it.
// `of`: JSON.parse alone on the same bodies, in whichever form was the fastest of the round. It
// checks and encodes nothing, and numbers beyond 2 ** 53 are not exact.
//
// latin1Lines: the body as Latin-1, which breaks all but ASCII; JSON.parse of each line.
// utf8Lines: the body as UTF-8, split; JSON.parse of each line.
// eachLine: each line as UTF-8 by itself; JSON.parse of it. What people write.
// array: line ends made commas, brackets around, one JSON.parse.
//
// By this thread's CPU time, so that a wait for a core does not count; collecting garbage on other
// threads does not either, which favours JSON.parse. All take turns in slices, on the same bodies.
import assert from 'node:assert/strict';
import process from 'node:process';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import type { BenchOptions, Figures, Size } from './figures.ts';
import { CpuMeter } from './machine.ts';
import { Body, bodyRows, paymentsReader } from './payments.ts';
import { inWords, type Rate, type Round, rateFigure, takeRounds } from './rounds.ts';

const rounds: { readonly [size in Size]: number } = { tiny: 1, usual: 7, full: 21 };
/** Each form gets this much of a round, in slices. */
const roundMs: { readonly [size in Size]: number } = { tiny: 20, usual: 600, full: 1_500 };
const sliceMs = 20;
/** 6 MB of them: more than a core's own caches hold. */
const bodyCount = 64;
const lineEnd = 10;

/** Takes one body; answers with how many rows it found. */
type Form = (body: Buffer) => number;

const parsers: { readonly [name: string]: Form } = {
  latin1Lines: (body) => parseLines(body.toString('latin1')),
  utf8Lines: (body) => {
    let rows = 0;
    for (const line of body.toString().split('\n')) if (line !== '' && JSON.parse(line)) rows++;
    return rows;
  },
  eachLine: (body) => {
    let rows = 0;
    for (let at = 0; at < body.length; rows++) {
      const end = body.indexOf(lineEnd, at);
      JSON.parse(body.toString('utf8', at, end));
      at = end + 1;
    }
    return rows;
  },
  array: (body) => {
    const text = body.toString('utf8', 0, body.length - 1).replaceAll('\n', ',');
    return (JSON.parse(`[${text}]`) as unknown[]).length;
  },
};

function parseLines(text: string): number {
  let rows = 0;
  for (let at = 0; at < text.length; rows++) {
    const end = text.indexOf('\n', at);
    JSON.parse(text.slice(at, end));
    at = end + 1;
  }
  return rows;
}

function decoder(): Form {
  const reader = paymentsReader();
  return (body) => {
    const rows = new RowBuffer(body.length, body.length >> 6);
    const { rejected } = reader.ndjson(body, rows);
    assert.equal(rejected.length, 0, 'the rows fit their table');
    return rows.count;
  };
}

export async function benchDecode(options: BenchOptions): Promise<Figures> {
  const { size } = options;
  const bodies = Array.from({ length: bodyCount }, (_, i) => {
    const body = new Body();
    body.setKeys(i * bodyRows);
    return body.bytes;
  });
  const forms = new Map([['decode', decoder()], ...Object.entries(parsers)]);
  const taken = await takeRounds(options, {
    rounds: rounds[size],
    take: async () => takeRound(forms, bodies, roundMs[size]),
    tell: ({ rate }) => inWords(rate),
  });
  return Object.fromEntries(
    [...forms.keys()].map((name) => [
      name,
      rateFigure(taken, name, name === 'decode' ? 'fastest' : undefined),
    ]),
  );
}

interface Spent {
  rows: number;
  cpuUs: number;
}

function takeRound(
  forms: ReadonlyMap<string, Form>,
  bodies: readonly Buffer[],
  ms: number,
): Round<Rate> {
  const spent = new Map([...forms].map(([name]): [string, Spent] => [name, { rows: 0, cpuUs: 0 }]));
  const meter = new CpuMeter();
  for (let slice = 0; slice < ms / sliceMs; slice++) {
    for (const [name, form] of forms) {
      const on = spent.get(name);
      if (on) spend(on, form, bodies);
    }
  }
  const others = meter.others();
  const round = new Map<string, Rate>();
  for (const [name, { rows, cpuUs }] of spent)
    round.set(name, { rate: (rows * 1e6) / cpuUs, others });
  const rates = Object.keys(parsers).map((name) => round.get(name)?.rate ?? 0);
  return round.set('fastest', { rate: Math.max(...rates), others });
}

/** One slice of bodies, one after another. */
function spend(on: Spent, form: Form, bodies: readonly Buffer[]): void {
  const begun = process.threadCpuUsage();
  let us = 0;
  for (let i = 0; us < sliceMs * 1000; i++) {
    const body = bodies[i % bodies.length];
    assert(body);
    assert.equal(form(body), bodyRows, 'every row is found');
    on.rows += bodyRows;
    const { user, system } = process.threadCpuUsage(begun);
    us = user + system;
  }
  on.cpuUs += us;
}
