// Looks at a journal directory from outside: list, check, dump, salvage. Never changes the
// directory; the owner may be running (a live journal's last group may then be seen as torn,
// which is said).
import { join } from 'node:path';
import { compileJson, type JsonWriter } from '../accept/json-text.ts';
import { tupleBytes } from '../accept/render.ts';
import { TextBuffer } from '../accept/text-buffer.ts';
import type { Disk, DiskFile } from '../disk.ts';
import { blockKind } from './block.ts';
import { BlockReader, payloadOf, type ReadBlock } from './block-reader.ts';
import { CorruptJournal } from './corrupt.ts';
import { Dictionary } from './dictionary.ts';
import { segmentNumbers, segmentPath } from './files.ts';
import { type CheckpointNote, type DictionaryNote, decodeNote } from './notes.ts';
import { readJournal } from './recovery.ts';
import { mustEndAt, type Opened, openSegment } from './segment-head.ts';
import { writeAll } from './segments.ts';
import { decodeUndecoded } from './undecoded.ts';

export interface SegmentSummary {
  readonly file: string;
  readonly number: number;
  readonly bytes: number;
  /** End of the last block that reads well from the beginning. */
  readonly used: number;
  readonly blocks: number;
  readonly records: number;
  /** Of its first and last block; milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
}

/** One line per segment, from its own blocks, as far as they read well. */
export function listSegments(disk: Disk, directory: string): { segments: SegmentSummary[] } {
  const segments = segmentNumbers(disk, directory).map((number) => {
    const file = segmentPath(directory, number);
    const summary = { used: 0, blocks: 0, records: 0, from: 0, to: 0, bytes: 0 };
    summary.bytes = eachBlock(disk, file, (block) => {
      const { wallMs, rowCount } = block.header;
      if (summary.blocks++ === 0) summary.from = wallMs;
      summary.to = wallMs;
      summary.records += rowCount;
      summary.used = block.next;
    });
    return { file, number, ...summary };
  });
  return { segments };
}

/** Hands over the blocks of a file from its beginning; returns the file's size. */
function eachBlock(disk: Disk, path: string, use: (block: ReadBlock) => void): number {
  const file = disk.open(path, 'read');
  try {
    const reader = new BlockReader(file);
    const life = reader.read(0)?.header;
    for (let at = 0; ; ) {
      const block = reader.read(at);
      if (!block || block.header.salt !== life?.salt) return file.size();
      use(block);
      at = block.next;
    }
  } finally {
    file.close();
  }
}

interface JournalProblem {
  readonly file: string;
  readonly offset: number;
  readonly message: string;
}

export interface JournalCheck {
  readonly ok: boolean;
  readonly segments: number;
  readonly records: number;
  /** The last group was not synced whole when the process ended; the next open cuts it. */
  readonly isTorn: boolean;
  readonly isClean: boolean;
  readonly problems: readonly JournalProblem[];
}

/** Reads every byte as recovery would, and says what recovery would say. */
export function checkJournal(disk: Disk, directory: string): JournalCheck {
  const numbers = segmentNumbers(disk, directory);
  let records = 0;
  const onBlock = (block: ReadBlock): void => {
    records += block.header.rowCount;
  };
  try {
    const found = readJournal(disk, directory, { onBlock });
    const { isTorn = false, isClean = true } = found ?? {};
    return { ok: true, segments: numbers.length, records, isTorn, isClean, problems: [] };
  } catch (error) {
    // Its owner dropped one meanwhile, which may be another segment by now: once more.
    if (segmentNumbers(disk, directory)[0] !== numbers[0]) return checkJournal(disk, directory);
    if (!(error instanceof CorruptJournal)) throw error;
    const { file, offset, message } = error;
    const problems = [{ file, offset, message }];
    const segments = numbers.length;
    return { ok: false, segments, records, isTorn: false, isClean: false, problems };
  }
}

/** One journaled record, readable by itself. */
export interface DumpedRecord {
  readonly stream: string;
  readonly lane: number;
  readonly sequence: number;
  /**
   * JSON text of the row on one line, numbers exact; null where it never decoded. Its bytes are
   * written over once the next record is asked for.
   */
  readonly row: Uint8Array | null;
  /** Where the row never decoded: its bytes, and why. */
  readonly raw?: Uint8Array;
  readonly code?: string;
}

const textBytes = 64 * 1024;
const lineEnds = [0x0a, 0x0d] as const;

/** A json column may hold ends of lines between its values; inside a string JSON has none. */
function onOneLine(json: Uint8Array): Uint8Array {
  for (const byte of lineEnds) {
    for (let at = json.indexOf(byte); at >= 0; at = json.indexOf(byte, at)) json[at] = 0x20;
  }
  return json;
}

/** Learns from dictionary blocks and turns blocks of records into records. */
class Decoder {
  readonly #dictionary = new Dictionary();
  /** By shape. */
  readonly #writers = new Map<number, JsonWriter>();
  readonly #text = new TextBuffer(textBytes);

  /** Returns where its sound blocks end. */
  *segment({ file, head }: Opened): Generator<DumpedRecord, number> {
    const { salt } = head.header;
    const reader = new BlockReader(file);
    for (let end = 0; ; ) {
      const block = reader.read(end);
      if (!block || block.header.salt !== salt) return end;
      end = block.next;
      yield* this.records(block);
    }
  }

  *records(block: ReadBlock): Generator<DumpedRecord> {
    const { header, window, start, end } = block;
    const payload = payloadOf(block);
    if (header.kind === blockKind.dictionary) {
      this.#dictionary.learn(decodeNote<DictionaryNote>(payload));
    } else if (header.kind === blockKind.checkpoint) {
      this.#dictionary.learn(decodeNote<CheckpointNote>(payload).dictionary);
    } else if (header.kind === blockKind.undecoded) {
      const stream = this.#stream(header.stream);
      for (const [i, { raw, code }] of decodeUndecoded(window, start, end).entries()) {
        const sequence = header.first + i;
        yield { stream, lane: header.lane, sequence, row: null, raw: raw.slice(), code };
      }
    } else if (header.kind === blockKind.rows) {
      yield* this.#rows(block);
    }
  }

  #writerOf(id: number): JsonWriter {
    const known = this.#writers.get(id);
    if (known) return known;
    const { shape, table } = this.#dictionary.shapeOf(id);
    const writer = compileJson(table.table, shape.set);
    this.#writers.set(id, writer);
    return writer;
  }

  #stream(id: number): string {
    return this.#dictionary.streams[id - 1]?.name ?? `#${id}`;
  }

  *#rows({ header, window, start }: ReadBlock): Generator<DumpedRecord> {
    const stream = this.#stream(header.stream);
    const write = this.#writerOf(header.shape);
    const from = tupleBytes(window.bytes);
    const text = this.#text;
    let at = start;
    for (let i = 0; i < header.rowCount; i++) {
      text.at = 0;
      at = write(text, from, at);
      const row = onOneLine(text.bytes.subarray(0, text.at));
      yield { stream, lane: header.lane, sequence: header.first + i, row };
    }
  }
}

/**
 * Every record that reads well from the beginning of each segment, in journal order. Then throws
 * CorruptJournal where a segment did not read well up to where its successor was begun.
 */
export function* dumpJournal(disk: Disk, directory: string): Generator<DumpedRecord> {
  const decoder = new Decoder();
  const damages: unknown[] = [];
  /** What is wrong with a segment that is there, and not because it was dropped meanwhile. */
  const told = <T>(number: number, look: () => T): T | undefined => {
    try {
      return look();
    } catch (error) {
      if (!segmentNumbers(disk, directory).includes(number)) return undefined;
      if (!(error instanceof CorruptJournal)) throw error;
      damages.push(error);
      return undefined;
    }
  };
  let before: (Opened & { end: number }) | undefined;
  try {
    for (const number of segmentNumbers(disk, directory)) {
      const own = told(number, () => openSegment(disk, directory, number));
      const ended = before;
      if (own && ended) told(number, () => mustEndAt(ended, ended.end, own.head));
      before?.file.close();
      before = own && { ...own, end: 0 };
      if (before) before.end = yield* decoder.segment(before);
    }
  } finally {
    before?.file.close();
  }
  if (damages.length > 0) throw damages[0];
}

export interface Salvage {
  /** Records written, per stream, and the file that has them as NDJSON. */
  readonly kept: readonly {
    readonly stream: string;
    readonly records: number;
    readonly file: string;
  }[];
  /** Byte ranges in which no sound block stands, before a later one that does. */
  readonly lost: readonly { readonly file: string; readonly from: number; readonly to: number }[];
}

class SalvageFile {
  readonly #stream: string;
  readonly #path: string;
  readonly #file: DiskFile;
  readonly #text = new TextBuffer(textBytes);
  #end = 0;
  #records = 0;

  constructor(disk: Disk, into: string, stream: string) {
    this.#stream = stream;
    this.#path = join(into, `${encodeURIComponent(stream)}.ndjson`);
    this.#file = disk.open(this.#path, 'create');
  }

  line(bytes: Uint8Array): void {
    const text = this.#text;
    text.reserve(bytes.length + 1);
    text.copy(bytes);
    text.byte(0x0a);
    this.#records++;
    if (text.at > textBytes / 2) this.#write();
  }

  #write(): void {
    const text = this.#text;
    writeAll(this.#file, text.bytes.subarray(0, text.at), this.#end);
    this.#end += text.at;
    text.at = 0;
  }

  /** What it has is durable when it returns, its name is not. */
  close(): Salvage['kept'][number] {
    this.#write();
    this.#file.sync();
    this.#file.close();
    return { stream: this.#stream, records: this.#records, file: this.#path };
  }
}

/**
 * Writes every record of every sound block, damage or not, into NDJSON files in a new directory,
 * one per stream, to be loaded again: `holdfast load FILE`. Rows that are in their table already
 * come out as duplicates of a stream with a key. The journal itself is left as it is.
 */
export function salvageJournal(disk: Disk, directory: string, into: string): Salvage {
  disk.makeDirectory(into);
  const outputs = new Map<string, SalvageFile>();
  const lost: Salvage['lost'][number][] = [];
  const decoder = new Decoder();
  for (const number of segmentNumbers(disk, directory)) {
    const path = segmentPath(directory, number);
    const file = disk.open(path, 'read');
    const reader = new BlockReader(file);
    for (let at = 0; ; ) {
      const block = reader.search(at, (found) => found.header.segment === number);
      if (!block) break;
      if (block.offset > at) lost.push({ file: path, from: at, to: block.offset });
      for (const record of decoder.records(block)) {
        const { stream, row, raw } = record;
        const output = outputs.get(stream) ?? new SalvageFile(disk, into, stream);
        outputs.set(stream, output);
        output.line(row ?? raw ?? new Uint8Array(0));
      }
      at = block.next;
    }
    file.close();
  }
  const kept = [...outputs.values()].map((output) => output.close());
  disk.syncDirectory(into);
  return { kept, lost };
}
