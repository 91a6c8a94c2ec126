// What loaders are served of a recovered journal in which copies of what a held stream needs stand
// in the place of segments (P18): all behind what is settled, as it was written.
import type { Disk } from '../src/disk.ts';
import { HoldfastError } from '../src/errors.ts';
import { Feed } from '../src/merge/feed.ts';
import type { History } from './history.ts';
import { type Belief, laneName, type Recovered, recoveredBlock, Violation } from './oracle.ts';

export interface Served {
  readonly recovered: Recovered;
  readonly belief: Belief;
  readonly history: History;
}

/** O2, O4, O7 of the streams that have copies. */
export function checkServed(disk: Disk, directory: string, served: Served): void {
  for (const stream of served.recovered.copied) checkStream(disk, directory, { ...served, stream });
}

function checkStream(
  disk: Disk,
  directory: string,
  { recovered, belief, history, stream }: Served & { readonly stream: number },
): void {
  const { found } = recovered;
  const last = found?.last.get(stream);
  if (!found || !last) throw new Violation('lost', `stream ${stream}, which has copies`);
  const reached = Float64Array.from(last, (_, lane) => {
    return belief.settled.get(laneName(stream, lane)) ?? 0;
  });
  const feed = new Feed({ disk, directory, stream, serves: () => true }, last.length);
  try {
    feed.seek(reached);
    feed.extend(found.end);
    feed.read((block) => {
      const { lane, first, rowCount } = block.header;
      if (!history.has(recoveredBlock(block))) {
        throw new Violation('wrong', `records ${first}+${rowCount} of ${laneName(stream, lane)}`);
      }
      reached[lane] = first + rowCount - 1;
      return 'more';
    });
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    throw new Violation('lost', error.message);
  } finally {
    feed.close();
  }
  const short = last.findIndex((end, lane) => (reached[lane] ?? 0) < end);
  if (short >= 0)
    throw new Violation('lost', `lane ${laneName(stream, short)} is not served whole`);
}
