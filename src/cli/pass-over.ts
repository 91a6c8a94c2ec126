// `holdfast pass-over`: what neither the target nor the journal has any more of a stream, and,
// where it is told so, the order to give that up.
import type { Command } from 'commander';
import type { LostRange } from '../merge/lost.ts';
import { readConfig } from './config.ts';
import { streamOf } from './load.ts';
import { plural, type Result, tableOf } from './output.ts';
import { withOwner } from './owner.ts';

function passOverReport(stream: string, ranges: readonly LostRange[], isDone: boolean): Result {
  const counted = ranges.map((range) => ({ ...range, records: range.last - range.first + 1 }));
  const records = counted.reduce((sum, range) => sum + range.records, 0);
  const what = `${plural(records, 'record')} of stream "${stream}"`;
  const lines = [
    isDone
      ? `${what} passed over: unaccounted from now on.`
      : `${what} would be passed over. Nothing is changed.`,
    tableOf(
      ['lane', 'first', 'last', 'records'],
      counted.map(({ lane, first, last, records: own }) => [lane, first, last, own]),
    ),
    ...(isDone ? [] : ['They are lost. With --yes they are given up, and the stream goes on.']),
  ];
  return { json: { stream, records, ranges, passedOver: isDone }, text: lines.join('\n') };
}

interface Given {
  readonly config?: string;
  readonly stream?: string;
  readonly yes?: boolean;
}

const after = `
A target that went back (a failover, a restored backup) gets what it lacks from the journal. Where
it went back further than the retained journal reaches, the stream is held: records between are in
neither of the two. Look for them elsewhere first: a newer backup, the old primary, the sender.
Once they are passed over they stay "unaccounted", and verify says so.`;

export function addPassOver(command: Command, settle: (result: Result) => Promise<void>): void {
  command
    .command('pass-over')
    .description('give up records that target and journal have both lost')
    .option('--yes', 'do it; without this it only says what would be given up')
    .addHelpText('after', after)
    .action(async (given: Given) => {
      const config = await readConfig(given.config);
      const stream = streamOf(config, given.stream);
      const isDone = given.yes === true;
      const ranges = await withOwner(config, (owner) =>
        owner.passOver(stream, { dryRun: !isDone }),
      );
      await settle(passOverReport(stream, ranges, isDone));
    });
}
