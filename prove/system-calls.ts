// The part of campaign `kills` that leaves nothing to chance: a process of a short workload is
// killed at its k-th call to the kernel that changes a file, for every call and every k: in an
// empty folder, and in one that a killed process left. On the journal's files each k; on those of
// the databases one in `databasesEach`, others with each seed.
import type { Tally } from './campaign.ts';
import { killAt, type Point, pointsOf } from './traced-life.ts';

const databasesEach = 8;
const processesAtOnce = 2;

interface Attack {
  readonly tally: Tally;
  readonly root: string;
  readonly seed: number;
}

async function attackPoint({ tally, root }: Attack, point: Point): Promise<void> {
  const { call, at, left } = point;
  const where = `killed at ${call} ${at}${left ? ', after a kill' : ''}`;
  try {
    const folder = await killAt(root, point);
    if (!folder) return tally.vacuous();
    tally.see('killed at a system call');
    tally.see(`killed at ${call}`);
    if (left) tally.see('killed where a kill was recovered from');
    if (folder.acknowledged.size > 0) tally.ran();
    await folder.audit(tally);
    folder.remove();
  } catch (error) {
    tally.take(error, where);
  }
}

/** Every kill point of one workload, whatever it takes. */
export async function killAtEachCall(attack: Attack): Promise<void> {
  const points = await pointsOf(attack.root, { seed: attack.seed, databasesEach });
  const work = async (): Promise<void> => {
    for (let point = points.shift(); point; point = points.shift()) {
      await attackPoint(attack, point);
    }
  };
  await Promise.all(Array.from({ length: processesAtOnce }, work));
}
