// Turns whatever went wrong into the one shape of a refusal. The status, whether to try again and
// what became of the write come from the error table; nothing else of an error leaves the process.
import {
  type ErrorCode,
  errorTable,
  HoldfastError,
  type Outcome,
  type Rejection,
} from '../errors.ts';
import { TargetError } from '../target/target.ts';

export interface RefusalBody {
  readonly code: ErrorCode;
  readonly outcome: Outcome;
  readonly message: string;
  readonly retryable: boolean;
  readonly requestId: string;
  readonly rejected?: readonly Rejection[];
}

/** `error` as a HoldfastError; what nobody foresaw becomes HF_BUG with the error as its cause. */
export function knownError(error: unknown): HoldfastError {
  if (error instanceof HoldfastError) return error;
  if (error instanceof TargetError) {
    const code = error.code === '' ? '' : ` (${error.code})`;
    const message = `The target refused or could not be reached: ${error.kind}${code}.`;
    return new HoldfastError('HF_TARGET', message, { cause: error });
  }
  return fastifyError(error) ?? bug(error);
}

function fastifyError(error: unknown): HoldfastError | undefined {
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined;
  const { statusCode, message } = error;
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499) return undefined;
  const codes: { readonly [status: number]: ErrorCode } = {
    413: 'HF_TOO_LARGE',
    415: 'HF_MEDIA_TYPE',
  };
  return new HoldfastError(codes[statusCode] ?? 'HF_USAGE', `${message}.`, { cause: error });
}

const bug = (cause: unknown): HoldfastError =>
  new HoldfastError('HF_BUG', 'Something failed here that must not; the log has it.', { cause });

/** What may keep a request from having its key looked up. */
const beforeLookUp = new Set<ErrorCode>(['HF_OVERLOADED', 'HF_DRAINING', 'HF_TIMEOUT']);

/**
 * What became of a request as it is told: of one with a key, what kept it from being looked up says
 * nothing of what became of it when it was sent before.
 */
export function outcomeOf({ code, outcome }: HoldfastError, isKeyed: boolean): Outcome {
  return isKeyed && beforeLookUp.has(code) && outcome === 'not written' ? 'unknown' : outcome;
}

export const statusOf = (error: HoldfastError): number => errorTable[error.code].status;

export const refusalBody = (error: HoldfastError, requestId: string): RefusalBody => ({
  code: error.code,
  outcome: error.outcome,
  message: error.message,
  retryable: error.retryable,
  requestId,
  ...(error.rejected && { rejected: error.rejected }),
});
