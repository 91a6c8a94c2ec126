// The command line as a whole: which commands there are, what every one of them takes, and that
// whatever happens is told once, in the form that was asked for.
import { Command, CommanderError } from 'commander';
import { HoldfastError } from '../errors.ts';
import { addArchive } from './archive.ts';
import { addDeadLetters } from './dead-letters.ts';
import { addDedupe } from './dedupe.ts';
import { addInit } from './init.ts';
import { addJournal } from './journal.ts';
import { addLoad } from './load.ts';
import { exitCodes, type Result, report, reportFailure } from './output.ts';
import { addPassOver } from './pass-over.ts';
import { addServe } from './serve.ts';
import { addStart } from './start.ts';
import { addStatus } from './status.ts';
import { addVerify } from './verify.ts';
import { ownVersion } from './version.ts';

/** Options that every command takes. */
function addCommon(command: Command): void {
  for (const own of command.commands) {
    if (own.commands.length > 0) addCommon(own);
    else {
      own
        .option('--config <file>', 'by default holdfast.config.ts, .js or .json here')
        .option('--stream <name>', 'one stream')
        .option('--json', 'exactly one JSON object on stdout, also on failure')
        .addHelpText('after', () => `\n${exitCodes()}`);
    }
  }
}

/** Commander's own complaints are told like any other, so it must neither write nor leave. */
function hush(command: Command): void {
  command.exitOverride().configureOutput({ outputError: () => undefined });
  for (const own of command.commands) hush(own);
}

function programOf(settle: (result: Result) => Promise<void>): Command {
  const program = new Command('holdfast')
    .description('A durable, exactly-once write path in front of a SQL database.')
    .version(ownVersion())
    .addHelpText('after', () => `\n${exitCodes()}`);
  addServe(program);
  addLoad(program, settle);
  addStatus(program, settle);
  addVerify(program, settle);
  addDeadLetters(program, settle);
  addArchive(program, settle);
  addDedupe(program, settle);
  addPassOver(program, settle);
  addJournal(program, settle);
  addInit(program, settle);
  addStart(program);
  addCommon(program);
  hush(program);
  return program;
}

const aliveMs = 60_000;

/**
 * Runs one command line; what it says goes to stdout and stderr, how it leaves to process.exitCode.
 */
export async function run(args: readonly string[]): Promise<void> {
  const isJson = args.includes('--json');
  // Whoever writes gets the error too, and with it the command ends.
  process.stdout.on('error', () => undefined);
  // The library keeps no process alive; a command does, until it has ended.
  const alive = setInterval(() => undefined, aliveMs);
  try {
    await programOf((result) => report(result, isJson)).parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (isUnread(error)) await reportFailure(unread, false);
    else if (!(error instanceof CommanderError)) await reportFailure(error, isJson);
    // Help and version that were asked for.
    else if (error.exitCode !== 0) await reportFailure(complaint(error), isJson);
  } finally {
    clearInterval(alive);
  }
}

const isUnread = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EPIPE';
const unread = new HoldfastError('HF_ABORTED', 'Nobody reads what this says (EPIPE).');

function complaint({ code, message }: CommanderError): HoldfastError {
  const text =
    code === 'commander.help'
      ? 'Name a command; `holdfast --help` lists them.'
      : message.replace(/^error: /, '').replaceAll('\n', ' ');
  return new HoldfastError('HF_USAGE', text);
}
