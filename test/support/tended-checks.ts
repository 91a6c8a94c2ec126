// What must stand in the target of the tended world when all is done, and in the books.
import assert from 'node:assert/strict';
import { type Books, checkBooks, checkTable } from '../../prove/oracle.ts';
import type { SimulatedTarget } from '../simulation/simulated-target.ts';
import {
  booksOf,
  refusedNote,
  type TendedRequest,
  tableRows,
  tendedRequests,
  tendedStreams,
} from './tended-requests.ts';

/** What has become of a request's letters, if it had any. */
const letterStates = {
  refused: ['refused replayed'],
  conflict: ['key-conflict dropped'],
  repeated: [],
} as const;

export function checkLetters(target: SimulatedTarget): void {
  const states = [...target.store.letters.values()].map(({ code, state }) => `${code} ${state}`);
  const wanted = tendedRequests.flatMap(({ not }) => letterStates[not ?? 'repeated']);
  assert.deepEqual(states.sort(), wanted.sort());
}

/** All that may be in the tables is what was sent; what was acknowledged must be, or is lost. */
export function checkTables(
  target: SimulatedTarget,
  of: {
    readonly isAcknowledged: (request: TendedRequest) => boolean;
    /** Of visits. */
    readonly lostRecords: number;
    /** Whether what was refused at first must be there. */
    readonly areReplayed: boolean;
  },
): void {
  for (const table of tendedStreams) {
    const found = target.rows(table).map(({ id, note }) => ({ id: Number(id), note }));
    const there = new Set(found.map(({ id }) => id));
    const isThere = ({ id }: { readonly id: number }): boolean => there.has(id);
    const wanted = tableRows(table, of.isAcknowledged).filter(
      ({ note }) => note !== refusedNote || of.areReplayed,
    );
    const lacking = wanted.filter((row) => !isThere(row)).length;
    const mayLack = table === 'visits' && lacking <= of.lostRecords;
    const acknowledged = mayLack ? wanted.filter(isThere) : wanted;
    checkTable({ table, found, sent: tableRows(table, () => true), acknowledged });
  }
}

/** Each stream's books are as they must be; what was lost of visits is unaccounted. */
export function checkStreams(streams: Readonly<Record<string, Books>>, lostRecords: number): void {
  for (const name of tendedStreams) {
    const books = streams[name];
    assert(books, `stream ${name} has books`);
    const lost = name === 'visits' ? lostRecords : 0;
    const unaccounted = books.unaccounted - lost;
    checkBooks(name, { ...books, merged: books.merged + lost, unaccounted }, booksOf(name));
  }
}
