// Lives of which each call to the kernel is known: what a short life asks for where nobody
// interferes, so that one of its calls can be chosen.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProcessFolder } from './process-folder.ts';
import {
  type ChangingCall,
  changingPlaces,
  databasePaths,
  injecting,
  journalPaths,
  tracing,
} from './strace.ts';

/** So many that a segment ends, and one is dropped. */
const requests = 60;
const requestsAfterKill = 4;

/** A life in which one call is to be chosen. */
export interface Kind {
  readonly files: 'journal' | 'databases';
  /** The folder that it finds; undefined: an empty one. */
  readonly left?: ProcessFolder;
}

/** The at-th such call of a thread. */
export interface Point extends Kind {
  readonly call: ChangingCall;
  readonly at: number;
}

export const pathsOf = ({ files }: Kind, { path }: ProcessFolder): string[] =>
  files === 'journal' ? journalPaths(path) : databasePaths(path);

/** The target's calls are to be made on the thread that is counted: no thread of the loaders'. */
export function begin(root: string, { left }: Kind): ProcessFolder {
  const folder = new ProcessFolder(mkdtempSync(join(root, 'calls-')), 'own');
  if (left) folder.restore(left);
  return folder;
}

export const lastOf = (folder: ProcessFolder): number =>
  folder.acknowledged.size === 0 ? requests : folder.first + requestsAfterKill;

/** What the same life asks of the kernel where nobody interferes. */
async function placesOf(root: string, kind: Kind) {
  const folder = begin(root, kind);
  const trace = join(folder.path, 'trace');
  const traced = tracing(pathsOf(kind, folder), trace);
  const started = folder.start({ last: lastOf(folder), traced });
  await folder.end(started);
  assert.equal(started.exitCode, 0, 'a life in which nobody interferes ends well');
  const places = changingPlaces(readFileSync(trace, 'utf8'));
  folder.remove();
  return places;
}

/** Lives until the point, and dies there; undefined where it never came to it. */
export async function killAt(root: string, point: Point): Promise<ProcessFolder | undefined> {
  const folder = begin(root, point);
  const { call, at } = point;
  const traced = injecting(pathsOf(point, folder), { call, at, effect: 'signal=KILL' });
  const started = folder.start({ last: lastOf(folder), traced });
  await folder.end(started);
  if (started.signalCode === 'SIGKILL') return folder;
  assert.equal(started.exitCode, 0, `neither killed nor well, at ${call} ${at}`);
  folder.remove();
  return undefined;
}

/** Killed amid its writing: what the next process has to recover from. */
async function leftByKill(root: string): Promise<ProcessFolder> {
  const kind = { files: 'journal' } as const;
  const syncs = (await placesOf(root, kind)).get('fdatasync') ?? [];
  const folder = await killAt(root, {
    ...kind,
    call: 'fdatasync',
    at: syncs.at(Math.floor(syncs.length / 2)) ?? 1,
  });
  assert(folder && folder.acknowledged.size > 0, 'it was killed after it had acknowledged');
  return folder;
}

interface Choice {
  readonly seed: number;
  /** Of the calls on databases, one in so many; others with each seed. */
  readonly databasesEach: number;
}

/** The points of a life in an empty folder, and of one in what a kill left. */
export async function pointsOf(root: string, { seed, databasesEach }: Choice): Promise<Point[]> {
  const left = await leftByKill(root);
  const kinds: Kind[] = [
    { files: 'journal' },
    { files: 'journal', left },
    { files: 'databases' },
    { files: 'databases', left },
  ];
  const points: Point[] = [];
  for (const kind of kinds) {
    const each = kind.files === 'journal' ? 1 : databasesEach;
    for (const [call, places] of await placesOf(root, kind)) {
      const chosen = places.filter((_, i) => i % each === seed % each);
      points.push(...chosen.map((at) => ({ ...kind, call, at })));
    }
  }
  return points;
}
