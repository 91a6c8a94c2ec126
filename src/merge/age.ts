// P4: a journal that is an older copy (restored from a backup, or begun anew while its target was
// down) reuses sequences that its target has settled. The newest ledger row of each lane says
// which bytes were sent for them: blocks of the journal that stand for the same sequences must
// give the same digest.
import { crc32 } from 'node:zlib';
import type { Disk } from '../disk.ts';
import { blockKind } from '../journal/block.ts';
import { BlockReader } from '../journal/block-reader.ts';
import { openStreamFile } from '../journal/files.ts';
import type { LaneState, Session, StreamId } from '../target/target.ts';
import type { LedgerRow } from './ledger.ts';

export interface AgeParts {
  readonly disk: Disk;
  readonly directory: string;
  /** The stream's id in the journal. */
  readonly id: number;
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

function compare(sums: Map<number, Sum>, { disk, directory, id }: AgeParts): number | undefined {
  for (let number = 0; ; number++) {
    const found = openStreamFile(disk, directory, { stream: id, number });
    if (!found) return undefined;
    const { file } = found;
    number = found.number;
    try {
      const reader = new BlockReader(file);
      const salt = reader.read(0)?.header.salt;
      for (let at = 0; ; ) {
        const block = reader.read(at, true);
        if (!block || block.header.salt !== salt) break;
        at = block.next;
        const { kind, stream, lane, first, rowCount, payloadCrc } = block.header;
        const isRecords = kind === blockKind.rows || kind === blockKind.undecoded;
        const sum = isRecords && stream === id ? sums.get(lane) : undefined;
        if (sum && isStrange(sum, { first, last: first + rowCount - 1, payloadCrc })) return lane;
      }
    } finally {
      file.close();
    }
  }
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
