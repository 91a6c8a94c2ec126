// What a load has taken of its input, so that who goes on with it is known to send the same input
// (P20): each mark has a digest that runs from part to part. It is SHA-256, in hex, of the digest
// before, as its 64 characters, and of the bytes of the part; of the first part, of its bytes.
import { createHash } from 'node:crypto';
import { HoldfastError } from './errors.ts';
import type { LoadState } from './types.ts';

type Prefix = NonNullable<LoadState['prefix']>;

export class RunningDigest {
  #hash = createHash('sha256');

  /** `before`: of the mark with which it goes on; none at the beginning. */
  constructor(before = '') {
    this.#hash.update(before);
  }

  add(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** Here a part ends. */
  end(): string {
    const digest = this.#hash.digest('hex');
    this.#hash = createHash('sha256').update(digest);
    return digest;
  }
}

/** Takes in the beginning of an input, and compares it with what was taken of one before. */
class Comparison {
  readonly #prefix: Prefix;
  readonly #digest = new RunningDigest();
  #part = 0;
  #at = 0;

  constructor(prefix: Prefix) {
    this.#prefix = prefix;
  }

  get isOver(): boolean {
    return this.#part === this.#prefix.ends.length;
  }

  /** Returns what lies behind the beginning. Throws where the beginning is another one. */
  take(chunk: Uint8Array): Uint8Array {
    let rest = chunk;
    for (;;) {
      const end = this.#prefix.ends[this.#part];
      if (end === undefined) return rest;
      const own = rest.subarray(0, end - this.#at);
      this.#digest.add(own);
      this.#at += own.length;
      rest = rest.subarray(own.length);
      if (this.#at < end) return rest;
      this.#part++;
      const digest = this.#digest.end();
      if (this.isOver && digest !== this.#prefix.digest) throw changed(end);
    }
  }
}

/**
 * The input behind what an earlier run has journaled of it. Rejects with HF_LOAD_CHANGED where that
 * was something else: it is read through and compared before anything is sent. What the marks of
 * earlier versions say is not compared.
 */
export async function behindPrefix(
  input: AsyncIterable<Uint8Array>,
  { offset, prefix }: Pick<LoadState, 'offset' | 'prefix'>,
): Promise<AsyncIterable<Uint8Array>> {
  if (!prefix) return skipBytes(input, offset);
  const chunks = input[Symbol.asyncIterator]();
  const comparison = new Comparison(prefix);
  let rest: Uint8Array = new Uint8Array(0);
  try {
    while (!comparison.isOver) {
      const { done, value } = await chunks.next();
      if (done) throw changed(offset);
      rest = comparison.take(value);
    }
  } catch (error) {
    await chunks.return?.();
    throw error;
  }
  return joined(rest, chunks);
}

/** The input behind its first `count` bytes, which an earlier run has journaled. */
async function* skipBytes(input: AsyncIterable<Uint8Array>, count: number) {
  let left = count;
  for await (const chunk of input) {
    if (left >= chunk.length) left -= chunk.length;
    else {
      yield left === 0 ? chunk : chunk.subarray(left);
      left = 0;
    }
  }
}

async function* joined(first: Uint8Array, others: AsyncIterator<Uint8Array>) {
  if (first.length > 0) yield first;
  yield* { [Symbol.asyncIterator]: () => others };
}

const changed = (offset: number): HoldfastError => {
  const message =
    `The first ${offset} bytes of the input are not those that the load took before. ` +
    'What it took stays written.';
  return new HoldfastError('HF_LOAD_CHANGED', message, { outcome: 'written' });
};
