// What every target must do, in one body; test/target.test.ts runs it for each dialect on a ground
// of its own, and the staged route's for those that have one.
import { after, before, describe, test } from 'node:test';
import { bookCases, commonBookCases } from './target-book-cases.ts';
import { dedupeCases } from './target-dedupe-cases.ts';
import { lostCases, stagedLostCases } from './target-lost-cases.ts';
import { rowCases } from './target-row-cases.ts';
import { stagedCases } from './target-staged-cases.ts';
import type { Case, Ground } from './target-stream.ts';

/** Registers the contract's tests for one dialect. */
export const contract = (name: string, make: () => Promise<Ground>): void =>
  register(name, make, [...rowCases, ...bookCases, ...lostCases]);

/** The same for its staged route: rows find the same ends there. */
export const stagedContract = (name: string, make: () => Promise<Ground>): void =>
  register(`${name}, staged`, make, [
    ...rowCases,
    ...commonBookCases,
    ...stagedCases,
    ...dedupeCases,
    ...stagedLostCases,
  ]);

function register(name: string, make: () => Promise<Ground>, cases: readonly Case[]): void {
  describe(name, () => {
    let ground: Ground | undefined;
    before(async () => {
      ground = await make();
    });
    after(() => ground?.close());
    for (const [title, run] of cases) {
      test(title, () => (ground ? run(ground) : Promise.reject(new Error('no ground'))));
    }
  });
}
