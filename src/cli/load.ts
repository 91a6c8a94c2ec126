// `holdfast load`: a file into a stream, once. Started again after whatever ended it, it goes on
// where the journal has it; its counts cover the whole load.
import { once } from 'node:events';
import { extname } from 'node:path';
import type { Command } from 'commander';
import { errorTable, HoldfastError } from '../errors.ts';
import { behindPrefix } from '../load-prefix.ts';
import { suggestion } from '../options.ts';
import type { Invalid, LoadOptions, LoadResult } from '../types.ts';
import { type Config, readConfig } from './config.ts';
import { type Input, openInput } from './input.ts';
import { count, Failure, plural, type Result, say } from './output.ts';
import { type JournalOwner, reachOwner } from './owner.ts';
import { showProgress } from './progress.ts';
import { onSignals } from './signals.ts';

interface LoadArguments {
  readonly config?: string;
  readonly stream?: string;
  readonly format?: 'ndjson' | 'csv';
  readonly delimiter?: string;
  readonly columns?: readonly string[];
  readonly null?: readonly string[];
  readonly invalid?: Invalid;
}

function loadOptions(file: string, given: LoadArguments): LoadOptions {
  const format = given.format ?? formatOf(file);
  const {
    delimiter = format === 'csv' && isTabs(file) ? '\t' : undefined,
    columns,
    invalid,
  } = given;
  if (format !== 'csv' && (delimiter ?? columns ?? given.null) !== undefined) {
    throw usage('--delimiter, --columns and --null are for --format csv.');
  }
  const csv = {
    ...(delimiter !== undefined && { delimiter }),
    ...(columns && { columns }),
    ...(given.null && { nulls: given.null }),
  };
  return { format, ...(format === 'csv' && { csv }), ...(invalid && { invalid }) };
}

const usage = (message: string): HoldfastError => new HoldfastError('HF_USAGE', message);

const extensionOf = (file: string): string => extname(file.replace(/\.gz$/, '')).toLowerCase();
const isTabs = (file: string): boolean => extensionOf(file) === '.tsv';

function formatOf(file: string): 'ndjson' | 'csv' {
  const extension = extensionOf(file);
  if (extension === '.csv' || extension === '.tsv') return 'csv';
  if (extension === '.ndjson' || extension === '.jsonl') return 'ndjson';
  throw usage(
    `What ${file === '-' ? 'stdin' : file} holds is not known: give --format ndjson or csv.`,
  );
}

/** The stream that is named, or the only one that there is. */
export function streamOf(config: Config, name: string | undefined): string {
  const names = Object.keys(config.complete.streams);
  const [only] = names;
  if (name === undefined) {
    if (only !== undefined && names.length === 1) return only;
    throw usage(`Name one of the streams with --stream: ${names.join(', ')}.`);
  }
  if (names.includes(name)) return name;
  const known = suggestion(name, names) || `; there are: ${names.join(', ')}.`;
  const message = `There is no stream "${name}"${known}`;
  throw new HoldfastError('HF_UNKNOWN_STREAM', message);
}

export interface Load {
  readonly stream: string;
  readonly options: LoadOptions;
  readonly input: Input;
}

/**
 * Brings the input's rows to their ends. An input whose load was complete but not reported is not
 * read again. `tell` gets the result; only when it resolves does the owner forget the load.
 */
export async function runLoad(
  owner: JournalOwner,
  load: Load,
  tell: (result: LoadResult) => Promise<void>,
): Promise<void> {
  const { stream, input } = load;
  const { source } = input;
  const options = { ...load.options, ...(source && { source }) };
  const state = await owner.beginLoad(stream, options);
  if (state.offset > 0 && !state.result) {
    say(`Going on at byte ${count(state.offset)}; ${plural(state.accepted, 'row')} are accepted.`);
  }
  const result = state.result ?? (await sendRows(owner, { ...load, options }, state));
  await tell(result);
  // Unreported, a load that stopped at a refused row stops there again, and doubles nothing.
  if (result.complete) await owner.reportedLoad(state.load);
}

async function sendRows(
  owner: JournalOwner,
  { options, input }: Load,
  state: Awaited<ReturnType<JournalOwner['beginLoad']>>,
): Promise<LoadResult> {
  const from = { done: state.offset, rows: state.accepted };
  const progress = showProgress(input.source?.size, from);
  const stop = new AbortController();
  const release = onSignals(
    () => stop.abort(),
    () => process.exit(errorTable.HF_ABORTED.exit),
  );
  // The wait for the target cannot be aborted from within; what is journaled stays either way.
  const aborted = once(stop.signal, 'abort').then(() => {
    throw new HoldfastError('HF_ABORTED', 'Interrupted.');
  });
  try {
    // Compared first: who waits for bytes meanwhile would give up.
    const rest = await Promise.race([behindPrefix(input.read(), state), aborted]);
    const sent = owner.continueLoad(state, rest, {
      ...options,
      signal: stop.signal,
      onProgress: ({ bytes, accepted }) => progress.update({ done: bytes, rows: accepted }),
    });
    return await Promise.race([sent, aborted]);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    const hint = input.source
      ? 'Start the same command again: it goes on where it stopped.'
      : 'A pipe cannot be gone on with: what was accepted is written, the rest is not.';
    const message = `Interrupted. ${hint}`;
    throw new HoldfastError('HF_ABORTED', message, { cause: error });
  } finally {
    release();
    progress.stop();
  }
}

/** What scripts rely on, by these names. */
const countsOf = (result: LoadResult) => ({
  accepted: result.accepted,
  merged: result.merged,
  duplicates: result.duplicates,
  superseded: result.superseded,
  deadLetters: result.deadLetters,
  rejected: result.rejected,
  seconds: result.seconds,
});

export function loadReport(result: LoadResult): Result {
  if (!result.complete) throw stopped(result);
  const { accepted, merged, duplicates, superseded, deadLetters, rejected, seconds } = result;
  const lines = rejected.map(
    ({ line, column, code, message }) =>
      `line ${line}${column === null ? '' : `, ${column}`}: ${code}: ${message}`,
  );
  const text = [
    `${plural(accepted, 'row')} accepted in ${seconds.toFixed(1)} s: ${count(merged)} merged, ` +
      `${plural(duplicates, 'duplicate')}, ${count(superseded)} superseded, ` +
      `${plural(deadLetters, 'dead letter')}.`,
    ...lines,
  ].join('\n');
  return { json: countsOf(result), text };
}

function stopped(result: LoadResult): Failure {
  const { rejected, accepted } = result;
  const line = rejected[0]?.line;
  const message =
    `Stopped at line ${line}; what stands before it is written (${plural(accepted, 'row')}). ` +
    'Correct it, or keep such rows with --invalid dead-letter. Loaded again, what is written ' +
    'counts as duplicates by its key; where the stream has none, load only the lines from there on.';
  const outcome = accepted > 0 ? 'written' : 'not written';
  const error = new HoldfastError('HF_ROWS_REFUSED', message, { rejected, outcome });
  return new Failure(error, countsOf(result));
}

const list = (text: string): string[] => text.split(',').map((name) => name.trim());
const collect = (text: string, before: readonly string[] = []): string[] => [...before, text];

export function addLoad(command: Command, settle: (result: Result) => Promise<void>): void {
  command
    .command('load')
    .description('bring a file (NDJSON or CSV, also .gz; - for stdin) into a stream, once')
    .argument('<file>', 'file to load, or - for stdin')
    .option(
      '--format <ndjson|csv>',
      "by default after the file's extension",
      oneOf('ndjson', 'csv'),
    )
    .option('--delimiter <character>', 'between the fields of CSV (default ",")')
    .option('--columns <a,b,…>', 'names for the fields; by default the first line names them', list)
    .option('--null <text>', 'a further spelling of null in CSV; repeatable', collect)
    .option(
      '--invalid <reject|dead-letter>',
      'stop at a row that does not fit the table (default), or keep it as a dead letter',
      oneOf('reject', 'dead-letter'),
    )
    .action(async (file: string, given: LoadArguments) => {
      const config = await readConfig(given.config);
      const stream = streamOf(config, given.stream);
      const options = loadOptions(file, given);
      const owner = await reachOwner(config);
      try {
        if (file === '-') say('stdin cannot be resumed: if this is interrupted, load it again.');
        const input = await openInput(file, owner.needsSource);
        try {
          await runLoad(owner, { stream, options, input }, (result) => settle(loadReport(result)));
        } finally {
          input.close();
        }
      } finally {
        await owner.close();
      }
    });
}

/** Takes one of the words, or says which there are. */
function oneOf<T extends string>(...words: readonly T[]): (text: string) => T {
  return (text) => {
    const found = words.find((word) => word === text);
    if (found !== undefined) return found;
    throw usage(`"${text}" is none of ${words.join(', ')}.`);
  };
}
