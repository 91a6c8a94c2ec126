// verify: the books from three sides. Journal against ledger: every settled record of the
// retained journal lies in a ledger row whose digest its blocks give again. Ledger against lane
// totals. Journal against table: by key, on provided columns, every record that was merged or a
// duplicate. What cannot be checked is counted as that, never as fine (PROTOCOL, "What verify can
// say").

import { crc32 } from 'node:zlib';
import { renderRow } from './accept/json-text.ts';
import type { Disk } from './disk.ts';
import type { Position } from './journal/block.ts';
import type { ReadBlock } from './journal/block-reader.ts';
import { segmentNumbers } from './journal/files.ts';
import { Assembly } from './merge/assemble.ts';
import { type Batch, rowEnd } from './merge/batch.ts';
import { BatchMemory } from './merge/batch-memory.ts';
import { Feed } from './merge/feed.ts';
import { decodeEnds, type LedgerRow } from './merge/ledger.ts';
import type { StreamSettings } from './merge/stream.ts';
import { type LaneState, type Session, verdict } from './target/target.ts';
import type { Difference, VerifyResult } from './types.ts';

export interface VerifyParts {
  readonly disk: Disk;
  readonly directory: string;
  readonly writer: string;
  readonly settings: StreamSettings;
  /** How far the journal is durable. */
  readonly end: Position;
  readonly session: Session;
}

export type VerifyOutcome = Omit<VerifyResult, 'ok'>;

const differencesMax = 1000;
const batchRows = 5_000;

/** A block that was read and not yet compared with a ledger row. */
interface LaneBlock {
  readonly first: number;
  readonly last: number;
  readonly crc: Uint8Array;
}

/**
 * Works out again what the ledger's digests were made of: the blocks' checksums, lane by lane.
 * A ledger row covers whole blocks; one that began before the retained journal cannot be compared.
 */
class Digests {
  readonly #lanes = new Map<number, LaneBlock[]>();

  add({ header }: ReadBlock): void {
    const sum = new Uint8Array(4);
    new DataView(sum.buffer).setUint32(0, header.payloadCrc, true);
    const own = this.#lanes.get(header.lane) ?? [];
    own.push({ first: header.first, last: header.first + header.rowCount - 1, crc: sum });
    this.#lanes.set(header.lane, own);
  }

  /** Of the records of a ledger row; undefined where not all its blocks were read. Forgets them. */
  take(row: Pick<LedgerRow, 'lane' | 'first' | 'last'>): number | undefined {
    const own = this.#lanes.get(row.lane) ?? [];
    const within = own.filter((block) => block.first >= row.first && block.last <= row.last);
    if (within[0]?.first !== row.first || within.at(-1)?.last !== row.last) return undefined;
    this.#lanes.set(
      row.lane,
      own.filter((block) => block.first > row.last),
    );
    return within.reduce((digest, block) => crc32(block.crc, digest), 0);
  }
}

class Findings {
  checked = 0;
  readonly differences: Difference[] = [];
  readonly skipped = new Map<string, number>();
  readonly #stream: string;

  constructor(stream: string) {
    this.#stream = stream;
  }

  differ(found: Omit<Difference, 'stream'>): void {
    if (this.differences.length < differencesMax) {
      this.differences.push({ stream: this.#stream, ...found });
    }
  }

  skip(reason: string, records: number): void {
    this.skipped.set(reason, (this.skipped.get(reason) ?? 0) + records);
  }

  outcome(): VerifyOutcome {
    const notCheckable = [...this.skipped].map(([reason, records]) => ({
      stream: this.#stream,
      records,
      reason,
    }));
    return { checked: this.checked, differences: this.differences, notCheckable };
  }
}

/** Compares one stream. Reads the journal in bounded batches; the table is asked by key. */
export async function verifyStream(parts: VerifyParts): Promise<VerifyOutcome> {
  const { settings, session, writer } = parts;
  const findings = new Findings(settings.rules.stream);
  const lanes = await session.lanes({ writer, stream: settings.rules.stream });
  for (const state of lanes) checkTotals(state, findings);
  const settled = new Map(lanes.map((state) => [state.lane, state.settled]));
  const digests = new Digests();
  await readRetained(parts, digests, async (batch) => {
    const ends = await checkLedger(parts, batch, { settled, findings, digests });
    await checkTable(parts, batch, { ends, findings });
  });
  return findings.outcome();
}

function checkTotals(state: LaneState, findings: Findings): void {
  const { lane, settled, merged, duplicates, superseded, deadLetters } = state;
  const ends = merged + duplicates + superseded + deadLetters;
  if (ends === settled) return;
  findings.differ({
    kind: 'unaccounted',
    lane,
    message:
      `Lane ${lane} is settled to ${settled} and its totals add up to ${ends}: ` +
      'the others are lost, or were passed over as that.',
  });
}

/** Hands over the retained records of the stream, batch after batch. */
async function readRetained(
  parts: VerifyParts,
  digests: Digests,
  use: (batch: Batch) => Promise<void>,
) {
  const { disk, directory, settings, end, session, writer } = parts;
  const oldest = segmentNumbers(disk, directory)[0];
  if (oldest === undefined) return;
  const feed = new Feed(
    { disk, directory, stream: settings.id, serves: () => true },
    settings.lanes,
  );
  const table = await session.describe(settings.table);
  const memory = new BatchMemory();
  try {
    feed.seekSegment(oldest);
    feed.extend(end);
    for (;;) {
      const bounds = { rowsMax: batchRows, bytesMax: 8 << 20 };
      const assembly = new Assembly(feed.dictionary, bounds, memory);
      feed.read((block) => {
        const answer = assembly.add(block);
        if (answer !== 'later') digests.add(block);
        return answer;
      });
      if (assembly.records === 0) return;
      const { rules } = settings;
      await use(assembly.finish({ writer, epoch: 0, rules, table, wallMs: 0 }));
    }
  } finally {
    feed.close();
  }
}

interface LedgerCheck {
  readonly settled: ReadonlyMap<number, number>;
  readonly findings: Findings;
  readonly digests: Digests;
}

/** Per slice and record its end as the ledger has it; 255 where the ledger does not say. */
async function checkLedger(
  parts: VerifyParts,
  batch: Batch,
  { settled, findings, digests }: LedgerCheck,
): Promise<Uint8Array[]> {
  const { session, settings, writer } = parts;
  const all: Uint8Array[] = [];
  for (const { lane, first, last } of batch.slices) {
    const ends = new Uint8Array(last - first + 1).fill(255);
    const stream = { writer, stream: settings.rules.stream };
    const rows = await session.ledger(stream, { lane, first, last });
    for (const row of rows) {
      const own = decodeEnds(row);
      const digest = digests.take(row);
      if (digest !== undefined && digest !== row.digest) {
        const which = `records ${row.first} to ${row.last}`;
        const message = `Lane ${lane}: ${which} are not the bytes that were sent.`;
        findings.differ({ kind: 'digest', lane, sequence: row.first, message });
      }
      for (let i = 0; i < own.length; i++) {
        const at = row.first + i - first;
        if (at >= 0 && at < ends.length) ends[at] = own[i] ?? 255;
      }
    }
    const isSettled = last <= (settled.get(lane) ?? 0);
    const gap = ends.indexOf(255);
    // Ledger rows are pruned only where the retained journal does not reach any more.
    if (isSettled && gap >= 0) {
      const sequence = first + gap;
      const message = `Lane ${lane}: record ${sequence} is settled and not in the ledger.`;
      findings.differ({ kind: 'count', lane, sequence, message });
    }
    all.push(ends);
  }
  return all;
}

async function checkTable(
  parts: VerifyParts,
  batch: Batch,
  { ends, findings }: { readonly ends: readonly Uint8Array[]; readonly findings: Findings },
): Promise<void> {
  const { settings, session } = parts;
  const { rules } = settings;
  if (rules.key.length === 0) {
    findings.skip('the stream has no key', batch.count);
    return;
  }
  const verdicts = batch.count > 0 ? await session.compare(batch) : new Uint8Array(0);
  for (let row = 0; row < batch.count; row++) {
    const slice = batch.slices[batch.sliceOf[row] ?? 0];
    const sequence = batch.sequences[row] ?? 0;
    const end = ends[batch.sliceOf[row] ?? 0]?.[sequence - (slice?.first ?? 0)];
    if (end === 255) findings.skip('not settled yet', 1);
    else if (end === rowEnd.deadLetter) findings.skip('a dead letter', 1);
    else if (end === rowEnd.superseded) findings.skip('superseded', 1);
    else if (verdicts[row] === verdict.equal) findings.checked++;
    else if (verdicts[row] === verdict.different && mayBeOverwritten(rules.onConflict)) {
      findings.skip('may have been overwritten by a later row', 1);
    } else {
      const isAbsent = verdicts[row] === verdict.absent;
      findings.differ({
        kind: isAbsent ? 'missing' : 'different',
        lane: slice?.lane ?? 0,
        sequence,
        key: keyText(batch, row),
        message: isAbsent
          ? 'The row is not in the table.'
          : 'The row in the table has other content.',
      });
    }
  }
}

const mayBeOverwritten = (policy: Batch['rules']['onConflict']): boolean =>
  policy === 'update' || typeof policy === 'object';

/** The key columns of a row, as JSON: rendered from a tuple that has only them. */
function keyText(batch: Batch, row: number): string {
  const { bytes, journaled, rules } = batch;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kept: Uint8Array[] = [new Uint8Array([0, rules.key.length])];
  const set: number[] = [];
  let at = (batch.starts[row] ?? 0) + 2;
  for (const column of batch.columnSets[batch.sets[row] ?? 0] ?? []) {
    const end = at + 4 + Math.max(view.getInt32(at), 0);
    if (rules.key.includes(journaled.columns[column]?.name ?? '')) {
      kept.push(bytes.subarray(at, end));
      set.push(column);
    }
    at = end;
  }
  const tuple = Buffer.concat(kept);
  return renderRow(journaled, set, { bytes: tuple, start: 0, end: tuple.length });
}
