// `holdfast journal ls | check | dump | salvage`: looks at a journal's files without owning it, and
// never changes them.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { TextBuffer } from '../accept/text-buffer.ts';
import { systemDisk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import {
  checkJournal,
  type DumpedRecord,
  dumpJournal,
  listSegments,
  salvageJournal,
} from '../journal/inspect.ts';
import { readConfig, workingFolder } from './config.ts';
import { count, Failure, plural, type Result, tableOf, write } from './output.ts';

interface Given {
  readonly config?: string;
  readonly journal?: string;
  readonly stream?: string;
}

/** The directory that --journal names, or the configuration's. */
async function directoryOf({ config, journal }: Given): Promise<string> {
  const given = journal ?? (await readConfig(config)).options.journal;
  const directory = resolve(workingFolder(), given);
  if (systemDisk.list(directory).length > 0) return directory;
  throw new HoldfastError('HF_NOT_FOUND', `There is no journal in ${directory}.`);
}

const timeOf = (ms: number): string => (ms === 0 ? '' : new Date(ms).toISOString());

function lsReport(directory: string): Result {
  const listed = listSegments(systemDisk, directory);
  const rows = listed.segments.map(({ file, bytes, used, blocks, records, from, to }) => [
    file,
    bytes,
    used,
    blocks,
    records,
    timeOf(from),
    timeOf(to),
  ]);
  const head = ['segment', 'bytes', 'used', 'blocks', 'records', 'from', 'to'];
  return { json: listed, text: tableOf(head, rows) };
}

function checkReport(directory: string): Result {
  const check = checkJournal(systemDisk, directory);
  const { problems, segments, records, isTorn } = check;
  const lines = problems.map(({ file, offset, message }) => `${file}, byte ${offset}: ${message}`);
  if (!check.ok) {
    const message = `${lines.join('\n')}\n\`holdfast journal salvage\` writes out what is sound.`;
    throw new Failure(new HoldfastError('HF_CORRUPT', message), check);
  }
  const torn = isTorn ? ' The last group is torn; the next open cuts it.' : '';
  const text = `${plural(records, 'record')} in ${plural(segments, 'segment')}: sound.${torn}`;
  return { json: check, text };
}

/** One record as a line of JSON, the row as the text that it is. */
function putRecord(out: TextBuffer, record: DumpedRecord): void {
  const { stream, lane, sequence, row, raw, code } = record;
  out.utf8(`{"stream":${JSON.stringify(stream)},"lane":${lane},"sequence":${sequence},`);
  if (code !== undefined) out.utf8(`"code":${JSON.stringify(code)},`);
  if (raw) out.utf8(`"raw":"${Buffer.from(raw).toString('base64')}",`);
  out.utf8('"row":');
  if (row) {
    out.reserve(row.length);
    out.copy(row);
  } else out.utf8('null');
  out.utf8('}');
}

/** What is gathered before it is written. */
const outputBytesMax = 64 * 1024;

async function dump(directory: string, stream: string | undefined, isJson: boolean): Promise<void> {
  const [open, between, end] = isJson ? ['{"records":[', ',\n', ']}'] : ['', '\n', ''];
  const out = new TextBuffer(2 * outputBytesMax);
  const flush = async (): Promise<void> => {
    await write(out.bytes.subarray(0, out.at));
    out.at = 0;
  };
  out.utf8(open);
  let separator = '';
  try {
    for (const record of dumpJournal(systemDisk, directory)) {
      if (stream !== undefined && record.stream !== stream) continue;
      out.utf8(separator);
      separator = between;
      putRecord(out, record);
      if (out.at > outputBytesMax) await flush();
    }
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (isJson) out.utf8('],');
    await flush();
    throw new Failure(error, {}, isJson);
  }
  out.utf8(`${end}\n`);
  await flush();
}

function salvageReport(directory: string, into: string): Result {
  if (systemDisk.list(into).length > 0) {
    throw new HoldfastError('HF_USAGE', `${into} is not empty. Name a new folder with --into.`);
  }
  const found = salvageJournal(systemDisk, directory, into);
  const kept = found.kept.map(
    ({ stream, records, file }) => `${plural(records, 'record')} of ${stream} in ${file}`,
  );
  const lost = found.lost.map(
    ({ file, from, to }) => `unreadable: ${file}, bytes ${count(from)} to ${count(to)}`,
  );
  const hint = 'Load the files with `holdfast load FILE --stream NAME`; a key drops what is there.';
  return { json: found, text: [...kept, ...lost, hint].join('\n') };
}

export function addJournal(command: Command, settle: (result: Result) => Promise<void>): void {
  const group = command
    .command('journal')
    .description('look into the files of a journal; nothing here changes them');
  const add = (name: string, description: string) =>
    group
      .command(name)
      .description(description)
      .option('--journal <directory>', "by default the configuration's");
  add('ls', 'the segments, what they hold and from when').action(async (given: Given) =>
    settle(lsReport(await directoryOf(given))),
  );
  add('check', 'read every byte as recovery would').action(async (given: Given) =>
    settle(checkReport(await directoryOf(given))),
  );
  add('dump', 'every record as a line of JSON').action(
    async (given: Given & { readonly json?: boolean }) =>
      dump(await directoryOf(given), given.stream, given.json === true),
  );
  add('salvage', 'write every sound record into NDJSON files, to be loaded again')
    .requiredOption('--into <directory>', 'a new folder')
    .action(async (given: Given & { readonly into: string }) =>
      settle(salvageReport(await directoryOf(given), resolve(workingFolder(), given.into))),
    );
}
