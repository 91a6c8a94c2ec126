// Broken builds about segments that opening leaves unread.
import type { Killer, Mutant } from './mutant-list.ts';

const flips = { campaign: 'flips', count: 7_000 } as const;
const states = { campaign: 'states', count: 20_000 } as const;
const sealed = (names: string): Killer => ({ test: 'test/sealed.test.ts', names });
const recycled = (names: string): Killer => ({ test: 'test/recycled.test.ts', names });
const known: Killer = {
  test: 'test/remembered.test.ts',
  names: 'keys are known from sealed segments',
};

export const sealedMutants: readonly Mutant[] = [
  {
    name: 'a feed takes blocks of another life of its segment',
    file: 'src/merge/feed.ts',
    search: ' && salt === header?.salt',
    replace: ' && salt >= 0',
    killer: flips,
  },
  {
    name: 'a feed does not say where a sealed segment is damaged',
    file: 'src/merge/feed.ts',
    search: 'if (before) mustEndAt(',
    replace: 'if (!before) mustEndAt(',
    killer: sealed('damage inside a sealed segment'),
  },
  {
    name: 'a sealed segment’s requests are not read',
    file: 'src/open-journal.ts',
    search: 'isKnown: (request) => opened().hasTaken(request),',
    replace: 'isKnown: () => true,',
    killer: known,
  },
  {
    name: 'a sealed segment’s last request is not told',
    file: 'src/journal/journal.ts',
    search: 'own.request = formed.request ?? own.request;',
    replace: '',
    killer: known,
  },
  {
    name: 'a sealed segment may be of another life',
    file: 'src/journal/recovery.ts',
    search: 'note.sealed.salt !== before.salt',
    replace: 'note.sealed.salt < 0',
    killer: sealed('a sealed segment of another life'),
  },
  {
    name: 'a checkpoint may go back behind an unread segment',
    file: 'src/journal/scan-state.ts',
    search: 'before <= sequence',
    replace: 'before >= 0',
    killer: sealed('checkpoints that go back'),
  },
  {
    name: 'what a successor tells of a segment is not what it holds',
    file: 'src/journal/recovery.ts',
    search: 'bytesOf: new Map(bytesOf), request, end',
    replace: 'bytesOf: new Map(), request, end',
    killer: states,
  },
  {
    name: 'a damaged segment is dropped when a held stream’s part was copied',
    file: 'src/journal/held.ts',
    search: 'if (!wanted.every(isThere)) throw',
    replace: 'if (wanted.length < 0 && isThere) throw',
    killer: { test: 'test/held.test.ts', names: 'a damaged segment stays' },
  },
  {
    name: 'what follows a clean end builds on pages that may be lost',
    file: 'src/journal/journal.ts',
    search: 'if (found.isClean) writeAgain(',
    replace: 'if (found.isClean && offset < 0) writeAgain(',
    killer: sealed('what follows a clean end'),
  },
  {
    name: 'the bound is not looked at where a dropped segment becomes a spare',
    file: 'src/journal/segments.ts',
    search: 'this.bytes <= bytesMax && !this.#needsRoom',
    replace: '!this.#needsRoom',
    killer: { test: 'test/held.test.ts', names: 'streams that are all held' },
  },
  {
    name: 'a segment whose sync failed is begun again',
    file: 'src/journal/segments.ts',
    search: 'if (isFinal || !isShortage(error)) throw error;',
    replace: 'if (!isShortage(error)) throw error;',
    killer: { test: 'test/segments.test.ts', names: 'a sync of a checkpoint' },
  },
  {
    name: 'a segment’s name is there before a descriptor for its sync is',
    file: 'src/disk.ts',
    search: "  const descriptor = fs.openSync(path, 'r');\n  try {\n    change();\n",
    replace: "  change();\n  const descriptor = fs.openSync(path, 'r');\n  try {\n",
    killer: { test: 'test/segments.test.ts', names: 'without a descriptor for its directory' },
  },
  {
    name: 'what a segment was not told counts as told when the next could not be begun',
    file: 'src/journal/journal.ts',
    search: '    if (!file) return false;\n',
    replace: '    if (!file) this.dictionary.told();\n    if (!file) return false;\n',
    killer: { test: 'test/segments.test.ts', names: 'the roll is tried again' },
  },
  {
    name: 'a damaged copy is dropped by what can be read of it',
    file: 'src/journal/held.ts',
    search: '      isWhole &&\n',
    replace: '      stream >= 0 &&\n',
    killer: { test: 'test/held.test.ts', names: 'a copy that is damaged' },
  },
  {
    name: 'a dropped segment of another size becomes one',
    file: 'src/journal/segments.ts',
    search: 'isWanted && this.#sizeOf(path) === segmentBytes',
    replace: 'isWanted && this.#sizeOf(path) > 0',
    killer: recycled('a segment that was made smaller'),
  },
  {
    name: 'behind a clean end an earlier life is taken for a torn write',
    file: 'src/journal/recovery.ts',
    search: 'stop.isRestZero || (stop.isClean && !stop.hasBlocks) ?',
    replace: 'stop.isRestZero ?',
    killer: recycled('behind a clean end'),
  },
  {
    name: 'salvage brings back an earlier life',
    file: 'src/journal/inspect.ts',
    search: '(found) => found.header.segment === number',
    replace: '(found) => found.header.segment >= 0',
    killer: recycled('salvage'),
  },
  {
    name: 'what a dropped segment has become counts as damage of it',
    file: 'src/journal/segment-head.ts',
    search: 'if (!isEnd && isStill(opened)) throw',
    replace: 'if (!isEnd) throw',
    killer: recycled('who dumps a file'),
  },
  {
    name: 'a feed goes past what was copied aside of a file that became another segment',
    file: 'src/merge/feed.ts',
    search: '    if (!this.#isStill) {\n',
    replace: '    if (!this.#opened) {\n',
    killer: { test: 'test/protocol.test.ts', names: 'what does not pass is told, and pins' },
  },
  {
    name: 'a block that was overwritten while it was read is damage',
    file: 'src/merge/feed.ts',
    search: 'if (!block && this.#isStill) throw',
    replace: 'if (!block) throw',
    killer: recycled('a feed whose file becomes'),
  },
  {
    name: 'what was copied aside of a file that became another segment is a gap',
    file: 'src/merge/journaled.ts',
    search: 'if (isStill(own)) {',
    replace: 'if (own.head) {',
    killer: recycled('who looks for gaps'),
  },
  {
    name: 'the end of a file that became another segment is damage',
    file: 'src/merge/feed.ts',
    search: 'if (isLast && this.#isStill) throw',
    replace: 'if (isLast) throw',
    killer: { test: 'test/protocol.test.ts', names: 'a stream that falls silent' },
  },
  {
    name: 'the ledger is pruned of what a segment has that may come back',
    file: 'src/upkeep.ts',
    search: 'if (!journal.segments.areDropsDurable) return;',
    replace: '',
    killer: recycled('the ledger keeps what a segment needs'),
  },
];
