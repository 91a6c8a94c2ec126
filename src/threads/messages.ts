// What crosses between the threads: calls with their answers, and events. Plain values only.
import type { ErrorCode, ErrorDetails } from '../errors.ts';
import { HoldfastError } from '../errors.ts';

export interface LoaderThreadStart {
  readonly target: string;
  readonly directory: string;
  readonly writer: string;
  readonly owner: string;
  readonly createTables: boolean;
  readonly positions: boolean;
}

export interface Call {
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

export type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: Failure }
  | { readonly event: string; readonly args: readonly unknown[] };

/** An error as it crosses; what is not ours is a bug, with its message. */
export function toFailure(error: unknown): Failure {
  if (error instanceof HoldfastError) {
    const { code, message, rejected, outcome, retryAfterSeconds } = error;
    const listed = rejected ? { rejected } : {};
    const later = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
    return { code, message, details: { outcome, ...listed, ...later } };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: 'HF_BUG', message, details: {} };
}

export const fromFailure = ({ code, message, details }: Failure): HoldfastError =>
  new HoldfastError(code, message, details);
