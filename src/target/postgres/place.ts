// The merge rung: every row finds its end, whatever the table holds and whatever the server
// refuses. One bad row never blocks or drops its neighbours; all of it stays in the open
// transaction.
import assert from 'node:assert/strict';
import { renderRow } from '../../accept/json-text.ts';
import { type Batch, type OnConflict, type RowEnd, rowEnd } from '../../merge/batch.ts';
import { isolate } from '../../merge/isolate.ts';
import type { Letter } from '../letter.ts';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import {
  insertAll,
  insertWinners,
  judgeRows,
  type Meeting,
  meetingOf,
  type Verdict,
} from './place-sql.ts';
import { type Refusal, Savepoint } from './savepoint.ts';
import {
  between,
  bring,
  convert,
  type Part,
  seqArray,
  seqIndex,
  type Temporary,
} from './temporary.ts';

export interface Placed {
  /** Per row of the batch; absent where every row was merged. */
  readonly ends: Uint8Array | undefined;
  readonly letters: Iterable<Letter>;
}

export interface PlaceOptions {
  /** Statements that open the transaction. */
  readonly opening: string;
  /** The database's encoding: text that only UTF-8 can hold is kept as bytes elsewhere. */
  readonly encoding: string;
  /** In place of the stream's rule: a replay never overwrites. */
  readonly onConflict?: OnConflict;
}

export async function placeRows(
  connection: Connection,
  batch: Batch,
  options: PlaceOptions,
): Promise<Placed> {
  const brought = await bring(connection, batch, options.opening);
  const rule = options.onConflict ?? batch.rules.onConflict;
  const placed = await placeTemporary(connection, brought, rule);
  const { bySequence } = brought;
  const { encoding } = options;
  const ends = new Uint8Array(batch.count);
  placed.ends.forEach((end, seq) => {
    ends[bySequence[seq] ?? 0] = end;
  });
  const refusals = Array.from(placed.refusals, ([seq, refusal]): [number, Refusal] => [
    bySequence[seq] ?? 0,
    refusal,
  ]);
  return {
    ends: ends.every((end) => end === rowEnd.merged) ? undefined : ends,
    letters: lettersOf(batch, { refusals, encoding }),
  };
}

/** What became of rows in temporary tables, by their seq. */
export interface PlacedTemporary {
  readonly ends: Uint8Array;
  /** Of those that are dead letters. */
  readonly refusals: ReadonlyMap<number, Refusal>;
}

/** Brings the rows of temporary tables, raw as they are, to their ends. */
export async function placeTemporary(
  connection: Connection,
  rows: Temporary,
  onConflict: OnConflict,
): Promise<PlacedTemporary> {
  const placing = new Placing(connection, rows, onConflict);
  await placing.run();
  return placing;
}

const swallowed: Refusal = {
  code: 'swallowed',
  sqlState: null,
  message: 'The server took the row and did not store it; a trigger may have dropped it.',
};
const keyConflict: Refusal = {
  code: 'key-conflict',
  sqlState: null,
  message: 'Another row has this key and other content.',
};

/** What `insertWinners` answers; counts are bigints, as text. */
interface Winners {
  readonly inserted: string;
  readonly known: string;
  readonly rest: readonly number[];
  readonly beaten: readonly number[];
}

/** Rows that did not go in; `beaten` of them stood for their key. */
interface Rest {
  readonly seqs: number[];
  readonly beaten: Set<number>;
}

class Placing implements PlacedTemporary {
  readonly ends: Uint8Array;
  readonly refusals = new Map<number, Refusal>();
  readonly #connection: Connection;
  readonly #rows: Temporary;
  readonly #onConflict: OnConflict;
  readonly #savepoint: Savepoint;

  constructor(connection: Connection, rows: Temporary, onConflict: OnConflict) {
    this.#connection = connection;
    this.#rows = rows;
    this.#onConflict = onConflict;
    this.#savepoint = new Savepoint(connection);
    this.ends = new Uint8Array(rows.count);
  }

  async run(): Promise<void> {
    const refused = (seq: number, refusal: Refusal) => this.#refuse(seq, refusal);
    await convert(this.#connection, this.#rows, { savepoint: this.#savepoint, refused });
    for (const part of this.#rows.parts) {
      const meeting = meetingOf(part, this.#onConflict);
      if (meeting === 'none') await this.#insertAll(part);
      else await this.#insertWinners(part, meeting);
    }
  }

  #end(seq: number, end: RowEnd): void {
    this.ends[seq] = end;
  }

  #refuse(seq: number, refusal: Refusal): void {
    this.#end(seq, rowEnd.deadLetter);
    this.refusals.set(seq, refusal);
  }

  async #insertAll(part: Part): Promise<void> {
    const { table } = this.#rows;
    await this.#isolate(part, async (first, last) => {
      const pick = between(part.seqs, first, last);
      const made = await this.#savepoint.attempt(insertAll(table.name, part, pick));
      if ('refusal' in made) return made.refusal;
      if (made.result.rowCount === last - first + 1) return undefined;
      // Without a key nobody can say which rows a trigger dropped: find them one by one.
      this.#savepoint.refuse();
      return swallowed;
    });
  }

  async #insertWinners(part: Part, meeting: Meeting): Promise<void> {
    const rest = await this.#attemptWinners(part, meeting, (first, last) =>
      between(part.seqs, first, last),
    );
    const absent = await this.#judge(part, { meeting, rest, isFinal: false });
    if (absent.length === 0) return;
    // Deleted since by somebody else, or dropped by a trigger: a second attempt tells (P7).
    const again = { ...part, seqs: absent };
    const still = await this.#attemptWinners(again, meeting, (first, last) =>
      seqArray(absent.slice(first, last + 1)),
    );
    await this.#judge(again, { meeting, rest: still, isFinal: true });
  }

  async #attemptWinners(
    part: Part,
    meeting: Meeting,
    pickOf: (first: number, last: number) => string,
  ): Promise<Rest> {
    const { table } = this.#rows;
    const rest: Rest = { seqs: [], beaten: new Set() };
    await this.#isolate(part, async (first, last) => {
      const pick = pickOf(first, last);
      const made = await this.#savepoint.attempt(
        insertWinners(table.name, part, { meeting, pick }),
      );
      if ('refusal' in made) return made.refusal;
      const told = made.result.rows[0] as unknown as Winners;
      if (told.inserted !== told.known) {
        const message = `A trigger on ${table.name} changes the key of rows; they cannot be told.`;
        throw new TargetError('hold', '', message);
      }
      for (const seq of told.rest) rest.seqs.push(seq);
      for (const seq of told.beaten) rest.beaten.add(seq);
      return undefined;
    });
    return rest;
  }

  async #isolate(
    part: Part,
    attempt: (first: number, last: number) => Promise<Refusal | undefined>,
  ): Promise<void> {
    const { seqs } = part;
    await isolate(
      seqs.length,
      async (first, last) => {
        const refusal = await attempt(first, last);
        if (refusal && last - first > 100) this.#savepoint.prepare(seqIndex(part.typed));
        return refusal;
      },
      (place, refusal) => this.#refuse(seqs[place] ?? 0, refusal),
    );
    await this.#savepoint.end();
  }

  /**
   * Ends the rows that did not go in. Answers with those that have no row of their key in the
   * table; where this is final, they are swallowed.
   */
  async #judge(
    part: Part,
    { meeting, rest, isFinal }: { meeting: Meeting; rest: Rest; isFinal: boolean },
  ): Promise<number[]> {
    const absent: number[] = [];
    const { seqs } = rest;
    if (seqs.length === 0) return absent;
    const isVersioned = typeof meeting === 'object' && part.columns.includes(meeting.newest);
    const version = isVersioned ? meeting.newest : undefined;
    const [judged] = await this.#connection.script(
      judgeRows(this.#rows.table.name, part, { seqs, version }),
    );
    for (const row of judged?.rows ?? []) {
      const seq = Number(row['seq']);
      const verdict = row['verdict'] as Verdict;
      if (verdict === 'absent' && !isFinal) absent.push(seq);
      else this.#found(seq, { verdict, isVersioned, isWinner: rest.beaten.has(seq) });
    }
    return absent.sort((a, b) => a - b);
  }

  #found(
    seq: number,
    found: { readonly verdict: Verdict; readonly isVersioned: boolean; readonly isWinner: boolean },
  ): void {
    const { verdict, isVersioned, isWinner } = found;
    const rule = this.#onConflict;
    if (verdict === 'equal') this.#end(seq, rowEnd.duplicate);
    else if (verdict === 'older') this.#end(seq, rowEnd.superseded);
    else if (verdict === 'absent' || verdict === 'newer') this.#refuse(seq, swallowed);
    else if (rule === 'dead-letter' || isVersioned) this.#refuse(seq, keyConflict);
    // The row that should have replaced the other one did not.
    else if (rule === 'update' && isWinner) this.#refuse(seq, swallowed);
    else this.#end(seq, rowEnd.superseded);
  }
}

/** Letters of the records whose end was decided before: they never decoded. */
export const undecodedLetters = (batch: Batch, encoding: string): Letter[] =>
  batch.undecoded.map((record) => {
    const lane = batch.slices[record.slice]?.lane;
    assert(lane !== undefined, 'an undecoded record belongs to a slice');
    const { sequence, raw, code, message } = record;
    const reason = { code, sqlState: null, message: storable(message, encoding) };
    return { writer: batch.writer, lane, sequence, row: null, raw, ...reason };
  });

/** A text column holds no NUL, and of others than UTF-8 we know only that they hold ASCII (P10). */
const storable = (text: string, encoding: string): string =>
  encoding === 'UTF8' ? text.replaceAll('\0', '?') : text.replaceAll(/[\0\u0080-\uffff]/g, '?');

function* lettersOf(
  batch: Batch,
  of: { readonly refusals: readonly [number, Refusal][]; readonly encoding: string },
): Generator<Letter> {
  const { refusals, encoding } = of;
  yield* undecodedLetters(batch, encoding);
  for (const [row, refusal] of refusals) yield letterOf(batch, row, { refusal, encoding });
}

function letterOf(
  batch: Batch,
  row: number,
  { refusal, encoding }: { readonly refusal: Refusal; readonly encoding: string },
): Letter {
  const set = batch.columnSets[batch.sets[row] ?? 0];
  assert(set, 'a row has a column set');
  const { bytes, starts, tupleEnds } = batch;
  const tuple = { bytes, start: starts[row] ?? 0, end: tupleEnds[row] ?? 0 };
  const json = renderRow(batch.journaled, set, tuple);
  const isText = storable(json, encoding) === json;
  return {
    writer: batch.writer,
    lane: batch.slices[batch.sliceOf[row] ?? 0]?.lane ?? 0,
    sequence: batch.sequences[row] ?? 0,
    row: isText ? json : null,
    raw: isText ? null : Buffer.from(json),
    code: refusal.code,
    sqlState: refusal.sqlState,
    message: storable(refusal.message, encoding),
  };
}
