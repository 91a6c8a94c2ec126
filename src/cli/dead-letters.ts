// `holdfast dead-letters list | show | replay | drop`. A row goes out as the text that it is;
// nothing here parses it and prints it again.
import type { Command } from 'commander';
import { HoldfastError } from '../errors.ts';
import { readConfig } from './config.ts';
import { streamOf } from './load.ts';
import { Failure, plural, print, type Result, tableOf, write } from './output.ts';
import { type JournalOwner, withOwner } from './owner.ts';

interface Given {
  readonly config?: string;
  readonly stream?: string;
  readonly limit?: number;
  readonly json?: boolean;
}

/** What is shown of a dead letter beside its row. */
interface Shown {
  readonly id: string;
  readonly stream: string;
  readonly code: string;
  readonly message: string;
  readonly attempts: number;
  readonly at: string;
  /** The bytes in base64, where the row never decoded. */
  readonly raw?: string;
  readonly state: string;
}

async function printList(letters: AsyncIterable<string>): Promise<void> {
  const rows: (string | number)[][] = [];
  for await (const some of letters) {
    const shown: readonly Shown[] = JSON.parse(`[${some}]`);
    for (const { id, code, message, attempts, at, state } of shown) {
      rows.push([id, code, message, attempts, at, state]);
    }
  }
  if (rows.length === 0) return print('No dead letters.');
  await print(tableOf(['id', 'code', 'message', 'attempts', 'at', 'state'], rows));
}

/** As they come: all of them may be more than memory has room for. */
async function printJson(letters: AsyncIterable<string>): Promise<void> {
  let before = '{"deadLetters":[';
  let isBegun = false;
  try {
    for await (const some of letters) {
      await write(before + some);
      [before, isBegun] = [',', true];
    }
  } catch (error) {
    if (!isBegun || !(error instanceof HoldfastError)) throw error;
    await write('],');
    throw new Failure(error, {}, isBegun);
  }
  await print(isBegun ? ']}' : `${before}]}`);
}

function showText(json: string): string {
  const { id, stream, code, message, attempts, at, state, raw }: Shown = JSON.parse(json);
  // A quote within a string is written \", so this is never found inside one.
  const row = json.slice(json.indexOf(',"row":') + ',"row":'.length, -1);
  // As a JSON string, so that no byte of it can steer the terminal.
  const bytes = raw === undefined ? undefined : Buffer.from(raw, 'base64').toString();
  return [
    `id        ${id}`,
    `stream    ${stream}`,
    `state     ${state}, ${plural(attempts, 'attempt')}, last ${at}`,
    `reason    ${code}: ${message}`,
    bytes === undefined ? `row       ${row}` : `bytes     ${JSON.stringify(bytes)}`,
  ].join('\n');
}

const whole = (text: string): number => {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new HoldfastError('HF_USAGE', `--limit: "${text}" is not a whole number above 0.`);
};

export function addDeadLetters(command: Command, settle: (result: Result) => Promise<void>): void {
  const group = command
    .command('dead-letters')
    .description('rows that were kept whole because they could not be written');
  const within = async (given: Given, work: (owner: JournalOwner) => Promise<Result>) =>
    settle(await withOwner(await readConfig(given.config), work));
  group
    .command('list')
    .description('the dead letters, of each lane the oldest first')
    .option('--limit <number>', 'how many at most', whole)
    .action(async ({ config: path, stream, limit, json }: Given) => {
      const config = await readConfig(path);
      await withOwner(config, (owner) => {
        const named = stream === undefined ? undefined : streamOf(config, stream);
        const letters = owner.listDeadLetters({ stream: named, limit });
        return json === true ? printJson(letters) : printList(letters);
      });
    });
  group
    .command('show <id>')
    .description('one dead letter with its row')
    .action((id: string, given: Given) =>
      within(given, async (owner) => {
        const json = await owner.showDeadLetter(id);
        return { json, text: showText(json) };
      }),
    );
  group
    .command('replay <id>')
    .description('write its row again, once the cause is repaired')
    .action((id: string, given: Given) =>
      within(given, async (owner) => {
        const end = await owner.replayDeadLetter(id);
        const text = end === 'deadLetter' ? 'It was refused again.' : `Its row is now ${end}.`;
        return { json: { id, end }, text };
      }),
    );
  group
    .command('drop <id>')
    .description('give its row up; a tombstone stays in the books')
    .action((id: string, given: Given) =>
      within(given, async (owner) => {
        await owner.dropDeadLetter(id);
        return { json: { id, dropped: true }, text: 'Dropped.' };
      }),
    );
}
