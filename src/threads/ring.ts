// L1: a ring in shared memory that carries messages of any size from one thread to another, after
// the LMAX Disruptor (Thompson et al., 2011): one writer for every word, sequences that only grow,
// and the reader takes all that has been published meanwhile as one batch. Here: the layout.
// ring-producer.ts writes, ring-consumer.ts reads, ring-side.ts sleeps, wakes and ends.
//
// A position counts the bytes since the beginning, modulo 2^32, as an int32. Both ends stay right
// across the wrap: the difference `(a - b) | 0` of two positions is exact while it is below 2^31,
// and it is never above the capacity, at most 2^30; the place in the ring is `position & (capacity
// - 1)`, and the capacity, a power of two, divides 2^32. Nor can one be taken for another that came
// 4 GiB earlier, because a side moves at most a capacity past the other.
//
// All words are little-endian int32; whatever one side writes often has 128 bytes to itself (two
// lines of 64, since the hardware fetches lines in pairs): a line that both write would travel
// between the cores at every message.
//
// | offset | bytes | what                                               | written by             |
// | ------ | ----- | -------------------------------------------------- | ---------------------- |
// | 0      | 4     | magic, "HFR1"                                      | createRing             |
// | 4      | 4     | capacity in bytes, a power of two                  | createRing             |
// | 128    | 4     | published: all before it may be read               | producer, each publish |
// | 256    | 4     | the producer's condition (ring-side.ts)            | both, seldom           |
// | 384    | 4     | released: all before it may be written over        | consumer, each release |
// | 512    | 4     | the consumer's condition                           | both, seldom           |
// | 640    | …     | the messages, `capacity` bytes                     | producer               |
//
// A message, at a multiple of 8:
//
// | offset | bytes | what                                                                        |
// | ------ | ----- | --------------------------------------------------------------------------- |
// | 0      | 4     | length of the content in bytes; −1: the next message is at the ring's start |
// | 4      | 4     | kind, the sender's to use: so a small descriptor needs no content           |
// | 8      | …     | content, then up to a multiple of 8                                         |
//
// A message lies in one piece, so that it can be read where it is. One that does not fit before the
// ring's end begins at its start, and a mark (−1) stands where it would have been. The mark is
// published by itself, hence a message may be as large as the whole ring less its head. A larger
// one is refused (HF_TOO_LARGE): its sender cuts it, or sends it another way.
import assert from 'node:assert/strict';

/** Places in the Int32Array over the whole memory. */
export const ringWords = {
  magic: 0,
  capacity: 1,
  published: 32,
  producer: 64,
  released: 96,
  consumer: 128,
} as const;

/** Where the messages begin. */
export const ringBegin = 640;
/** Length and kind. */
export const messageHeadBytes = 8;
/** In the place of a length: go on at the ring's start. */
export const wrapMark = -1;

const magic = 0x31524648;
const capacityBytesMin = 64;
const capacityBytesMax = 2 ** 30;

export interface RingOptions {
  /** A power of two, 64 B to 1 GiB. The longest message is 8 bytes less. */
  readonly capacityBytes: number;
  /** Where positions begin, a multiple of 8: so that a test is near the wrap at once. */
  readonly startAt?: number;
}

/** Memory of a ring, empty; goes to both threads by `workerData` or `postMessage`. */
export function createRing({ capacityBytes, startAt = 0 }: RingOptions): SharedArrayBuffer {
  const isPowerOfTwo = (capacityBytes & (capacityBytes - 1)) === 0;
  assert(
    isPowerOfTwo && capacityBytes >= capacityBytesMin && capacityBytes <= capacityBytesMax,
    `The capacity of a ring, ${capacityBytes}, is no power of two from 64 to 2^30.`,
  );
  assert(startAt % 8 === 0, 'A position is a multiple of 8.');
  const memory = new SharedArrayBuffer(ringBegin + capacityBytes);
  const words = new Int32Array(memory);
  words[ringWords.capacity] = capacityBytes;
  words[ringWords.published] = startAt;
  words[ringWords.released] = startAt;
  words[ringWords.magic] = magic;
  return memory;
}

/** The words of a ring's memory, and its capacity in bytes. */
export function openRing(memory: SharedArrayBuffer): { words: Int32Array; capacity: number } {
  const words = new Int32Array(memory);
  const capacity = words[ringWords.capacity] ?? 0;
  assert(
    words[ringWords.magic] === magic && memory.byteLength === ringBegin + capacity,
    'This memory is no ring.',
  );
  return { words, capacity };
}
