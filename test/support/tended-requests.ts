// What is sent in the tended world, chapter by chapter, and how it must end: into a stream on the
// direct route, a staged one, and one whose target forgets what it had.
import { addCounts, type EndCounts, noCounts } from '../../src/merge/ledger.ts';

export const tendedStreams = ['orders', 'parcels', 'visits'] as const;
export type TendedStream = (typeof tendedStreams)[number];

export interface TendedRow {
  readonly id: number;
  readonly note: string;
}

export interface TendedRequest {
  readonly stream: TendedStream;
  readonly key: string;
  readonly rows: readonly TendedRow[];
  /** Of its rows: what all others are not. */
  readonly not?: 'repeated' | 'refused' | 'conflict';
}

/** A table refuses such notes until somebody has seen to it. */
export const refusedNote = 'refused at first';
const otherNote = 'other content';
/** Two requests of three such rows fill most of a segment of 64 KiB. */
const largeBytes = 8_500;
const smallBytes = 600;

const noteOf = (stream: string, id: number, bytes: number): string =>
  `${stream} ${id} `.padEnd(bytes, String.fromCharCode(97 + (id % 26)));

function request(stream: TendedStream, first: number, bytes = smallBytes): TendedRequest {
  const ids = [first, first + 1, first + 2];
  const rows = ids.map((id) => ({ id, note: noteOf(stream, id, bytes) }));
  return { stream, key: `${stream} ${first}`, rows };
}

function repeated(of: TendedRequest): TendedRequest {
  return { ...of, key: `${of.key} again`, rows: of.rows.slice(0, 2), not: 'repeated' };
}

function conflict({ stream, key, rows }: TendedRequest): TendedRequest {
  const other = rows.slice(0, 1).map(({ id }) => ({ id, note: otherNote }));
  return { stream, key: `${key} otherwise`, rows: other, not: 'conflict' };
}

const refused = (stream: TendedStream, id: number): TendedRequest => ({
  stream,
  key: `${stream} ${id}`,
  rows: [{ id, note: refusedNote }],
  not: 'refused',
});

const order = request('orders', 0);
const parcel = request('parcels', 0);
const waiting = request('parcels', 900);

/** What is sent at once; what is sent when all of that was acknowledged. */
type Chapter = readonly (readonly TendedRequest[])[];

export const chapters = {
  opening: [
    [order, parcel, request('visits', 0), request('visits', 10)],
    [repeated(order), conflict(order), refused('orders', 50)],
    [repeated(parcel), conflict(parcel), refused('parcels', 50)],
  ],
  /** While orders find no table: parcels fill the journal. */
  shut: [
    [request('orders', 100)],
    ...[1, 2, 3, 4, 5, 6, 7, 8, 10].map((i) => [request('parcels', i * 100, largeBytes)]),
    [request('orders', 110)],
  ],
  /** Rows that wait in the staging table more than once. */
  waiting: [[waiting], [repeated(waiting)]],
  after: [[request('orders', 120), request('visits', 20), request('visits', 30)]],
} satisfies Readonly<Record<string, Chapter>>;

export type ChapterName = keyof typeof chapters;

export const tendedRequests: readonly TendedRequest[] = Object.values<Chapter>(chapters).flat(2);

const endOf = {
  repeated: 'duplicates',
  // Replayed, once the table takes it.
  refused: 'merged',
  // Dropped: a dead letter in the books for good.
  conflict: 'deadLetters',
} as const;

/** How a request's rows have ended when all letters were seen to. */
export function endsOf({ rows, not }: TendedRequest): EndCounts {
  return { ...noCounts, [not ? endOf[not] : 'merged']: rows.length };
}

/** A stream's books when all is done, but for what was lost of it. */
export function booksOf(stream: TendedStream) {
  const own = tendedRequests.filter((one) => one.stream === stream);
  const accepted = own.reduce((sum, { rows }) => sum + rows.length, 0);
  return { accepted, ...own.map(endsOf).reduce(addCounts, noCounts), inFlight: 0, unaccounted: 0 };
}

/** The rows that stand in the stream's table once these requests have their ends. */
export function tableRows(
  stream: TendedStream,
  isSent: (request: TendedRequest) => boolean,
): TendedRow[] {
  const own = tendedRequests.filter((one) => one.stream === stream && isSent(one));
  return own
    .filter(({ not }) => not === undefined || not === 'refused')
    .flatMap(({ rows }) => rows);
}
