// `holdfast verify`: journal, ledger and table compared. Leaves with 1 when they differ.
import type { Command } from 'commander';
import type { VerifyResult } from '../types.ts';
import { readConfig } from './config.ts';
import { streamOf } from './load.ts';
import { plural, type Result, say, tableOf } from './output.ts';
import { withOwner } from './owner.ts';

const shownMax = 50;

function verifyReport(result: VerifyResult): Result {
  const { ok, checked, differences, notCheckable } = result;
  const rows = differences
    .slice(0, shownMax)
    .map(({ stream, kind, key, message }) => [stream, kind, key ?? '', message]);
  const more = differences.length - rows.length;
  const parts = [
    ok ? 'The books balance.' : `${plural(differences.length, 'difference')} found.`,
    ...(rows.length > 0 ? [tableOf(['stream', 'kind', 'key', 'what'], rows)] : []),
    ...(more > 0 ? [`… and ${plural(more, 'further one')}; --json lists them all.`] : []),
    `${plural(checked, 'record')} of the journal found equal in the table.`,
    ...notCheckable.map(
      ({ stream, records, reason }) =>
        `${stream}: ${plural(records, 'record')} not checkable: ${reason}`,
    ),
  ];
  return { json: result, text: parts.join('\n'), exit: ok ? 0 : 1 };
}

/** A line on stderr at each tenth. */
function tenths(): (share: number) => void {
  let shown = 0;
  return (share) => {
    const tenth = Math.floor(share * 10);
    if (tenth <= shown) return;
    shown = tenth;
    say(`${tenth * 10} % compared`);
  };
}

export function addVerify(command: Command, settle: (result: Result) => Promise<void>): void {
  command
    .command('verify')
    .description('compare journal, ledger and table; leave with 1 when they differ')
    .action(async (given: { readonly config?: string; readonly stream?: string }) => {
      const config = await readConfig(given.config);
      const stream = given.stream === undefined ? undefined : streamOf(config, given.stream);
      const result = await withOwner(config, (owner) =>
        owner.verify({ ...(stream !== undefined && { stream }), onProgress: tenths() }),
      );
      await settle(verifyReport(result));
    });
}
