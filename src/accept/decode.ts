// The bytes of one request, decoded whole: rows, and the lines that are kept as they came because
// they did not decode. On whichever thread the request arrived.
import { HoldfastError, type Rejection } from '../errors.ts';
import type { UndecodedRow } from '../journal/undecoded.ts';
import { limits } from '../limits.ts';
import type { WriteBytesOptions } from '../types.ts';
import { letterBytesMax } from './columns.ts';
import type { RowBuffer } from './row-buffer.ts';
import type { RejectedLine, RowReader } from './rows.ts';
import type { SpareRows } from './spare-rows.ts';

export interface Decoded {
  readonly rows: RowBuffer;
  readonly undecoded: readonly UndecodedRow[];
  /** What is told of the undecoded ones. */
  readonly rejected: readonly Rejection[];
}

/** Reading ends at so many: each takes time and memory, and the first ones say what is wrong. */
const rejectedMax = 10_000;

/** Hears how many rows were refused, by code. */
export type OnRefused = (code: string, count: number) => void;

interface DecodeOptions extends Pick<WriteBytesOptions, 'format' | 'csv' | 'invalid'> {
  readonly onRefused: OnRefused;
  /** Whose the rows' buffer is: it wants it back. */
  readonly spares: SpareRows;
}

/**
 * Throws HF_ROWS_REFUSED where a line does not fit and `invalid` does not keep it, HF_EMPTY where
 * there is none; then no buffer is taken.
 */
export function decodeBytes(reader: RowReader, bytes: Uint8Array, options: DecodeOptions): Decoded {
  const { spares } = options;
  const rows = spares.take(Math.max(bytes.length, 1024), Math.max(bytes.length >> 6, 16));
  try {
    return decodeInto(rows, { reader, bytes }, options);
  } catch (error) {
    spares.give(rows);
    throw error;
  }
}

function decodeInto(
  rows: RowBuffer,
  { reader, bytes }: { readonly reader: RowReader; readonly bytes: Uint8Array },
  options: DecodeOptions,
): Decoded {
  const most = { rejectedMax };
  const { rejected } =
    options.format === 'json'
      ? reader.json(bytes, rows, most)
      : options.format === 'csv'
        ? reader.csv(options.csv ?? {}).read(bytes, rows, most)
        : reader.ndjson(bytes, rows, most);
  const keptMax = options.invalid === 'dead-letter' ? letterBytesMax(reader.table) : -1;
  const refused = rejected.filter(({ start, end }) => end - start > keptMax);
  if (refused.length > 0) throw rowsRefused(refused, options.onRefused);
  if (rejected.length === rejectedMax) {
    const message = `${rejectedMax} of the rows do not fit the table; fewer can be kept at once.`;
    throw new HoldfastError('HF_TOO_LARGE', message);
  }
  if (rows.count + rejected.length === 0) {
    throw new HoldfastError('HF_EMPTY', 'The request holds no row.');
  }
  const listed = rejected.slice(0, limits.rejectionsListedMax).map((line) => line.rejection);
  return { rows, undecoded: keepLines(rejected, bytes), rejected: listed };
}

/** The refusal of a request of which these lines do not fit. */
export function rowsRefused(lines: readonly RejectedLine[], onRefused: OnRefused): HoldfastError {
  const counts = new Map<string, number>();
  for (const { rejection } of lines) {
    counts.set(rejection.code, (counts.get(rejection.code) ?? 0) + 1);
  }
  for (const [code, count] of counts) onRefused(code, count);
  const listed = lines.slice(0, limits.rejectionsListedMax).map((line) => line.rejection);
  const [first] = listed;
  const where = first
    ? ` First: line ${first.line}, ${first.column ?? 'the whole line'}: ${first.message}`
    : '';
  const many = lines.length === rejectedMax ? `${rejectedMax} or more` : `${lines.length}`;
  const message = `${many} of the rows do not fit the table; nothing was written.${where}`;
  return new HoldfastError('HF_ROWS_REFUSED', message, { rejected: listed });
}

/** Lines that were refused, to be kept: their bytes, and why. */
function keepLines(lines: readonly RejectedLine[], input: Uint8Array): UndecodedRow[] {
  return lines.map(({ rejection, start, end }) => ({
    // A copy, also of a Buffer's bytes: they are the caller's again.
    raw: new Uint8Array(input.subarray(start, end)),
    code: rejection.code,
    message: rejection.message,
  }));
}
