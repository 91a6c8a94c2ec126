// Broken builds of what may be dropped, of what is told of it, and of where the journal ends.
import type { Killer, Mutant } from './mutant-list.ts';

const journal = 'src/journal/journal.ts';
const recovery = 'src/journal/recovery.ts';
const retention = 'src/journal/retention.ts';
const segments = 'src/journal/segments.ts';
const wentBack: Killer = { test: 'test/retention.test.ts', names: 'positions that went back' };
const restart: Killer = { test: 'test/retention.test.ts', names: 'a restart drops nothing' };
const givesWay: Killer = { test: 'test/retention.test.ts', names: 'retention gives way' };
const becomesNone: Killer = {
  test: 'test/retention.test.ts',
  names: 'where a dropped segment becomes no spare',
};
const noName: Killer = { test: 'test/retention.test.ts', names: 'a name that finds no room' };
const copies: Killer = { test: 'test/retention.test.ts', names: 'no more than one segment' };
const again: Killer = { test: 'test/retention.test.ts', names: 'a copy that cannot be made' };
const twoGroups: Killer = { test: 'test/journal-end.test.ts', names: 'two first groups' };
const checked: Killer = { test: 'test/journal-end.test.ts', names: 'a journal that is written' };
const bytes: Killer = { test: 'test/keys.test.ts', names: 'bytes under a key' };

export const retentionMutants: readonly Mutant[] = [
  {
    name: 'a failover that took confirmed records back is told to nobody',
    file: 'src/streams.ts',
    search: 'if (stream.marks.adopt(lanes)) this.#parts.journal.unconfirm();',
    replace: 'stream.marks.adopt(lanes);',
    killer: restart,
  },
  {
    name: 'what a mark says of confirmed positions is not read',
    file: 'src/journal/scan-state.ts',
    search: 'if (header.payloadBytes > 0) confirm(',
    replace: 'if (header.payloadBytes < 0) confirm(',
    killer: restart,
  },
  {
    name: 'positions that went back wait until the journal is idle',
    file: 'src/journal/untold.ts',
    search: 'if (!untold && !fallen) return nothing;',
    replace: 'if (!untold) return nothing;',
    killer: wentBack,
  },
  {
    name: 'positions that went back wait for room in their segment',
    file: journal,
    search: '    else if (fallen && this.segments.isReady) this.#tryBeginSegment();\n',
    replace: '',
    killer: wentBack,
  },
  {
    name: 'positions that went back beside a sync are forgotten by a close',
    file: journal,
    search: '    if (this.#untold.hasFallen) {\n',
    replace: '    if (this.#untold.hasFallen && this.#isSyncing) {\n',
    killer: { test: 'test/journal-aside.test.ts', names: 'positions that went back' },
  },
  {
    name: 'a stream that was not opened for a life has no confirmed positions',
    file: 'src/journal/scan-state.ts',
    search: 'state.last.get(stream)?.length ?? said.length',
    replace: 'said.length',
    killer: { test: 'test/retention.test.ts', names: 'a stream that was not opened' },
  },
  {
    name: 'the ledger is pruned to its newest row',
    file: 'src/merge/loading.ts',
    search: '(settled.get(lane) ?? 0) - 1',
    replace: 'settled.get(lane) ?? 0',
    killer: { test: 'test/protocol.test.ts', names: 'an older copy of the journal' },
  },
  {
    name: 'a segment that is ready and cannot be begun costs others',
    file: segments,
    search: 'this.isReady ? this.#needsRoom : ',
    replace: 'this.isReady ? this.shortage !== undefined : ',
    killer: givesWay,
  },
  {
    name: 'where the next segment finds no room for its name nothing goes',
    file: segments,
    search: 'this.isReady ? this.#needsRoom : ',
    replace: 'this.isReady ? false : ',
    killer: noName,
  },
  {
    name: 'where the next segment finds no room for its name files keep theirs',
    file: segments,
    search: ' && !this.#needsRoom;',
    replace: ';',
    killer: noName,
  },
  {
    name: 'all that is retained goes at once',
    file: retention,
    search: '      if (isShort && !isSpare && !this.#segments.isAtBound) return true;\n',
    replace: '',
    killer: becomesNone,
  },
  {
    name: 'all that held streams need is copied at once',
    file: retention,
    search: 'return !isShort || this.#dropHeld(oldest, open);',
    replace:
      'if (!isShort || !this.#dropHeld(oldest, open) || list[0] === oldest) return true;\n      else continue;',
    killer: copies,
  },
  {
    name: 'a copy that cannot be made is tried again at once',
    file: retention,
    search: 'if (nowMs < this.#copyAtMs) return false;',
    replace: '',
    killer: again,
  },
  {
    name: 'one copy a second',
    file: retention,
    search: '    this.#copyAtMs = 0;\n    return true;',
    replace: '    return true;',
    killer: again,
  },
  {
    name: 'blocks behind a clean end stay to complete a later group',
    file: recovery,
    search: ' || (stop.isClean && !stop.hasBlocks) ?',
    replace: ' || stop.isClean ?',
    killer: twoGroups,
  },
  {
    name: 'what is written between two looks is called corrupt',
    file: recovery,
    search: 'if (isAgain && end === start) throw',
    replace: 'if (end >= start || isAgain) throw',
    killer: checked,
  },
  {
    name: 'bytes under a key are decoded later',
    file: 'src/writing.ts',
    search: 'while (this.#inFlight.has(name)) await this.#twin(name);\n    // From',
    replace: 'do await this.#twin(name);\n    while (this.#inFlight.has(name));\n    // From',
    killer: bytes,
  },
  {
    name: 'all who waited for a twin that was refused are the first',
    file: 'src/writing.ts',
    search: 'while (this.#inFlight.has(name)) await this.#twin(name);\n    // From',
    replace: 'if (this.#inFlight.has(name)) await this.#twin(name);\n    // From',
    killer: { test: 'test/keys.test.ts', names: 'one of those that waited' },
  },
  {
    name: 'a note is taken from the buffer before it stands there',
    file: 'src/journal/group.ts',
    search:
      '  out.ensure(length + 64);\n  sealAll([block], place, out);\n  return out.bytes.subarray(0, length);',
    replace:
      '  const { bytes } = out;\n  out.ensure(length + 64);\n  sealAll([block], place, out);\n  return bytes.subarray(0, length);',
    killer: { test: 'test/retention.test.ts', names: 'notes that are larger' },
  },
  {
    name: 'who waits for a twin looks at the caller’s bytes',
    file: 'src/writing.ts',
    search: 'waits ? new Uint8Array(bytes) : bytes',
    replace: 'waits ? bytes.subarray() : bytes',
    killer: bytes,
  },
];
