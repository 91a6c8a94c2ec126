// An archive of one day of a staging table: rows as NDJSON, compressed, and a manifest beside it
// that says what must be in there.
//
//   STREAM-YYYY-MM-DD.ndjson.gz      a line a row: {"writer","lane","sequence","row":{…}}, by place
//   STREAM-YYYY-MM-DD.manifest.json  interface Manifest
//
// Both are there and agree, or the archive does not count. The rows are written under another name,
// synced and read back; then the manifest gets its name, then the rows get theirs: whatever stands
// under the name of an archive is whole, and is never written over. Another archive of the same day
// (a row that came late; another database) is numbered: STREAM-YYYY-MM-DD.2.ndjson.gz.
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createGunzip, createGzip } from 'node:zlib';
import { systemDisk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import { ownVersion } from './version.ts';

export interface ArchivedDay {
  readonly folder: string;
  readonly stream: string;
  readonly day: string;
}

interface LaneRange {
  readonly writer: string;
  readonly lane: number;
  /** Sequences. */
  first: number;
  last: number;
  rows: number;
}

/** What lines amount to, in whatever order they come. */
export interface Sum {
  readonly rows: number;
  /** Sum of the lines' CRC-32 modulo 2^64, 16 digits hex. */
  readonly digest: string;
}

export interface Manifest extends Sum {
  readonly stream: string;
  readonly day: string;
  readonly file: string;
  readonly bytes: number;
  /** Of the file, hex. */
  readonly sha256: string;
  readonly lanes: readonly LaneRange[];
  readonly writtenAt: string;
  readonly holdfast: string;
}

const place = /^\{"writer":"([^"]*)","lane":(-?\d+),"sequence":(\d+)/;

export class Tally {
  #rows = 0;
  #digest = 0n;
  /** Of lines since the digest was brought up to date: far below 2^53. */
  #sum = 0;
  readonly #lanes = new Map<string, LaneRange>();

  add(line: string | Uint8Array): void {
    this.#rows++;
    this.#sum += crc32(line);
    if (this.#rows % 1_000_000 === 0) this.#carry();
  }

  addPlaced(line: string): void {
    this.add(line);
    const [, writer = '', lane = '', text = ''] = place.exec(line) ?? [];
    const sequence = Number(text);
    const key = `${writer} ${lane}`;
    const range = this.#lanes.get(key);
    if (!range) {
      const only = { first: sequence, last: sequence, rows: 1 };
      this.#lanes.set(key, { writer, lane: Number(lane), ...only });
      return;
    }
    range.first = Math.min(range.first, sequence);
    range.last = Math.max(range.last, sequence);
    range.rows++;
  }

  get sum(): Sum {
    this.#carry();
    return { rows: this.#rows, digest: this.#digest.toString(16).padStart(16, '0') };
  }

  get lanes(): LaneRange[] {
    return [...this.#lanes.values()];
  }

  #carry(): void {
    this.#digest = BigInt.asUintN(64, this.#digest + BigInt(this.#sum));
    this.#sum = 0;
  }
}

/** Counts the bytes that go through it. */
class Bytes extends Transform {
  readonly #hash = createHash('sha256');
  count = 0;

  override _transform(
    chunk: Buffer,
    _encoding: string,
    done: (error: Error | null, chunk: Buffer) => void,
  ): void {
    this.#hash.update(chunk);
    this.count += chunk.length;
    done(null, chunk);
  }

  sha256(): string {
    return this.#hash.digest('hex');
  }
}

type Contents = Sum & Pick<Manifest, 'bytes' | 'sha256'>;

const newline = 10;
const unzippedBytes = 256 * 1024;

/** What a file of compressed lines holds. Rejects where it is cut off or damaged. */
async function readBack(path: string): Promise<Contents> {
  const bytes = new Bytes();
  const tally = new Tally();
  await pipeline(
    createReadStream(path),
    bytes,
    createGunzip({ chunkSize: unzippedBytes }),
    async (chunks: AsyncIterable<Buffer>) => {
      let rest: Buffer = Buffer.alloc(0);
      for await (const chunk of chunks) {
        rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
        let start = 0;
        for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline, start)) {
          tally.add(rest.subarray(start, end));
          start = end + 1;
        }
        rest = rest.subarray(start);
      }
      if (rest.length > 0) throw new Error('it does not end with a line');
    },
  );
  return { ...tally.sum, bytes: bytes.count, sha256: bytes.sha256() };
}

const isSame = (a: Contents, b: Contents): boolean =>
  a.rows === b.rows && a.digest === b.digest && a.bytes === b.bytes && a.sha256 === b.sha256;

const nameOf = ({ stream, day }: ArchivedDay, number: number): string =>
  `${stream}-${day}${number === 1 ? '' : `.${number}`}`;
const fileOf = (of: ArchivedDay, number: number): string =>
  join(of.folder, `${nameOf(of, number)}.ndjson.gz`);
const manifestOf = (of: ArchivedDay, number: number): string =>
  join(of.folder, `${nameOf(of, number)}.manifest.json`);

/** A number under which nothing is archived yet. */
function freeNumber(of: ArchivedDay): number {
  let number = 1;
  while (existsSync(fileOf(of, number))) number++;
  return number;
}

/**
 * The whole and undamaged archives of the day that hold just so many rows; each is still to be
 * compared with the digest of the rows themselves.
 */
export async function archivesOf(of: ArchivedDay, rows: number): Promise<Manifest[]> {
  const found: Manifest[] = [];
  for (let number = 1; existsSync(fileOf(of, number)); number++) {
    const manifest = await readManifest(manifestOf(of, number));
    if (manifest?.rows !== rows) continue;
    if (await isIntact(fileOf(of, number), manifest)) found.push(manifest);
  }
  return found;
}

/** Undefined where there is none, or none that can be read as one. */
async function readManifest(path: string): Promise<Manifest | undefined> {
  if (!existsSync(path)) return undefined;
  const text = await readFile(path, 'utf8');
  try {
    return JSON.parse(text) as Manifest;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function isIntact(path: string, manifest: Manifest): Promise<boolean> {
  try {
    return isSame(await readBack(path), manifest);
  } catch (error) {
    // Only the system's errors say nothing about the file's content.
    if (error instanceof Error && !('syscall' in error)) return false;
    throw error;
  }
}

/** Durable under its name, and read back, when it resolves. */
export async function writeArchive(
  of: ArchivedDay,
  pages: AsyncIterable<readonly string[]>,
): Promise<Manifest> {
  const part = join(of.folder, `${nameOf(of, 1)}.${randomUUID()}.gz${partEnding}`);
  const tally = new Tally();
  try {
    const { bytes, sha256 } = await writeLines(part, textOf(pages, tally));
    const contents = { ...tally.sum, bytes, sha256 };
    if (!isSame(await readBack(part), contents)) {
      const message = `What was written to ${of.folder} does not read back as it was written.`;
      throw new HoldfastError('HF_ARCHIVE', message);
    }
    const number = freeNumber(of);
    const file = basename(fileOf(of, number));
    const written = { writtenAt: new Date().toISOString(), holdfast: ownVersion() };
    const { stream, day } = of;
    const manifest = { stream, day, file, ...contents, lanes: tally.lanes, ...written };
    await writeManifest(manifestOf(of, number), manifest);
    await rename(part, fileOf(of, number));
    systemDisk.syncDirectory(of.folder);
    return manifest;
  } catch (error) {
    if (existsSync(part)) await unlink(part);
    throw error;
  }
}

const partEnding = '.part';

/** What runs that were killed have left of this day, now that it is whole. */
export async function removeParts(of: ArchivedDay): Promise<void> {
  for (const name of await readdir(of.folder)) {
    const isOurs = name.startsWith(`${nameOf(of, 1)}.`) && name.endsWith(partEnding);
    if (isOurs) await unlink(join(of.folder, name));
  }
}

async function* textOf(pages: AsyncIterable<readonly string[]>, tally: Tally) {
  for await (const lines of pages) {
    for (const line of lines) tally.addPlaced(line);
    yield lines.map((line) => `${line}\n`).join('');
  }
}

async function synced(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await write(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function writeLines(path: string, lines: AsyncIterable<string>) {
  const bytes = new Bytes();
  await synced(path, (file) =>
    pipeline(lines, createGzip(), bytes, (chunks) =>
      file.writeFile(chunks as AsyncIterable<Buffer>),
    ),
  );
  return { bytes: bytes.count, sha256: bytes.sha256() };
}

async function writeManifest(path: string, manifest: Manifest): Promise<void> {
  const part = `${path}.${randomUUID()}${partEnding}`;
  await synced(part, (file) => file.writeFile(`${JSON.stringify(manifest, null, 2)}\n`));
  await rename(part, path);
  systemDisk.syncDirectory(join(path, '..'));
}
