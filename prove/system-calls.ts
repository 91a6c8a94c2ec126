// The part of campaign `kills` that leaves nothing to chance: a process of a short workload is
// killed at its k-th call to the kernel that changes a file, for every call and every k: in an
// empty folder, and in one that a killed process left. On the journal's files each k; on those of
// the databases one in `databasesEach`, others with each seed.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tally } from './campaign.ts';
import { ProcessFolder } from './process-folder.ts';
import {
  type ChangingCall,
  changingPlaces,
  databasePaths,
  injecting,
  journalPaths,
  tracing,
} from './strace.ts';

/** So many that a segment ends. */
const requests = 44;
const requestsAfterKill = 4;
const databasesEach = 8;
const processesAtOnce = 2;
const kill = 'signal=KILL';

interface Attack {
  readonly tally: Tally;
  readonly root: string;
  readonly seed: number;
}

/** A life to be cut short. */
interface Kind {
  readonly pathsOf: (folder: string) => string[];
  /** The folder that it finds; undefined: an empty one. */
  readonly left?: ProcessFolder;
}

interface Point extends Kind {
  readonly call: ChangingCall;
  readonly at: number;
}

/** The target's calls are to be made on the thread that is counted: no thread of the loaders'. */
function begin(root: string, { left }: Kind): ProcessFolder {
  const folder = new ProcessFolder(mkdtempSync(join(root, 'calls-')), 'own');
  if (left) folder.restore(left);
  return folder;
}

const lastOf = (folder: ProcessFolder): number =>
  folder.acknowledged.size === 0 ? requests : folder.first + requestsAfterKill;

/** What the same life asks of the kernel where nobody kills it. */
async function placesOf(root: string, kind: Kind) {
  const folder = begin(root, kind);
  const trace = join(folder.path, 'trace');
  const under = tracing(kind.pathsOf(folder.path), trace);
  const started = folder.start({ last: lastOf(folder), under });
  await folder.end(started);
  assert.equal(started.exitCode, 0, 'a life that nobody kills ends well');
  const places = changingPlaces(readFileSync(trace, 'utf8'));
  folder.remove();
  return places;
}

/** Lives until the point, and dies there; undefined where it never came to it. */
async function killAt(root: string, point: Point): Promise<ProcessFolder | undefined> {
  const folder = begin(root, point);
  const { call, at, pathsOf } = point;
  const under = injecting(pathsOf(folder.path), { call, at, effect: kill });
  const started = folder.start({ last: lastOf(folder), under });
  await folder.end(started);
  if (started.signalCode === 'SIGKILL') return folder;
  assert.equal(started.exitCode, 0, `neither killed nor well, at ${call} ${at}`);
  folder.remove();
  return undefined;
}

/** Killed while it wrote its last requests: what the next process has to recover from. */
async function leftByKill(root: string): Promise<ProcessFolder> {
  const kind = { pathsOf: journalPaths };
  const syncs = (await placesOf(root, kind)).get('fdatasync') ?? [];
  const folder = await killAt(root, { ...kind, call: 'fdatasync', at: syncs.at(-3) ?? 1 });
  assert(folder && folder.acknowledged.size > 0, 'it was killed after it had acknowledged');
  return folder;
}

async function pointsOf(root: string, seed: number): Promise<Point[]> {
  const left = await leftByKill(root);
  const kinds: (Kind & { readonly each: number })[] = [
    { pathsOf: journalPaths, each: 1 },
    { pathsOf: journalPaths, left, each: 1 },
    { pathsOf: databasePaths, each: databasesEach },
    { pathsOf: databasePaths, left, each: databasesEach },
  ];
  const points: Point[] = [];
  for (const { each, ...kind } of kinds) {
    for (const [call, places] of await placesOf(root, kind)) {
      const chosen = places.filter((_, i) => i % each === seed % each);
      points.push(...chosen.map((at) => ({ ...kind, call, at })));
    }
  }
  return points;
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
  const points = await pointsOf(attack.root, attack.seed);
  const work = async (): Promise<void> => {
    for (let point = points.shift(); point; point = points.shift()) {
      await attackPoint(attack, point);
    }
  };
  await Promise.all(Array.from({ length: processesAtOnce }, work));
}
