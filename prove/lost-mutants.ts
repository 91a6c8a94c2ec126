// Broken builds that pass lost records over otherwise than by the operator's order (P3).
import type { Killer, Mutant } from './mutant-list.ts';

const lost = (names: string): Killer => ({ test: 'test/lost.test.ts', names });
const target = (names: string): Killer => ({ test: 'test/target.test.ts', names });

export const lostMutants: readonly Mutant[] = [
  {
    name: 'lost records are passed over before anybody has said so',
    file: 'src/holdfast.ts',
    search: 'if (options.dryRun === true) return seen;',
    replace: '',
    killer: lost('what was lost is passed over'),
  },
  {
    name: 'a lost answer to the order counts as done',
    file: 'src/merge/pass-over.ts',
    search: 'if (order.ranges.every(({ lane, last }) => (settled.get(lane) ?? 0) >= last)) return;',
    replace:
      'if (order.ranges.every(({ lane, last }) => (settled.get(lane) ?? last) >= 0)) return;',
    killer: lost('an order is carried out once'),
  },
  {
    name: 'who waits for lost records is told of other ends',
    file: 'src/merge/loading.ts',
    search: 'if (isLost(row)) throw passedOver(row);',
    replace: '',
    killer: lost('the ends of records that were passed over'),
  },
  {
    name: 'lost records are passed over by an owner whose claim the target has forgotten',
    file: 'src/target/pass-over.ts',
    search: 'state?.epoch === epoch && settled === first - 1',
    replace: 'settled === first - 1',
    killer: target('SQLite nothing is passed over but what comes next'),
  },
  {
    name: 'staged records are passed over with lost ones',
    file: 'src/target/pass-over.ts',
    search: ' && staged === settled) continue;',
    replace: ' && staged !== undefined) continue;',
    killer: target('the simulated target, staged what is staged before lost records'),
  },
  {
    name: 'a stream held at a gap does not tell where all its lanes stand',
    file: 'src/merge/stream-loading.ts',
    search: '      events.onLanes(settings.id, lanes);\n      await session.close();',
    replace: '      await session.close();',
    killer: lost('what a held stream has is kept'),
  },
  {
    name: 'a copy is read to where its segment ended',
    file: 'src/merge/feed.ts',
    search: ' && this.#opened?.head.isCopy === false;',
    replace: ';',
    killer: lost('what a held stream has is kept'),
  },
  {
    name: 'ends of lost records are told as they were',
    file: 'src/holdfast.ts',
    search: '      requests.lost(stream.id, seen);\n',
    replace: '',
    killer: lost('who sends again what was passed over'),
  },
  {
    name: 'a time that began in another history counts',
    file: 'src/confirm.ts',
    search: "open.identity === '' ? open.atMs : nowMs",
    replace: 'open.atMs',
    killer: { test: 'test/confirm.test.ts', names: 'no time confirms' },
  },
  {
    name: 'a clock that is set makes requests older',
    file: 'src/upkeep.ts',
    search: 'requests.moveTimes(stepMs);',
    replace: '',
    killer: { test: 'test/protocol.test.ts', names: 'a clock that is set' },
  },
  {
    name: 'the index of the requests is mapped into memory',
    file: 'src/disk.ts',
    search: 'PRAGMA busy_timeout=5000; PRAGMA locking_mode=EXCLUSIVE; ',
    replace: 'PRAGMA busy_timeout=5000; ',
    killer: { test: 'test/holdfast.test.ts', names: 'no file of the journal is mapped' },
  },
];
