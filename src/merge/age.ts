// P4: a journal that is an older copy (restored from a backup, or begun anew while its target was
// down) reuses sequences that its target has settled. The newest ledger row of each lane says
// which bytes were sent for them: blocks of the journal that stand for the same sequences must
// give the same digest.
import { crc32 } from 'node:zlib';
import { blockKind } from '../journal/block.ts';
import type { LaneState, Session, StreamId } from '../target/target.ts';
import { blocksOf, type JournaledStream } from './journaled.ts';
import type { LedgerRow } from './ledger.ts';

export interface AgeParts extends JournaledStream {
  readonly stream: StreamId;
}

interface Sum {
  readonly row: LedgerRow;
  digest: number;
  /** The next sequence that belongs to the row; undefined until its first block was seen. */
  next: number | undefined;
}

/** A lane whose journaled records are not those that were settled; undefined where none is seen. */
export async function findStrangeLane(
  session: Session,
  lanes: readonly LaneState[],
  parts: AgeParts,
): Promise<number | undefined> {
  const sums = new Map<number, Sum>();
  for (const { lane, staged } of lanes) {
    if (staged === 0) continue;
    const range = { lane, first: staged, last: staged, isStagedToo: true };
    const [row] = await session.ledger(parts.stream, range);
    if (row) sums.set(lane, { row, digest: 0, next: undefined });
  }
  return sums.size === 0 ? undefined : compare(sums, parts);
}

function compare(sums: Map<number, Sum>, parts: AgeParts): number | undefined {
  const rows = [...sums.values()].map(({ row }) => row);
  const hasSome = (from: ArrayLike<number>, to: ArrayLike<number> | undefined): boolean =>
    rows.some(({ lane, first, last }) => {
      return (from[lane] ?? 0) < last && (to?.[lane] ?? Number.POSITIVE_INFINITY) >= first;
    });
  for (const { block } of blocksOf(parts, hasSome)) {
    const { kind, stream, lane, first, rowCount, payloadCrc } = block.header;
    const isRecords = kind === blockKind.rows || kind === blockKind.undecoded;
    const sum = isRecords && stream === parts.id ? sums.get(lane) : undefined;
    if (sum && isStrange(sum, { first, last: first + rowCount - 1, payloadCrc })) return lane;
  }
  return undefined;
}

/** Takes a block into the sum; whether it, or the row's sum with it, is not what was sent. */
function isStrange(
  sum: Sum,
  block: { readonly first: number; readonly last: number; readonly payloadCrc: number },
): boolean {
  const { row } = sum;
  if (block.last < row.first || block.first > row.last) return false;
  // A ledger row covers whole blocks.
  if (block.first < row.first || block.last > row.last) return true;
  if (block.first !== (sum.next ?? row.first)) return false;
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, block.payloadCrc, true);
  sum.digest = crc32(bytes, sum.digest);
  sum.next = block.last + 1;
  return block.last === row.last && sum.digest !== row.digest;
}
