// The oracle: what must hold after any fault, as checks over plain values, for every campaign.
// It knows what was sent and what was acknowledged, and nothing of how the product works, but for
// the reading of journals, where the product's own recovery is what is judged.
//
//   O1  acknowledged ⇒ in the journal or at its end in the target: checkRecovered, checkTable
//   O2  nothing is served that was not sent, byte for byte: checkRecovered, checkTable
//   O3  each row is in its table once: checkTable
//   O4  what is recovered is a prefix, per lane, without gaps: checkRecovered, checkServed
//   O5  after a failed write or sync nothing is acknowledged: test/support/process-world.ts
//   O6  every refusal says 'not written' or 'unknown': test/support/process-world.ts
//   O7  a segment goes only when its records are settled, or copied: checkRecovered, checkServed
//   O8  a repeated key is answered as before, with other rows refused: crash-world.ts
//   O9  recovery changes nothing that it found, and may itself crash: states.ts
//   O10 once faults stop, everything is settled: crash-world.ts `settled`
//   O11 ids never repeat, here the sequences of a lane: checkRecovered
//   O12 memory, disk and queues are bounded: test/journal.test.ts, server tests
//   O13 the books balance: checkBooks
//   O14 damage is reported, never taken for a torn tail: flips.ts
//   O15 what is opened is what is found where every byte is read: checkOpened
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import type { Disk } from '../src/disk.ts';
import { payloadOf, type ReadBlock } from '../src/journal/block-reader.ts';
import { heldFiles } from '../src/journal/files.ts';
import type { RequestNote } from '../src/journal/notes.ts';
import { type Found, readJournal } from '../src/journal/recovery.ts';
import type { History } from './history.ts';

export type ViolationKind = 'lost' | 'doubled' | 'wrong';

export class Violation extends Error {
  override readonly name = 'Violation';
  readonly kind: ViolationKind;

  constructor(kind: ViolationKind, what: string) {
    super(`${kind}: ${what}`);
    this.kind = kind;
  }
}

/** A row as sent and as found: all that the campaigns' tables have. */
interface KnownRow {
  readonly id: number;
  readonly note: unknown;
}

export interface TableCheck {
  readonly table: string;
  readonly found: readonly KnownRow[];
  /** All that may be there. */
  readonly sent: Iterable<KnownRow>;
  /** What must be there. */
  readonly acknowledged: Iterable<KnownRow>;
}

/** O1, O2, O3: every acknowledged row is there, each once, and nothing that was not sent. */
export function checkTable({ table, found, sent, acknowledged }: TableCheck): void {
  const known = new Map<number, unknown>();
  for (const { id, note } of sent) known.set(id, note);
  const there = new Set<number>();
  for (const { id, note } of found) {
    if (!known.has(id)) throw new Violation('wrong', `row ${id} of ${table} was never sent`);
    if (known.get(id) !== note) throw new Violation('wrong', `row ${id} of ${table} has changed`);
    if (there.has(id)) throw new Violation('doubled', `row ${id} of ${table} is there twice`);
    there.add(id);
  }
  for (const { id } of acknowledged) {
    if (!there.has(id)) {
      throw new Violation('lost', `row ${id} of ${table} was acknowledged and is not there`);
    }
  }
}

export interface Books {
  readonly accepted: number;
  readonly merged: number;
  readonly duplicates: number;
  readonly superseded: number;
  readonly deadLetters: number;
  readonly inFlight: number;
  readonly unaccounted: number;
}

/** O13, at any instant; with `wanted`, also what they must come to. */
export function checkBooks(stream: string, books: Books, wanted?: Books): void {
  const { merged, duplicates, superseded, deadLetters, inFlight, unaccounted } = books;
  const ends = merged + duplicates + superseded + deadLetters;
  if (unaccounted > 0 || ends + inFlight < books.accepted) {
    throw new Violation('lost', `the books of ${stream} lack records: ${JSON.stringify(books)}`);
  }
  if (unaccounted < 0 || ends + inFlight > books.accepted) {
    throw new Violation(
      'doubled',
      `the books of ${stream} have too many: ${JSON.stringify(books)}`,
    );
  }
  if (!wanted) return;
  for (const name of Object.keys(wanted) as (keyof Books)[]) {
    assert.equal(books[name], wanted[name], `the books of ${stream}, ${name}`);
  }
}

/** Records of one lane that stand in one block. */
export interface RecoveredBlock {
  readonly stream: number;
  readonly lane: number;
  readonly first: number;
  readonly rows: number;
  /** Of its payload, computed here and not taken from its header. */
  readonly crc: number;
  readonly group: number;
}

export interface Recovered {
  readonly found: Found | undefined;
  readonly blocks: readonly RecoveredBlock[];
  readonly requests: readonly RequestNote[];
  /** Streams whose records stand in copies, too, before the segments (P18): checkServed. */
  readonly copied: ReadonlySet<number>;
}

export function recoveredBlock(block: ReadBlock): RecoveredBlock {
  const { stream, lane, first, rowCount: rows, group } = block.header;
  return { stream, lane, first, rows, crc: crc32(payloadOf(block)), group };
}

/** What the product's recovery makes of a directory where it reads every byte. */
export function recover(disk: Disk, directory: string): Recovered {
  const blocks: RecoveredBlock[] = [];
  const requests: RequestNote[] = [];
  const found = readJournal(disk, directory, {
    onBlock: (block) => blocks.push(recoveredBlock(block)),
    onRequests: (notes) => requests.push(...notes),
  });
  const oldest = found?.segments[0]?.number ?? 0;
  const copies = heldFiles(disk, directory).filter(({ number }) => number < oldest);
  return { found, blocks, requests, copied: new Set(copies.map(({ stream }) => stream)) };
}

/**
 * O15: opening a directory leaves sealed segments unread, and finds the same; with half of the
 * requests remembered it tells the others.
 */
export function checkOpened(disk: Disk, directory: string, { found, requests }: Recovered): void {
  const taken = requests[requests.length >> 1]?.id ?? -1;
  const told = new Set<number>();
  const opened = readJournal(disk, directory, {
    isKnown: (request) => request <= taken,
    onRequests: (notes) => {
      for (const { id } of notes) told.add(id);
    },
  });
  if (!isDeepStrictEqual(opened, found)) {
    throw new Violation('wrong', 'opening it finds another journal than reading all of it');
  }
  const untold = requests.find(({ id }) => id > taken && !told.has(id));
  if (untold) throw new Violation('lost', `request ${untold.id}, which nothing else knows`);
}

/** What the world outside knows at a moment. */
export interface Belief {
  /** Requests that were answered for, as the journal noted them, by stream and key. */
  readonly acknowledged: ReadonlyMap<string, RequestNote>;
  /** Names of requests that the database of requests has taken over. */
  readonly remembered: ReadonlySet<string>;
  /** By stream and lane (`laneName`): up to where the target has settled it. */
  readonly settled: ReadonlyMap<string, number>;
}

export const laneName = (stream: number, lane: number): string => `${stream} ${lane}`;
export const requestName = (stream: number, key: string): string => `${stream} ${key}`;

/**
 * O1, O2, O4, O7, O8, O11 of a recovered journal. Nothing acknowledged is missing, nothing stands
 * there that was not written, and with what the target has settled nothing lies between.
 */
export function checkRecovered(recovered: Recovered, belief: Belief, history: History): void {
  const { found, blocks, requests } = recovered;
  const reach = new Map<string, { from: number; to: number }>();
  for (const block of blocks) {
    const name = laneName(block.stream, block.lane);
    if (!history.has(block)) {
      throw new Violation('wrong', `records ${block.first}+${block.rows} of lane ${name}`);
    }
    const lane = reach.get(name);
    const to = block.first + block.rows - 1;
    if (lane && block.first !== lane.to + 1) {
      throw new Violation('wrong', `lane ${name} goes on at ${block.first} after ${lane.to}`);
    }
    if (lane) lane.to = to;
    else reach.set(name, { from: block.first, to });
  }
  const group = blocks.at(-1)?.group ?? 0;
  const count = blocks.filter((block) => block.group === group).length;
  if (blocks.length > 0 && !history.hadGroup(group, count)) {
    throw new Violation('wrong', `of group ${group}, ${count} blocks of records are there (P15)`);
  }
  const lastOf = (stream: number, lane: number): number => found?.last.get(stream)?.[lane] ?? 0;
  const known = new Set(requests.map(({ stream, key }) => requestName(stream, key ?? '')));
  for (const [name, { stream, ranges }] of belief.acknowledged) {
    for (const [lane, first, count] of ranges) {
      if (lastOf(stream, lane) >= first + count - 1) continue;
      throw new Violation('lost', `request ${name}, records ${first}+${count} of lane ${lane}`);
    }
    if (known.has(name) || belief.remembered.has(name)) continue;
    throw new Violation('lost', `the key of request ${name}: it would double when sent again`);
  }
  for (const [name, settled] of belief.settled) {
    const [stream = 0, lane = 0] = name.split(' ').map(Number);
    const last = lastOf(stream, lane);
    if (last < settled) {
      throw new Violation('lost', `lane ${name} ends at ${last}, and ${settled} was settled`);
    }
    if (recovered.copied.has(stream)) continue;
    const from = reach.get(name)?.from ?? last + 1;
    if (from > settled + 1) {
      throw new Violation('lost', `lane ${name} begins at ${from}, and only ${settled} is settled`);
    }
  }
}
