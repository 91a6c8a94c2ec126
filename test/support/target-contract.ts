// What every target must do, in one body; test/target.test.ts runs it for each dialect on a ground
// of its own.
import { after, before, describe, test } from 'node:test';
import { bookCases } from './target-book-cases.ts';
import { rowCases } from './target-row-cases.ts';
import type { Ground } from './target-stream.ts';

/** Registers the contract's tests for one dialect. */
export function contract(name: string, make: () => Promise<Ground>): void {
  describe(name, () => {
    let ground: Ground | undefined;
    before(async () => {
      ground = await make();
    });
    after(() => ground?.close());
    for (const [title, run] of [...rowCases, ...bookCases]) {
      test(title, () => (ground ? run(ground) : Promise.reject(new Error('no ground'))));
    }
  });
}
