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
  const color = missing === 0 ? 'green' : 'red';
  return [
    styleText(color, `${plural(missing, 'row')} unaccounted`, { stream: process.stdout }),
    tableOf(head, rows),
    `journal ${journal.directory}: ${plural(journal.segments, 'segment')}, ` +
      `${count(journal.bytes)} of ${count(journal.bytesMax)} bytes${journal.full ? ', full' : ''}`,
    `target ${target.url}: ${target.reachable ? 'reachable' : 'not reachable'}`,
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
