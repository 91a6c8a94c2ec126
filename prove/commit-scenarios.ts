// What a stream is sent when a commit of its is struck: rows that take each way into a table, and
// how each of them must end.
import type { StreamOptions } from '../src/options.ts';
import type { RowEndName } from './commit-world.ts';

/** A row as it is sent, and its end. Without an id it does not decode. */
export interface SentRow {
  readonly id: number | null;
  readonly note: string;
  readonly end: RowEndName;
}

export interface Scenario {
  readonly name: string;
  readonly hasKey: boolean;
  readonly stream: Partial<StreamOptions>;
  /** What other people wrote into the table before. */
  readonly before: readonly { readonly id: number; readonly note: string }[];
  readonly sent: readonly SentRow[];
}

/** Several lanes, one session: all that is sent at once is one batch. */
const direct = { lanes: 4, loaders: 1 } as const;
const staged = { ...direct, route: 'staged', mergers: 1, mergeEveryMs: 50 } as const;

const merged = (first: number, count: number): SentRow[] =>
  Array.from({ length: count }, (_, i) => ({ id: first + i, note: 'new', end: 'merged' }));

const notDecoded: SentRow = { id: null, note: 'of no use', end: 'deadLetter' };
/** The table's CHECK refuses it. */
const refused = (id: number): SentRow => ({ id, note: 'bad', end: 'deadLetter' });

/** The optimistic rung meets keys that are there; the merge rung sorts all rows out. */
const met = {
  hasKey: true,
  before: [
    { id: 101, note: 'same' },
    { id: 102, note: 'other' },
  ],
  sent: [
    { id: 101, note: 'same', end: 'duplicate' },
    { id: 102, note: 'mine', end: 'deadLetter' },
    refused(103),
    ...merged(104, 2),
    notDecoded,
  ],
} as const satisfies Partial<Scenario>;

const fresh = {
  hasKey: false,
  before: [],
  sent: [...merged(101, 4), notDecoded],
} as const satisfies Partial<Scenario>;

export const scenarios: readonly Scenario[] = [
  { name: 'new rows, no key', stream: direct, ...fresh },
  {
    name: 'a refused row, no key',
    stream: direct,
    ...fresh,
    sent: [...merged(101, 2), refused(103), notDecoded],
  },
  { name: 'keys met', stream: direct, ...met },
  { name: 'staged, new rows, no key', stream: staged, ...fresh },
  { name: 'staged, keys met', stream: staged, ...met },
];
