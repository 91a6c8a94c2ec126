// What can go wrong with an operation of the simulated disk, and when.

/** Errors with which an operation fails before it has done anything; but see `sync`. */
const errors = ['EIO', 'ENOSPC', 'EDQUOT', 'EROFS', 'EFBIG', 'EMFILE'] as const;
type DiskError = (typeof errors)[number];

export type Fault =
  | 'die'
  /** EIO of a sync: what was not yet on the platter is lost, and the next sync succeeds. */
  | DiskError
  /** A write takes only a part. */
  | 'short';

const changeErrors: readonly DiskError[] = ['EIO', 'ENOSPC', 'EDQUOT', 'EROFS'];
const readErrors: readonly DiskError[] = ['EIO'];

/** The faults that can strike an operation of this name, a death aside. */
const faultsByOperation: Readonly<Record<string, readonly Fault[]>> = {
  'open create': [...changeErrors, 'EMFILE'],
  'open write': ['EIO', 'EROFS', 'EMFILE'],
  'open read': ['EIO', 'EMFILE'],
  'open directory': ['EIO', 'EMFILE'],
  write: [...changeErrors, 'EFBIG', 'short'],
  sync: ['EIO', 'ENOSPC', 'EDQUOT'],
  read: readErrors,
  list: ['EIO', 'EMFILE'],
  rename: changeErrors,
  remove: ['EIO', 'EROFS'],
  makeDirectory: changeErrors,
  syncDirectory: changeErrors,
  freeBytes: readErrors,
  lock: [...changeErrors, 'EMFILE'],
  database: [...changeErrors, 'EMFILE'],
};

export const faultsOf = (operation: string): readonly Fault[] => faultsByOperation[operation] ?? [];

export interface FaultPlan {
  readonly fault: Fault;
  /** The number of the operation, from 1. */
  readonly at?: number;
  /** Or: the next operation of this name … */
  readonly operation?: string;
  /** … on a path that ends in this. */
  readonly path?: string;
  /** It strikes this operation and every one after it that it can strike. */
  readonly isLasting?: boolean;
}

export const failure = (code: string, operation: string, path: string): Error =>
  Object.assign(new Error(`${code}: simulated, ${operation} '${path}'`), {
    code,
    syscall: operation,
  });

/** Whether the plan is for this operation, the `number`-th. */
export function strikes(
  { at = 0, fault, isLasting = false, operation, path = '' }: FaultPlan,
  of: { readonly operation: string; readonly path: string; readonly number: number },
): boolean {
  if (isLasting) return of.number >= at && faultsOf(of.operation).includes(fault);
  return at === of.number || (operation === of.operation && of.path.endsWith(path));
}
