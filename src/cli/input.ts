// The input of a load. Size and digest are those of the bytes after decompression, so that
// a file and its .gz are the same load.
import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdtempSync,
  openSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream';
import { pipeline as pipelineEnd } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { HoldfastError } from '../errors.ts';
import { workingFolder } from './config.ts';

interface Source {
  readonly size: number;
  /** SHA-256 in hex. */
  readonly digest: string;
}

export interface Input {
  /** What makes a load resumable; absent for a pipe. */
  readonly source?: Source;
  read(): AsyncIterable<Uint8Array>;
  /** Lets go of what was opened for it. */
  close(): void;
}

/**
 * Opens FILE, or `-` for stdin. `mustKnow`: a pipe is first copied to a file, so that it is known.
 */
export async function openInput(name: string, mustKnow: boolean): Promise<Input> {
  if (name !== '-') return fileInput(resolve(workingFolder(), name));
  // A pipe that nobody ends would keep the process.
  if (!mustKnow) return { read: () => process.stdin, close: () => process.stdin.destroy() };
  const file = openNameless();
  const close = () => closeSync(file);
  try {
    const path = `/dev/fd/${file}`;
    await pipelineEnd(process.stdin, createWriteStream(path));
    return { ...(await fileInput(path)), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** A file that has no name any more: however this process ends, nothing of it is left behind. */
function openNameless(): number {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-load-'));
  try {
    return openSync(join(folder, 'stdin'), 'wx+', 0o600);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function fileInput(path: string): Promise<Input> {
  if (!existsSync(path)) throw new HoldfastError('HF_USAGE', `There is no file ${path}.`);
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of readFrom(path)) {
    hash.update(chunk);
    size += chunk.length;
  }
  // What is appended meanwhile belongs to another load.
  const read = () => firstBytes(readFrom(path), size);
  return { source: { size, digest: hash.digest('hex') }, read, close: () => undefined };
}

async function* firstBytes(
  chunks: AsyncIterable<Uint8Array>,
  count: number,
): AsyncGenerator<Uint8Array> {
  let left = count;
  for await (const chunk of chunks) {
    if (left > 0) yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}

async function* readFrom(path: string): AsyncGenerator<Uint8Array> {
  const isPacked = path.endsWith('.gz');
  // Read by positions: what /dev/fd names may have one of its own, behind its end.
  const file = createReadStream(path, { highWaterMark: 1024 * 1024, start: 0 });
  // The iteration below meets whatever went wrong.
  const bytes = isPacked ? pipeline(file, createGunzip(), () => undefined) : file;
  const chunks: AsyncIterable<Uint8Array> = bytes;
  try {
    yield* chunks;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const code = isPacked ? 'HF_BODY_CUT' : 'HF_USAGE';
    throw new HoldfastError(code, `${path} cannot be read: ${why}.`, { cause });
  } finally {
    bytes.destroy();
    file.destroy();
  }
}
