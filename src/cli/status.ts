// `holdfast status`: the balance of every stream, `unaccounted` first.
import { styleText } from 'node:util';
import type { Command } from 'commander';
import { HoldfastError } from '../errors.ts';
import type { Status, StreamStatus } from '../types.ts';
import { readConfig } from './config.ts';
import { streamOf } from './load.ts';
import { count, plural, type Result, tableOf } from './output.ts';
import { withOwner } from './owner.ts';

const head = ['stream', 'unaccounted', 'accepted', 'merged', 'duplicates', 'superseded'].concat([
  'dead letters',
  'in flight',
  'state',
]);

const levelHead = ['records held, age of the oldest', 'L1 memory', 'journal'].concat([
  'L2 staging',
  'L3 unconfirmed',
]);

/** A level's depth and age; a dash where it holds nothing. */
function heldText({ records, oldestMs }: StreamStatus['levels']['memory']): string {
  if (records === 0) return '–';
  return `${count(records)}, ${(oldestMs / 1000).toFixed(1)} s`;
}

const levelRow = ([name, { levels, route }]: readonly [string, StreamStatus]): string[] => [
  name,
  heldText(levels.memory),
  heldText(levels.journal),
  route === 'direct' ? 'direct' : heldText(levels.staging),
  heldText(levels.table),
];

/** Nothing where the target does not tell, or was not watched yet. */
function contentionText({ contention }: Status['target']): string {
  if (!contention) return '';
  const { windowMs, lockWaits, lockTimeMs, deadlocks, isSampled } = contention;
  const seen = isSampled ? 'seen' : 'counted';
  return (
    `; last ${Math.round(windowMs / 1000)} s: ${plural(lockWaits, 'lock wait')} ${seen}, ` +
    `${count(Math.round(lockTimeMs))} ms of them, ${plural(deadlocks, 'deadlock')}`
  );
}

export function statusText(status: Status): string {
  const streams = Object.entries(status.streams);
  const rows = streams.map(([name, stream]) => [
    name,
    stream.unaccounted,
    stream.accepted,
    stream.merged,
    stream.duplicates,
    stream.superseded,
    stream.deadLetters,
    stream.inFlight,
    stream.reason === undefined ? stream.state : `${stream.state}: ${stream.reason}`,
  ]);
  const missing = streams.reduce((sum, [, stream]) => sum + Math.abs(stream.unaccounted), 0);
  const { journal, target } = status;
  const known = target.reachable ? '' : ', as far as is known without the target';
  const color = missing > 0 ? 'red' : target.reachable ? 'green' : 'yellow';
  const balance = `${plural(missing, 'row')} unaccounted${known}`;
  return [
    styleText(color, balance, { stream: process.stdout }),
    tableOf(head, rows),
    tableOf(levelHead, streams.map(levelRow)),
    `journal ${journal.directory}: ${plural(journal.segments, 'segment')}, ` +
      `${count(journal.bytes)} of ${count(journal.bytesMax)} bytes${journal.full ? ', full' : ''}`,
    `target ${target.url}: ${target.reachable ? 'reachable' : 'not reachable'}` +
      contentionText(target),
  ].join('\n');
}

/** The same status with one stream in it. */
function only(status: Status, name: string): Status {
  const stream: StreamStatus | undefined = status.streams[name];
  if (!stream) throw new HoldfastError('HF_UNKNOWN_STREAM', `There is no stream "${name}".`);
  return { ...status, streams: { [name]: stream } };
}

export function addStatus(command: Command, settle: (result: Result) => Promise<void>): void {
  command
    .command('status')
    .description('the balance of every stream: what was accepted, and how it ended')
    .action(async (given: { readonly config?: string; readonly stream?: string }) => {
      const config = await readConfig(given.config);
      const whole = await withOwner(config, (owner) => owner.status());
      const { stream } = given;
      const status = stream === undefined ? whole : only(whole, streamOf(config, stream));
      await settle({ json: status, text: statusText(status) });
    });
}
