// `holdfast archive`: the days of a staging table that are done with, written to a folder, then
// dropped. Killed at any moment and started again, it goes on: a day is dropped only once all its
// rows are on disk, and have been read back from there.
import { accessSync, constants } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { systemClock } from '../clock.ts';
import { systemDisk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import type { StagingPartition } from '../target/staging.ts';
import {
  type ArchivedDay,
  archivesOf,
  type Manifest,
  removeParts,
  type Sum,
  Tally,
  writeArchive,
} from './archive-file.ts';
import { readConfig, workingFolder } from './config.ts';
import { Failure, type Result, tableOf } from './output.ts';
import { type Progress, showProgress } from './progress.ts';
import { type OpenStaging, withStaging } from './staged-stream.ts';

/** A page is held in memory; how large rows are is known only from the one before. */
const pageRowsFirst = 50;
const pageRowsMax = 5_000;
const pageCharsMax = 8 * 1024 * 1024;

/** Whoever reads the staging table for long is in the way of dropping a day of it. */
const dropTriesMax = 6;
const dropPauseMs = 250;

const usage = (message: string): HoldfastError => new HoldfastError('HF_USAGE', message);

interface Wanted {
  readonly folder: string;
  readonly isKept: boolean;
  /** Only days before this one; '' for all. */
  readonly before: string;
}

/** What scripts rely on, by these names. */
interface Done {
  readonly day: string;
  readonly rows: number;
  /** Null where the day had no row. */
  readonly file: string | null;
  readonly bytes: number;
  readonly dropped: boolean;
}

interface Waiting {
  readonly day: string;
  readonly reason: string;
}

class Archiving {
  readonly #open: OpenStaging;
  readonly #wanted: Wanted;
  readonly #done: Done[] = [];
  #rows = 0;

  constructor(open: OpenStaging, wanted: Wanted) {
    this.#open = open;
    this.#wanted = wanted;
  }

  async run(): Promise<Result> {
    const { before } = this.#wanted;
    const all = await this.#open.staging.partitions(this.#open.name);
    const today = new Date(systemClock.wallMs()).toISOString().slice(0, 10);
    const past = all.filter(({ day }) => day < today && (before === '' || day < before));
    const ready = past.filter(({ isConfirmed }) => isConfirmed);
    const total = ready.reduce((sum, { rows }) => sum + rows, 0);
    const progress = showProgress(total, { done: 0, rows: 0 });
    try {
      for (const partition of ready) await this.#archive(partition, progress);
    } catch (error) {
      if (this.#done.length === 0) throw error;
      throw new Failure(toArchiveError(error), { stream: this.#open.name, days: this.#done });
    } finally {
      progress.stop();
    }
    const waiting = past.filter(({ isConfirmed }) => !isConfirmed);
    return this.#report(await this.#reasons(waiting));
  }

  async #archive(partition: StagingPartition, progress: Progress): Promise<void> {
    const { day, rows } = partition;
    const { folder, isKept } = this.#wanted;
    const of = { folder, stream: this.#open.name, day };
    const manifest = rows === 0 ? undefined : await this.#written(of, partition, progress);
    if (manifest) await removeParts(of);
    const dropped = !isKept && (await this.#drop(partition.name, manifest?.rows ?? 0));
    const file = manifest ? join(folder, manifest.file) : null;
    this.#done.push({ day, rows: manifest?.rows ?? 0, file, bytes: manifest?.bytes ?? 0, dropped });
  }

  /** The archive that an earlier run has left, or a new one. */
  async #written(
    of: ArchivedDay,
    partition: StagingPartition,
    progress: Progress,
  ): Promise<Manifest> {
    const begun = this.#rows;
    const shown = () => progress.update({ done: this.#rows, rows: this.#rows });
    const known = await archivesOf(of, partition.rows);
    if (known.length > 0) {
      const { digest } = await this.#sum(partition, shown);
      const same = known.find((manifest) => manifest.digest === digest);
      if (same) return same;
      this.#rows = begun;
    }
    try {
      return await writeArchive(of, this.#pages(partition, shown));
    } catch (error) {
      await this.#mustBeThere(partition, error);
      throw toArchiveError(error);
    }
  }

  async #sum(partition: StagingPartition, shown: () => void): Promise<Sum> {
    const tally = new Tally();
    for await (const lines of this.#pages(partition, shown)) {
      for (const line of lines) tally.add(line);
    }
    return tally.sum;
  }

  async *#pages({ name }: StagingPartition, shown: () => void): AsyncGenerator<string[]> {
    const { staging, name: stream } = this.#open;
    let rowsMax = pageRowsFirst;
    for (let from: string | undefined = ''; from !== undefined; ) {
      const page = await staging.archivePage(stream, name, { from, rowsMax });
      const chars = page.lines.reduce((sum, line) => sum + line.length, 0);
      const fitting = Math.floor((pageCharsMax * page.lines.length) / Math.max(chars, 1));
      rowsMax = Math.min(Math.max(fitting, 1), pageRowsMax);
      // Only between the parts of a json value, which is kept as it was given.
      yield page.lines.map((line) => line.replaceAll('\n', ' '));
      this.#rows += page.lines.length;
      shown();
      from = page.next;
    }
  }

  /** A server drops days by itself after `stagingRetention`, archived or not. */
  async #mustBeThere({ name, day }: StagingPartition, cause: unknown): Promise<void> {
    const { staging, name: stream } = this.#open;
    const left = await staging.days(stream);
    if (left.some((partition) => partition.name === name)) return;
    const message =
      `${day} was dropped meanwhile: its stagingRetention had passed. ` +
      'Archive earlier, or set it longer. Its rows are in the table.';
    throw new HoldfastError('HF_ARCHIVE', message, { cause });
  }

  /** Whether the day is gone, all of its `rows` being archived. */
  async #drop(name: string, rows: number): Promise<boolean> {
    const { staging, name: stream } = this.#open;
    for (let tries = 0; tries < dropTriesMax; tries++) {
      if (tries > 0) await systemClock.sleep(dropPauseMs * tries);
      if (await staging.dropPartition(stream, name, rows)) return true;
      const left = await staging.days(stream);
      if (left.every((partition) => partition.name !== name)) return true;
    }
    return false;
  }

  async #reasons(days: readonly StagingPartition[]): Promise<Waiting[]> {
    if (days.length === 0) return [];
    const { oldestAt = Number.POSITIVE_INFINITY } = await this.#open.staging.waiting(
      this.#open.name,
    );
    return days.map(({ day }) => {
      const isMerging = oldestAt < Date.parse(`${day}T00:00:00Z`) + dayMs;
      const confirm = 'merged, but not confirmed yet by the servers that staged its rows';
      return { day, reason: isMerging ? 'rows of it still wait for their merge' : confirm };
    });
  }

  #report(waiting: readonly Waiting[]): Result {
    const { isKept } = this.#wanted;
    const stays = isKept ? [] : this.#done.filter(({ dropped }) => !dropped);
    const rows = this.#done.map(({ day, rows: all, bytes, file, dropped }) => {
      const fate = isKept ? 'kept' : dropped ? 'dropped' : 'stays';
      return [day, all, bytes, file ?? 'no rows', fate];
    });
    const lines = [
      rows.length > 0
        ? tableOf(['day', 'rows', 'bytes', 'archive', 'in the staging table'], rows)
        : 'Nothing to archive: no past day is merged and confirmed.',
      ...stays.map(
        ({ day }) =>
          `${day} stays: somebody was in the way of dropping it, or a row came late. ` +
          'Its archive is whole; start the same command again.',
      ),
      ...waiting.map(({ day, reason }) => `${day} is left alone: ${reason}.`),
    ];
    const json = { stream: this.#open.name, days: this.#done, waiting };
    return { json, text: lines.join('\n'), exit: stays.length > 0 ? 4 : 0 };
  }
}

const dayMs = 24 * 60 * 60 * 1000;

/** What the system says of a file (ENOSPC, EIO …) is an answer, not a bug. */
function toArchiveError(error: unknown): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const isSystem = error instanceof Error && 'syscall' in error;
  const code = isSystem ? 'HF_ARCHIVE' : 'HF_TARGET';
  const message = error instanceof Error ? error.message : String(error);
  return new HoldfastError(code, message, { cause: error });
}

/** Durable, with its parents. */
function makeFolder(given: string): string {
  const folder = resolve(workingFolder(), given);
  try {
    systemDisk.makeDirectory(folder);
    accessSync(folder, constants.W_OK);
    return folder;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HoldfastError('HF_USAGE', `--into: ${folder} cannot be written to: ${why}`, {
      cause,
    });
  }
}

function day(text: string): string {
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text));
  if (isDay) return text;
  throw usage(`--before: "${text}" is not a day (YYYY-MM-DD).`);
}

interface Given {
  readonly config?: string;
  readonly stream?: string;
  readonly into?: string;
  readonly keep?: boolean;
  readonly before?: string;
}

const after = `
Each day whose rows are all merged and confirmed becomes STREAM-DAY.ndjson.gz with a manifest beside
it (rows, digests, lanes). It is read back before the day is dropped. Days are the server's, in UTC.
Servers drop days by themselves after the stream's stagingRetention: archive more often than that.`;

export function addArchive(command: Command, settle: (result: Result) => Promise<void>): void {
  command
    .command('archive')
    .description('write past days of a staged stream to files, then drop them')
    .option('--into <folder>', 'where the archives are to stand')
    .option('--before <day>', 'only days before this one (YYYY-MM-DD)', day)
    .option('--keep', 'write only, drop nothing')
    .addHelpText('after', after)
    .action(async ({ config: file, stream, into, keep, before = '' }: Given) => {
      const config = await readConfig(file);
      if (into === undefined) throw usage('Name a folder with --into.');
      const result = await withStaging(config, stream, (open) =>
        new Archiving(open, { folder: makeFolder(into), isKept: keep === true, before }).run(),
      );
      await settle(result);
    });
}
