const codes = new Set([
  'HF_JOURNAL_FAILED',
  'HF_JOURNAL_FULL',
  'HF_TARGET',
  'EIO',
  'ENOSPC',
  'EROFS',
  'EMFILE',
  'EDQUOT',
  'EFBIG',
]);

/** With what a process may leave when what is below it fails. */
export const isOfSurroundings = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && codes.has(String(error.code));
