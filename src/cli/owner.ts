// Whoever owns the journal does what a command asks: this process, which opens it for as long as
// the command runs, or a `serve` that is running already, through its HTTP address beside the lock.

import { systemDisk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import { readOwner } from '../journal/lock.ts';
import type { LostRange } from '../merge/lost.ts';
import type { LoadOptions, LoadResult, LoadState, Status, VerifyResult } from '../types.ts';
import type { Config } from './config.ts';
import { openHere } from './local.ts';

export type ReplayEnd = 'merged' | 'duplicate' | 'superseded' | 'deadLetter';

export interface JournalOwner {
  /** Whether only inputs of known size and digest can be loaded. */
  readonly needsSource: boolean;
  status(): Promise<Status>;
  verify(options: VerifyOptions): Promise<VerifyResult>;
  /** See Holdfast.passOver. */
  passOver(stream: string, options: { readonly dryRun: boolean }): Promise<readonly LostRange[]>;
  beginLoad(stream: string, options: LoadOptions): Promise<LoadState>;
  /** `input` begins at the state's offset. */
  continueLoad(
    state: LoadState,
    input: AsyncIterable<Uint8Array>,
    options: LoadOptions,
  ): Promise<LoadResult>;
  reportedLoad(load: string): Promise<void>;
  /**
   * Dead letters are JSON text, as deadLetterJson writes it: parsed, their numbers would change.
   * Read as they are taken, some at a time, parted by commas; without `limit` all there are.
   */
  listDeadLetters(filter: LettersWanted): AsyncIterable<string>;
  showDeadLetter(id: string): Promise<string>;
  replayDeadLetter(id: string): Promise<ReplayEnd>;
  dropDeadLetter(id: string): Promise<void>;
  /** Drains and lets the journal go where this process owns it. */
  close(): Promise<void>;
}

export interface LettersWanted {
  readonly stream: string | undefined;
  readonly limit: number | undefined;
}

interface VerifyOptions {
  readonly stream?: string;
  readonly onProgress?: (share: number) => void;
}

/** Opens the journal, or finds its owner's address. Throws HF_JOURNAL_LOCKED where it has none. */
export async function reachOwner(config: Config): Promise<JournalOwner> {
  try {
    return await openHere(config.options);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'HF_JOURNAL_LOCKED') throw error;
    const url = readOwner(systemDisk, config.options.journal)?.url;
    if (url === undefined) throw error;
    // Node.js takes 50 ms to load its HTTP client, which few commands need.
    const { connectTo } = await import('./remote.ts');
    return connectTo({ url, ...config.credentials });
  }
}

/** Runs `work` with the journal's owner, and lets go of it whatever comes. */
export async function withOwner<T>(
  config: Config,
  work: (owner: JournalOwner) => Promise<T>,
): Promise<T> {
  const owner = await reachOwner(config);
  try {
    return await work(owner);
  } finally {
    await owner.close();
  }
}
