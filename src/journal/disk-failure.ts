// What an error of the journal's disk means: there is no room now, or it cannot be relied on.
import { HoldfastError, type Outcome } from '../errors.ts';

const shortageCodes = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EMFILE', 'ENFILE']);

// Result codes of SQLite: https://sqlite.org/rescode.html
const sqliteBusy = 5;
const sqliteFull = 13;

/** A database that another connection has locked; the upper bits only say in which way. */
export const isBusy = (error: unknown): boolean =>
  error instanceof Error &&
  'errcode' in error &&
  typeof error.errcode === 'number' &&
  (error.errcode & 0xff) === sqliteBusy;

/** No room, now: not a failure of what was written before. */
export const isShortage = (error: unknown): error is Error & { readonly code: string } =>
  error instanceof Error &&
  'code' in error &&
  typeof error.code === 'string' &&
  (shortageCodes.has(error.code) || ('errcode' in error && error.errcode === sqliteFull));

/** A shortage that a file less may end; of descriptors it is none. */
export const isOutOfRoom = ({ code }: { readonly code: string }): boolean =>
  code !== 'EMFILE' && code !== 'ENFILE';

/** Node's own error of a call on a file, or SQLite's. */
const isOfDisk = (error: unknown): error is Error =>
  error instanceof Error && 'code' in error && ('syscall' in error || 'errcode' in error);

/**
 * An error of the disk in the product's words: HF_JOURNAL_FULL where there is no room, else
 * HF_JOURNAL_FAILED. Any other error as it is. `outcome`: 'not written' only where nothing of the
 * caller's can have been accepted.
 */
export function diskFailure(error: unknown, outcome: Outcome = 'not written'): unknown {
  if (!isOfDisk(error)) return error;
  const code = isShortage(error) ? 'HF_JOURNAL_FULL' : 'HF_JOURNAL_FAILED';
  const message = `The journal's disk refused: ${error.message}.`;
  return new HoldfastError(code, message, { cause: error, outcome });
}
