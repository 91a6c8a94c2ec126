// Reads request bodies under hard bounds: bytes after inflating (counted here, because zlib's own
// maxOutputLength does not hold for streams), bytes of all requests together, and time.
// gzip is the only encoding: brotli packs 64 MiB into 102 bytes.
// Must never destroy the request itself: that would cut the connection before the refusal is sent.
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createGunzip, type Gunzip } from 'node:zlib';
import { HoldfastError } from '../errors.ts';

/** What is kept of bodies that were read: so many, of no more than this, in steps of that. */
const sparesMax = 16;
const spareBytesMax = 256 * 1024;
const spareStepBytes = 16 * 1024;

/** What one body that is arriving holds of the memory of all. */
export interface Share {
  bytes: number;
  /** Called where it has to make room. */
  readonly refuse: () => void;
}

/**
 * Bytes of bodies that all requests together hold in memory. Where they would pass the bound, the
 * largest of those that are still arriving is refused: so bodies that stall with all they can get
 * never shut out small ones.
 */
export class BodyMemory {
  bytes = 0;
  readonly bytesMax: number;
  readonly #arriving = new Set<Share>();
  /** Of bodies that were given back: memory that is used again. */
  readonly #spares: ArrayBuffer[] = [];

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** For a body that begins to arrive: to be ended by `keep` or by `drop`. */
  open(refuse: () => void): Share {
    const share = { bytes: 0, refuse };
    this.#arriving.add(share);
    return share;
  }

  /** False, and nothing taken, where no larger body can make room, or where it was refused. */
  take(share: Share, bytes: number): boolean {
    if (!this.#arriving.has(share)) return false;
    while (this.bytes + bytes > this.bytesMax) {
      const largest = this.#largest(share.bytes + bytes);
      if (!largest) return false;
      this.drop(largest);
      largest.refuse();
    }
    this.bytes += bytes;
    share.bytes += bytes;
    return true;
  }

  /**
   * It has arrived, in these chunks: its bytes stay taken until `give`. Undefined where it was
   * refused before. Throws RangeError where the machine has no memory for it; it is open then.
   */
  keep(share: Share, chunks: readonly Uint8Array[]): Buffer | undefined {
    if (!this.#arriving.has(share)) return undefined;
    const wanted = Math.ceil(share.bytes / spareStepBytes) * spareStepBytes;
    const at = this.#spares.findIndex(({ byteLength }) => byteLength >= wanted);
    const [spare] = at === -1 ? [] : this.#spares.splice(at, 1);
    const body = Buffer.from(spare ?? new ArrayBuffer(wanted), 0, share.bytes);
    let end = 0;
    for (const chunk of chunks) {
      body.set(chunk, end);
      end += chunk.length;
    }
    this.#arriving.delete(share);
    return body;
  }

  /** A body that nobody reads any more: its memory will hold another one. */
  give({ length, buffer }: Buffer): void {
    this.bytes -= length;
    if (buffer.byteLength > spareBytesMax || !(buffer instanceof ArrayBuffer)) return;
    this.#spares.push(buffer);
    // The oldest goes: bodies of today's size are what memory is wanted for.
    if (this.#spares.length > sparesMax) this.#spares.shift();
  }

  /** Takes nothing more, and gives back what it has. */
  drop(share: Share): void {
    this.#arriving.delete(share);
    this.bytes -= share.bytes;
    share.bytes = 0;
  }

  #largest(bytesMin: number): Share | undefined {
    let largest: Share | undefined;
    for (const share of this.#arriving) {
      if (share.bytes > (largest?.bytes ?? bytesMin)) largest = share;
    }
    return largest;
  }
}

export interface BodyBounds {
  /** Of one body, after inflating. */
  readonly bytesMax: number;
  /** From the call to the last byte. */
  readonly msMax: number;
  readonly memory: BodyMemory;
}

const cut = (): HoldfastError =>
  new HoldfastError('HF_BODY_CUT', 'The body ended before its declared end.');

const late = (ms: number, what: string): HoldfastError =>
  new HoldfastError('HF_TIMEOUT', `${what} within ${ms} ms.`);

const tooLarge = (bytesMax: number): HoldfastError => {
  const message = `The body is larger than ${bytesMax} bytes. Send less at once, or use a load.`;
  return new HoldfastError('HF_TOO_LARGE', message);
};

function gzipError(error: Error): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const isCut = 'code' in error && error.code === 'Z_BUF_ERROR';
  return isCut
    ? new HoldfastError('HF_BODY_CUT', 'The gzip stream ended before its end.', { cause: error })
    : new HoldfastError('HF_USAGE', `The body is not gzip: ${error.message}.`, { cause: error });
}

/** A decompressor for the request's encoding, or undefined where there is none. */
function inflater(raw: IncomingMessage): Gunzip | undefined {
  const encoding = raw.headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
  if (encoding === 'identity') return undefined;
  if (encoding === 'gzip' || encoding === 'x-gzip') return createGunzip({ chunkSize: 64 * 1024 });
  throw new HoldfastError('HF_MEDIA_TYPE', `Content-Encoding ${encoding} is not read; gzip is.`);
}

/**
 * The whole body, inflated. Its bytes stay taken from `bounds.memory` until the caller gives it
 * back, and reads it no more. Rejects with HF_MEDIA_TYPE, HF_TOO_LARGE, HF_OVERLOADED, HF_TIMEOUT,
 * HF_BODY_CUT or HF_USAGE; then nothing stays taken, and what still arrives is thrown away.
 */
export async function readBody(raw: IncomingMessage, bounds: BodyBounds): Promise<Buffer> {
  const gunzip = inflater(raw);
  if (Number(raw.headers['content-length'] ?? 0) > bounds.bytesMax) throw tooLarge(bounds.bytesMax);
  const { promise: arrived, resolve, reject } = Promise.withResolvers<Buffer>();
  const share = bounds.memory.open(() => reject(overloaded()));
  const timer = setTimeout(
    () => reject(late(bounds.msMax, 'The body did not arrive')),
    bounds.msMax,
  );
  const chunks: Buffer[] = [];
  raw.on('error', () => reject(cut()));
  try {
    if (raw.destroyed && !raw.complete) reject(cut());
    const source: Readable = gunzip ? raw.pipe(gunzip) : raw;
    gunzip?.on('error', (error) => reject(gzipError(error)));
    // At once: before a promise goes on, another body may ask for the room of the largest.
    source.on('end', () => {
      try {
        const body = bounds.memory.keep(share, chunks);
        if (body) resolve(body);
      } catch (error) {
        // Thrown from here it would end the process.
        reject(error instanceof RangeError ? overloaded() : error);
      }
    });
    source.on('data', (chunk: Buffer) => {
      if (share.bytes + chunk.length > bounds.bytesMax) return reject(tooLarge(bounds.bytesMax));
      if (!bounds.memory.take(share, chunk.length)) return reject(overloaded());
      chunks.push(chunk);
    });
    return await arrived;
  } catch (error) {
    bounds.memory.drop(share);
    throw error;
  } finally {
    clearTimeout(timer);
    detach(raw, gunzip);
  }
}

const overloaded = (): HoldfastError =>
  new HoldfastError('HF_OVERLOADED', 'Too many bytes of requests are in hand here.', {
    retryAfterSeconds: 1,
  });

/** Lets the rest of the body run out unread; the server cuts a connection where that takes long. */
function detach(raw: IncomingMessage, gunzip: Gunzip | undefined): void {
  raw.removeAllListeners('data');
  raw.removeAllListeners('readable');
  if (gunzip) {
    raw.unpipe(gunzip);
    gunzip.removeAllListeners('data');
    gunzip.destroy();
  }
  raw.resume();
}

export interface Patience {
  readonly idleMsMax: number;
  /** Ends the reading with its reason. */
  readonly signal: AbortSignal;
}

/**
 * A body of any size, inflated, as it is asked for: what is not asked for stays with the sender.
 * Throws HF_TIMEOUT after `idleMsMax` without a byte, and HF_BODY_CUT, HF_USAGE or HF_MEDIA_TYPE.
 */
export async function* streamBody(
  raw: IncomingMessage,
  patience: Patience,
): AsyncGenerator<Uint8Array, void, undefined> {
  const gunzip = inflater(raw);
  if (gunzip) {
    raw.pipe(gunzip);
    raw.on('error', () => gunzip.destroy(cut()));
  }
  const chunks = (gunzip ?? raw).iterator({ destroyOnReturn: false });
  try {
    for (;;) {
      const next = await patiently(chunks.next(), patience);
      if (next.done === true) return;
      yield next.value as Uint8Array;
    }
  } catch (error) {
    const isOurs = error instanceof HoldfastError || error === patience.signal.reason;
    if (isOurs || !(error instanceof Error)) throw error;
    throw gunzip ? gzipError(error) : cut();
  } finally {
    detach(raw, gunzip);
  }
}

async function patiently<T>(next: Promise<T>, { idleMsMax, signal }: Patience): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let onAbort = (): void => undefined;
  const lost = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(late(idleMsMax, 'No byte arrived')), idleMsMax);
    onAbort = () => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([next, lost]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
