// Broken builds, each a textual change of one source file, and what must notice it. The text must
// occur exactly once: where the source has moved on, the mutant fails loudly and is written anew.
import { alteredMutants } from './altered-mutants.ts';
import { dedupeMutants } from './dedupe-mutants.ts';
import { divisionMutants } from './division-mutants.ts';
import { inputMutants } from './input-mutants.ts';
import { journalMutants } from './journal-mutants.ts';
import { lostMutants } from './lost-mutants.ts';
import { httpMutants, realMutants } from './outer-mutants.ts';
import { protocolMutants } from './protocol-mutants.ts';
import { retentionMutants } from './retention-mutants.ts';
import { sealedMutants } from './sealed-mutants.ts';
import { serverMutants } from './server-mutants.ts';
import { simulatedMutants } from './simulated-mutants.ts';
import { threadMutants } from './thread-mutants.ts';

/** A campaign, run briefly from a seed that is known to find it soon, so far as `count` allows. */
export interface CampaignKiller {
  readonly campaign: string;
  readonly count: number;
  readonly seed?: number;
  readonly only?: string;
}

/** Tests of a file, by the beginning of their names. */
export interface TestKiller {
  readonly test: string;
  readonly names: string;
}

export type Killer = CampaignKiller | TestKiller;

export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly search: string;
  readonly replace: string;
  readonly killer: Killer;
}

/** Mutants that nothing can tell from the product, and why. */
export const equivalent: Readonly<Record<string, string>> = {
  'an ambiguous commit is tried again without asking':
    'The guard of the second attempt finds `settled` moved and raises: the lanes are read again ' +
    '(P1). The question is asked first only because it also waits for the first attempt to end.',
  'no sync of a segment before the next one is begun':
    'Each group of it was synced before it was acknowledged; there is nothing left to sync.',
  'a missing segment is not noticed by its number':
    'The successor’s checkpoint names the segment before it, which is not the one that was found.',
};

const states = { campaign: 'states', count: 20_000 } as const;
const faults = { campaign: 'faults', count: 250 } as const;
const target = { campaign: 'faults', count: 150, only: 'target' } as const;
const failover = { campaign: 'faults', count: 75, only: 'failover' } as const;
const flips = { campaign: 'flips', count: 7_000 } as const;
const sqlite = (names: string): Killer => ({
  test: 'test/target.test.ts',
  names: `SQLite ${names}`,
});

const recoveryMutants: readonly Mutant[] = [
  {
    name: 'no checksum of a payload',
    file: 'src/journal/block.ts',
    search:
      'return end <= from.bytes.length && ' +
      'crc32(from.bytes.subarray(start, end)) === header.payloadCrc;',
    replace: 'return end <= from.bytes.length;',
    killer: flips,
  },
  {
    name: 'no checksum of a header',
    file: 'src/journal/block.ts',
    search: '  if (crc32(bytes.subarray(at + 8, at + headerBytes)) !== sum) return undefined;\n',
    replace: '  if (sum === -1) return undefined;\n',
    killer: flips,
  },
  {
    name: 'corruption is taken for a torn tail',
    file: 'src/journal/recovery.ts',
    search: "  if (stop.hasWitness) return 'corrupt';\n",
    replace: '',
    killer: flips,
  },
  {
    name: 'a torn tail is taken for corruption',
    file: 'src/journal/recovery.ts',
    search: '(segment === number && offset > end)',
    replace: '(segment === number && offset >= end)',
    killer: states,
  },
  {
    name: 'a segment’s end is not compared with its successor',
    file: 'src/journal/recovery.ts',
    search: "if (stop.place === 'earlier') return stop.isExpected ? 'end' : 'corrupt';",
    replace: "if (stop.place === 'earlier') return 'end';",
    killer: { test: 'test/journal.test.ts', names: 'the decision table' },
  },
  {
    name: 'a segment may be shorter than it was made',
    file: 'src/journal/segment-head.ts',
    search: 'if (head.size >= made) return',
    replace: 'if (head.size + made >= 0) return',
    killer: flips,
  },
  {
    name: 'half a group is recovered',
    file: 'src/journal/recovery.ts',
    search:
      'if (!block || block.header.salt !== life.salt || block.header.segment !== life.number) ' +
      'return;',
    replace:
      'if (!block || block.header.salt !== life.salt || block.header.segment !== life.number) ' +
      'return offsets.length > 0 ? { offsets, end: at } : undefined;',
    killer: states,
  },
  {
    name: 'no salt: another life’s bytes are taken',
    file: 'src/journal/recovery.ts',
    search: '!block || block.header.salt !== life.salt || ',
    replace: '!block || ',
    killer: flips,
  },
];

const pathMutants: readonly Mutant[] = [
  {
    name: 'an ambiguous commit counts as done',
    file: 'src/merge/loader.ts',
    search: 'if (booked.at(-1)?.last !== last) return this.#reread(session);',
    replace: '',
    killer: target,
  },
  {
    name: 'a target that went back is not noticed',
    file: 'src/merge/loader.ts',
    search: 'state.staged !== from);',
    replace: 'state.staged > from);',
    killer: failover,
  },
  {
    name: 'confirmed without asking the standby',
    file: 'src/confirm.ts',
    search: '      if (!(await session.isReplicated(open.position))) break;\n',
    replace: '',
    killer: failover,
  },
  {
    name: 'watermarks from memory: a repeat counts twice',
    file: 'src/watermarks.ts',
    search: '      this.#ends[lane] = addCounts(noCounts, state);',
    replace: '      this.#ends[lane] = addCounts(this.#ends[lane] ?? noCounts, state);',
    killer: { test: 'test/holdfast.test.ts', names: 'ends that a target forgot' },
  },
  {
    name: 'a key is known without its content',
    file: 'src/writing.ts',
    search: 'if (note && note.digest !== digest) {',
    replace: "if (note?.digest === '') {",
    killer: faults,
  },
  {
    name: 'keys are not remembered after a restart',
    file: 'src/open-journal.ts',
    search: 'for (const note of notes) opened().recover(note);',
    replace: 'if (notes.length < 0) opened().flush();',
    killer: faults,
  },
];

const targetMutants: readonly Mutant[] = [
  {
    name: 'who was replaced does not look whose its lanes are',
    file: 'src/merge/link.ts',
    search: 'lane.epoch > epoch);',
    replace: 'lane.epoch < 0);',
    killer: { test: 'test/takeover.test.ts', names: 'a process that was replaced' },
  },
  {
    name: 'SQLite: no epoch check',
    file: 'src/target/sqlite/lanes.ts',
    search: '    if (epoch > batch.epoch) {',
    replace: '    if (epoch < 0) {',
    killer: sqlite('a later claim fences'),
  },
  {
    name: 'SQLite: an epoch that was forgotten is given out again',
    file: 'src/target/sqlite/lanes.ts',
    search: "max(max(epoch) + 1, CAST(unixepoch('subsec') * 1000000 AS INTEGER))",
    replace: 'max(epoch) + 1',
    killer: sqlite('claims raise the epoch'),
  },
  {
    name: 'SQLite: the guard does not look where the lane stands',
    file: 'src/target/sqlite/lanes.ts',
    search: "if (epoch === batch.epoch && row?.['settled'] === first - 1) continue;",
    replace: 'if (epoch === batch.epoch && first > 0) continue;',
    killer: sqlite('a lane that has moved'),
  },
  {
    name: 'SQLite: no ledger',
    file: 'src/target/sqlite/books.ts',
    search: 'connection.write(bookSql, ...id, ...range, ...countsOf(row), ...what);',
    replace: 'if (range.length + what.length < 0) connection.write(bookSql);',
    killer: sqlite('new rows are merged'),
  },
  {
    name: 'SQLite: the books outside the transaction of the rows',
    file: 'src/target/sqlite/merge.ts',
    search: '    settle(merging.connection, batch, { ends: undefined, letters: [] });\n  });',
    replace:
      '  });\n  merging.connection.transaction(() => {\n' +
      '    settle(merging.connection, batch, { ends: undefined, letters: [] });\n  });',
    killer: { test: 'test/sqlite-merge.test.ts', names: 'rows whose books cannot be written' },
  },
  {
    name: 'SQLite: INSERT OR IGNORE',
    file: 'src/target/sqlite/plan.ts',
    search: ".fill(tuple).join(', ');\n  return `INSERT OR ABORT",
    replace: ".fill(tuple).join(', ');\n  return `INSERT OR IGNORE",
    killer: sqlite('rows refused first'),
  },
  {
    name: 'SQLite: a duplicate without a look at its content',
    file: 'src/target/sqlite/rows.ts',
    search: "return { same: found['same'] === 1, version };",
    replace: "return { same: found['same'] !== undefined, version };",
    killer: sqlite('other content under a key'),
  },
  {
    name: 'an absent column is null, not its default',
    file: 'src/accept/row-encoder.ts',
    search: '      } else if (this.#required[place]) return this.#missing(place);\n    }\n',
    replace:
      '      } else if (this.#nullable[place] && cell) {\n' +
      '        cell.row = this.#row;\n        cell.kind = cellKind.null;\n' +
      '        this.#field(place, cell);\n        provided++;\n' +
      '      } else if (this.#required[place]) return this.#missing(place);\n    }\n',
    killer: sqlite('absent columns'),
  },
];

export const mutants: readonly Mutant[] = [
  ...journalMutants,
  ...inputMutants,
  ...recoveryMutants,
  ...pathMutants,
  ...targetMutants,
  ...alteredMutants,
  ...dedupeMutants,
  ...divisionMutants,
  ...protocolMutants,
  ...retentionMutants,
  ...sealedMutants,
  ...lostMutants,
  ...serverMutants,
  ...httpMutants,
  ...realMutants,
  ...simulatedMutants,
  ...threadMutants,
];
