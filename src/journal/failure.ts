// How a journal fails: once, for good, by the first write or sync that failed (I3).
import { HoldfastError, type Outcome } from '../errors.ts';

export class JournalFailure {
  /** Resolves with the reason once it has failed. */
  readonly told: Promise<HoldfastError>;
  /** What is said to whom comes later. */
  refusal: HoldfastError | undefined;
  tell: () => void = () => undefined;
  #tell: (error: HoldfastError) => void = () => undefined;

  constructor() {
    this.told = new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  /** Returns the error by what is known of a waiter's records; they hear of it before `tell`. */
  begin(cause: unknown): (outcome: Outcome) => HoldfastError {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `The journal failed for good: ${why}.`;
    const failure = (outcome: Outcome): HoldfastError =>
      new HoldfastError('HF_JOURNAL_FAILED', message, { cause, outcome });
    this.refusal = failure('not written');
    this.tell = () => this.#tell(failure('unknown'));
    return failure;
  }
}
