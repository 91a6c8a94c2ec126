// Holdfast's own tables in a target: whether they are the ones that this program needs.
import { TargetError } from './target.ts';

export interface Needed {
  readonly version: number;
  /** Whether the program may make them, and bring earlier ones up. */
  readonly create: boolean;
  /** What the operator does to bring earlier ones up; as a rule, the same as to make them. */
  readonly remedy?: string;
}

const bySql = 'Run what `holdfast init --sql` prints.';

/**
 * Whether the tables, `found` in a version (0: there are none), are as needed. Throws where it is
 * not for the program to make them so: they are newer, or it may not `create` them.
 */
export function areReady(found: number, { version, create, remedy = bySql }: Needed): boolean {
  if (found === version) return true;
  if (create && found < version) return false;
  const other = `Holdfast’s own tables are of version ${found}; this program needs ${version}.`;
  if (found > version) throw new TargetError('hold', '', `${other} Run a later one.`);
  if (found > 0) throw new TargetError('hold', '', `${other} ${remedy}`);
  throw new TargetError('hold', '', `Holdfast’s own tables are missing. ${bySql}`);
}
