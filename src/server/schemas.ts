// The shapes that go over HTTP, for checking what comes in and for /openapi.json.
import { type TSchema, Type } from 'typebox';
import { type ErrorCode, errorTable, rowCodes } from '../errors.ts';

const closed = { additionalProperties: false };
const text = (description: string) => Type.String({ description });
const count = (description: string) => Type.Integer({ minimum: 0, description });
const oneOf = <T extends string[]>(values: readonly [...T], description?: string) =>
  Type.Enum(values, description === undefined ? {} : { description });

const levels = ['journaled', 'settled', 'confirmed'] as const;
const invalids = ['reject', 'dead-letter'] as const;

const rejection = Type.Object(
  {
    line: Type.Integer({ minimum: 1 }),
    column: Type.Union([Type.String(), Type.Null()], {
      description: "The table's column, or null where the line cannot be read.",
    }),
    code: oneOf(Object.keys(rowCodes)),
    message: Type.String(),
    offset: Type.Optional(Type.Integer({ description: 'The byte within the line.' })),
  },
  { $id: 'Rejection', title: 'Rejection' },
);

const refusal = Type.Object(
  {
    code: oneOf(Object.keys(errorTable)),
    outcome: oneOf(['not written', 'written', 'unknown'], 'What became of the write.'),
    message: Type.String(),
    retryable: Type.Boolean({ description: 'Whether the same request may succeed later.' }),
    requestId: Type.String(),
    rejected: Type.Optional(Type.Array(Type.Ref('Rejection#'))),
    receipt: Type.Optional(text('Where the rows are written and the level was not reached.')),
    accepted: Type.Optional(Type.Integer()),
  },
  { $id: 'Refusal', title: 'Refusal' },
);

const endCounts = {
  merged: count('Rows in the table.'),
  duplicates: count('Rows that were there already, with the same key and content.'),
  superseded: count("Rows that lost to another one by the stream's own rule."),
  deadLetters: count('Rows kept whole with the reason why they could not be written.'),
};
const counts = Type.Object(endCounts, { $id: 'EndCounts', title: 'EndCounts' });

const position = count('A position, summed over lanes.');
const held = (description: string) =>
  Type.Object(
    {
      records: count('Records.'),
      oldestMs: Type.Number({ description: 'Age of the oldest of them; 0: none.' }),
    },
    { description },
  );
const streamStatus = Type.Object(
  {
    accepted: count('Rows.'),
    ...endCounts,
    inFlight: count('Rows that are journaled and have not found their end.'),
    unaccounted: Type.Integer({ description: 'What the balance lacks. Must be 0.' }),
    watermarks: Type.Object({
      accepted: position,
      journaled: position,
      staged: position,
      settled: position,
      confirmed: position,
    }),
    levels: Type.Object({
      memory: held('L1: accepted, not on disk yet.'),
      journal: held('On disk here, not in the target yet.'),
      staging: held('L2: in the staging table, not merged yet.'),
      table: held('L3: settled, not confirmed yet.'),
    }),
    table: Type.String(),
    key: Type.Array(Type.String()),
    route: oneOf(['direct', 'staged']),
    lanes: Type.Integer(),
    state: oneOf(['running', 'held', 'connecting']),
    reason: Type.Optional(text('Why the rows wait.')),
    oldestMs: Type.Number({ description: 'Age of the oldest row without an end; 0: none.' }),
  },
  { $id: 'StreamStatus', title: 'StreamStatus' },
);

/** Registered once, by name. */
export const sharedSchemas: readonly TSchema[] = [rejection, refusal, counts, streamStatus];

export const streamParams = Type.Object({
  stream: Type.String({ minLength: 1, maxLength: 512, description: 'As configured.' }),
});
export const receiptParams = Type.Object({ receipt: Type.String({ maxLength: 512 }) });
export const loadParams = Type.Object({ load: Type.String({ maxLength: 512 }) });
export const loadQuery = Type.Object({
  offset: Type.Integer({ minimum: 0, description: 'The byte at which the body begins.' }),
});
export const deadLetterParams = Type.Object({ id: Type.String({ maxLength: 2048 }) });

const delimiter = Type.String({ minLength: 1, maxLength: 1, description: 'CSV: one character.' });
export const recordsQuery = Type.Object(
  {
    ack: Type.Optional(oneOf(levels, 'What to wait for; journaled by default.')),
    invalid: Type.Optional(oneOf(invalids, 'What becomes of rows that do not fit; reject.')),
    timeout: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 600_000, description: 'For ack above journaled, ms.' }),
    ),
    delimiter: Type.Optional(delimiter),
    columns: Type.Optional(text('CSV: names for the fields, with commas; no header is read.')),
    null: Type.Optional(Type.Array(Type.String(), { description: 'CSV: a spelling of null.' })),
  },
  closed,
);

export const recordsHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      pattern: '^[\\x20-\\x7e]{1,255}$',
      description: 'The same key and body: the same answer again, and nothing written twice.',
    }),
  ),
});

export const recordsAnswer = Type.Object({
  accepted: count('Rows that are durable in the journal.'),
  receipt: text('Asks about these rows later: /v1/receipts/{receipt}.'),
  repeated: Type.Optional(Type.Boolean({ description: 'The answer to an earlier request.' })),
  rejected: Type.Optional(Type.Array(Type.Ref('Rejection#'))),
  counts: Type.Optional(Type.Ref('EndCounts#')),
});

export const loadBody = Type.Object(
  {
    format: Type.Enum(['ndjson', 'csv']),
    delimiter: Type.Optional(delimiter),
    columns: Type.Optional(Type.Array(Type.String())),
    nulls: Type.Optional(Type.Array(Type.String())),
    invalid: Type.Optional(Type.Enum([...invalids])),
    size: Type.Integer({ minimum: 0, description: 'Bytes of the whole input.' }),
    digest: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the whole input.' }),
  },
  closed,
);

const loadResult = Type.Object({
  ...endCounts,
  accepted: count('Rows.'),
  rejected: Type.Array(Type.Ref('Rejection#')),
  seconds: Type.Number(),
  complete: Type.Boolean({ description: 'False: it stopped at a refused row.' }),
});

export const loadState = Type.Object({
  load: Type.String(),
  stream: Type.String(),
  offset: count("The input's byte from which to send."),
  accepted: count('Rows written so far.'),
  prefix: Type.Optional(
    Type.Object(
      { ends: Type.Array(count('Byte.')), digest: Type.String() },
      {
        description:
          'To compare the input with what was taken of it before: the bytes at which parts end, ' +
          'and the digest of the last part: SHA-256 in hex of the digest of the part before, as ' +
          'text, and of the part. The server takes whatever is sent from the offset on.',
      },
    ),
  ),
  result: Type.Optional(loadResult),
});

export const receiptState = Type.Object({
  receipt: Type.String(),
  stream: Type.String(),
  accepted: count('Rows.'),
  level: oneOf(levels),
  counts: Type.Optional(Type.Ref('EndCounts#')),
});

const streams = Type.Record(Type.String(), Type.Ref('StreamStatus#'));
export const streamsAnswer = Type.Object({ streams });
export const statusAnswer = Type.Object({
  state: oneOf(['running', 'draining', 'failed', 'closed']),
  writer: text("The journal's identity."),
  pid: Type.Integer(),
  journal: Type.Object({
    directory: Type.String(),
    segments: Type.Integer(),
    bytes: Type.Integer(),
    bytesMax: Type.Integer(),
    full: Type.Boolean(),
    syncingMs: Type.Number({ description: 'How long its disk has been syncing.' }),
  }),
  target: Type.Object({
    url: Type.String(),
    reachable: Type.Boolean(),
    contention: Type.Optional(
      Type.Object(
        {
          windowMs: Type.Number({ description: 'What the numbers are about, a minute at most.' }),
          lockWaits: count('Waits for locks.'),
          lockTimeMs: Type.Number({ description: 'How long they took together.' }),
          deadlocks: count('Deadlocks.'),
          isSampled: Type.Boolean({ description: 'Waits were seen by looking, not counted.' }),
        },
        { description: 'Of all sessions of the target, over the last minute.' },
      ),
    ),
  }),
  streams,
});

export const verifyBody = Type.Object({ stream: Type.Optional(Type.String()) }, closed);
export const verifyAnswer = Type.Object({
  ok: Type.Boolean(),
  checked: count('Records of the journal that were found equal in the table.'),
  differences: Type.Array(
    Type.Object({
      stream: Type.String(),
      kind: oneOf(['missing', 'different', 'count', 'digest', 'unaccounted']),
      lane: Type.Optional(Type.Integer()),
      sequence: Type.Optional(Type.Integer()),
      key: Type.Optional(text('As JSON.')),
      message: Type.String(),
    }),
  ),
  notCheckable: Type.Array(
    Type.Object({ stream: Type.String(), records: Type.Integer(), reason: Type.String() }),
  ),
});

export const passOverBody = Type.Object(
  { dryRun: Type.Boolean({ description: 'Only say what would be given up.' }) },
  closed,
);
export const passOverAnswer = Type.Object({
  ranges: Type.Array(
    Type.Object({
      lane: Type.Integer(),
      first: Type.Integer({ description: 'The first record that is given up.' }),
      last: Type.Integer({ description: 'The last one.' }),
    }),
  ),
});

export const deadLettersQuery = Type.Object(
  {
    stream: Type.Optional(Type.String()),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, description: '1000.' })),
    after: Type.Optional(text('The `next` of the page before.')),
  },
  closed,
);
const deadLetter = Type.Object({
  id: Type.String(),
  stream: Type.String(),
  code: oneOf(Object.keys(rowCodes)),
  sqlState: Type.Union([Type.String(), Type.Null()]),
  message: Type.String(),
  row: Type.Unknown({ description: 'Numbers exact, absent columns absent; null: not decoded.' }),
  raw: Type.Optional(text('The bytes as given, in base64, where the row never decoded.')),
  attempts: Type.Integer(),
  at: text('Of the last attempt, ISO 8601.'),
  firstAt: text('Of the first attempt, ISO 8601.'),
  state: oneOf(['dead', 'replayed', 'dropped']),
});
export const deadLetterAnswer = deadLetter;
export const deadLettersAnswer = Type.Object({
  deadLetters: Type.Array(deadLetter, {
    description: 'In the order of their ids: `limit`, or as many as first reach 4 MiB.',
  }),
  next: Type.Optional(
    text('The last one’s id, where there may be more: go on with it as `after`.'),
  ),
});
export const replayAnswer = Type.Object({
  end: oneOf(['merged', 'duplicate', 'superseded', 'deadLetter']),
});
export const readyAnswer = Type.Object({
  ready: Type.Boolean(),
  reasons: Type.Array(Type.String()),
  target: Type.Object({ reachable: Type.Boolean() }),
});
export const healthAnswer = Type.Object({ state: Type.String() });

const always: readonly ErrorCode[] = [
  'HF_USAGE',
  'HF_UNAUTHORIZED',
  'HF_FORBIDDEN',
  'HF_TIMEOUT',
  'HF_OVERLOADED',
  'HF_DRAINING',
  'HF_BUG',
];

/** Responses of a route: `good` by status, and its refusals beside the common ones. */
export function responses(
  good: { readonly [status: number]: TSchema },
  codes: readonly ErrorCode[] = [],
): { readonly [status: string]: unknown } {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of [...always, ...codes]) {
    const { status } = errorTable[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const refusals = [...byStatus].map(([status, of]) => [
    status,
    {
      description: of.map((code) => `${code}: ${errorTable[code].meaning}`).join(' '),
      content: { 'application/json': { schema: { $ref: 'Refusal#' } } },
    },
  ]);
  return { ...Object.fromEntries(refusals), ...good };
}
