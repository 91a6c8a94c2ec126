// Broken builds of the journal: what is written, synced, acknowledged and dropped, and when.
import type { Killer, Mutant } from './mutant-list.ts';

const states = { campaign: 'states', count: 20_000 } as const;
const faults = { campaign: 'faults', count: 250 } as const;
const held = { campaign: 'states', count: 2_000, only: 'held' } as const;
const flips = { campaign: 'flips', count: 7_000 } as const;
const journal = 'src/journal/journal.ts';
const tail = 'src/journal/tail.ts';
const aside = (names: string): Killer => ({ test: 'test/journal-aside.test.ts', names });

export const journalMutants: readonly Mutant[] = [
  {
    name: 'no sync of a group that comes alone',
    file: tail,
    search: '    file.sync();\n',
    replace: '',
    killer: states,
  },
  {
    name: 'no sync of a group of many',
    file: tail,
    search: 'await file.syncAside();',
    replace: 'await undefined;',
    killer: states,
  },
  {
    name: 'a failed sync of many is tried again',
    file: tail,
    search: 'await file.syncAside();',
    replace: 'await file.syncAside().catch(() => file.syncAside());',
    killer: aside('after a sync'),
  },
  {
    name: 'syncs that come back late are asked for again',
    file: tail,
    search: '    if (!isLate) {',
    replace: '    if (isLate) {',
    killer: aside('where syncs beside others'),
  },
  {
    name: 'a sync that is under way is not waited for',
    file: journal,
    search: 'await this.#tail.appendAside(',
    replace: 'void this.#tail.appendAside(',
    killer: aside('while a sync is under way'),
  },
  {
    name: 'what becomes known during a sync counts as told',
    file: journal,
    search: '    this.#acknowledge(group);\n    if (',
    replace: '    this.dictionary.told();\n    this.#acknowledge(group);\n    if (',
    killer: aside('while a sync is under way'),
  },
  {
    name: 'acknowledged before it is written',
    file: journal,
    search: '      const group = this.#forming.group(taken, notes);\n',
    replace:
      '      const group = this.#forming.group(taken, notes);\n' +
      '      taken.forEach(({ resolve }, i) => {\n' +
      '        const early = group.formed.placed[i];\n        if (early) resolve(early);\n' +
      '      });\n',
    killer: faults,
  },
  {
    name: 'a failed sync is tried again',
    file: tail,
    search: '    file.sync();\n',
    replace: '    try {\n      file.sync();\n    } catch {\n      file.sync();\n    }\n',
    killer: { ...faults, seed: 1 },
  },
  {
    name: 'a full disk is no error of a group',
    file: journal,
    search: '      this.#fail(error, group.taken);\n      return;\n    }\n    this.#acknowledge',
    replace:
      "      if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOSPC') {\n" +
      '        this.#fail(error, group.taken);\n        return;\n      }\n    }\n' +
      '    this.#acknowledge',
    killer: { ...faults, seed: 6 },
  },
  {
    name: 'a failed journal takes more',
    file: journal,
    search: "    if (this.#state !== 'running' || this.#isClosing) return",
    replace: '    if (this.#isClosing) return',
    killer: faults,
  },
  {
    name: 'the suspect tail is trusted after a kill',
    file: journal,
    search: 'found.isClean || (await this.segments.replaceSuspect(segment, offset))',
    replace: 'segment + offset >= 0',
    killer: { ...states, only: 'kill at' },
  },
  {
    name: 'no sync of the directory after a segment began',
    file: 'src/journal/segments.ts',
    search: 'this.#disk.changeNames(this.#directory, takeName);',
    replace: 'takeName();',
    killer: states,
  },
  {
    name: 'no sync of a checkpoint before its segment has its name',
    file: 'src/journal/segments.ts',
    search: '      writeAll(file, checkpoint, 0);\n      file.sync();',
    replace: '      writeAll(file, checkpoint, 0);',
    killer: states,
  },
  {
    name: 'no sync of the suspect’s copy',
    file: 'src/journal/segments.ts',
    search: '    to.sync();\n    from.close();',
    replace: '    from.close();',
    killer: { ...states, only: 'kill at' },
  },
  {
    name: 'a short write counts as a whole one',
    file: 'src/journal/segments.ts',
    search: '    done += written;',
    replace: '    done += Math.max(written, bytes.length);',
    killer: { ...faults, seed: 4 },
  },
  {
    name: 'trimmed before it is confirmed',
    file: 'src/journal/retention.ts',
    search: 'return last.every((sequence, lane) => (confirmed?.[lane] ?? 0) >= sequence);',
    replace: 'return last.length > 0 || confirmed === undefined;',
    killer: states,
  },
  {
    name: 'no sync of what is copied for a held stream',
    file: 'src/journal/held.ts',
    search: '      to.sync();\n',
    replace: '',
    killer: held,
  },
  {
    name: 'a segment is dropped before the names of its copies are synced',
    file: 'src/journal/held.ts',
    search: '    this.#disk.syncDirectory(this.#directory);\n',
    replace: '',
    killer: held,
  },
  {
    name: 'copies for a held stream are dropped whatever is confirmed',
    file: 'src/journal/held.ts',
    search: '      isWhole &&\n      [...last]',
    replace: '      isWhole ||\n      [...last]',
    killer: { campaign: 'faults', count: 60, only: 'tended' },
  },
  {
    name: 'requests are not saved before their segment is dropped',
    file: 'src/streams.ts',
    search: 'beforeDrop: () => this.#parts.requests.flush(),',
    replace: 'beforeDrop: () => undefined,',
    killer: { test: 'test/crash.test.ts', names: 'what a kill left in the page cache' },
  },
  {
    name: 'the rest of a spare is not cleared',
    file: 'src/journal/segments.ts',
    search: '    clearFrom(to, length);\n',
    replace: '',
    killer: { test: 'test/journal.test.ts', names: 'a copy of the suspect tail' },
  },
  {
    name: 'rows may provide any number of sets of columns',
    file: 'src/journal/dictionary.ts',
    search: 'if (!this.#hasRoom(entry)) throw',
    replace: 'if (!this.#hasRoom(entry) && table < 0) throw',
    killer: { test: 'test/dictionary.test.ts', names: 'rows of ever new sets' },
  },
  {
    name: 'an idle journal gives its last group no witness',
    file: journal,
    search: 'if (this.#writeNote(blockKind.mark, fallen)) this',
    replace: 'if (fallen && this.#writeNote(blockKind.mark, fallen)) this',
    killer: flips,
  },
  {
    name: 'requests that only the page cache has are remembered',
    file: 'src/open-journal.ts',
    search: 'if (!isLast && opened()',
    replace: 'if (opened()',
    killer: { test: 'test/remembered.test.ts', names: 'a key is not remembered before' },
  },
  {
    name: 'a journal may end before what is remembered of it',
    file: 'src/open-journal.ts',
    search: '  if (lastGroup <= group) return;',
    replace: '  if (lastGroup <= group || group >= 0) return;',
    killer: { test: 'test/remembered.test.ts', names: 'a journal that ends before' },
  },
  {
    name: 'the lock is not asked for',
    file: 'src/journal/lock.ts',
    search: '  if (!lock) {',
    replace: '  if (!lock && disk.list(directory).length === 0) {',
    killer: { test: 'test/journal.test.ts', names: 'a second process' },
  },
];
