// The merge rung: every row of a batch finds its end, whatever the table holds and whatever the
// server refuses. One bad row never blocks or drops its neighbours; all of it stays in the open
// transaction. Rows of one key stand behind each other: one of them is its key's winner, and the
// others are compared with what it left in the table. Keys that are there are looked up first, so
// that no id is used up for them.
import assert from 'node:assert/strict';
import { renderRow } from '../../accept/json-text.ts';
import { type Batch, type OnConflict, type RowEnd, rowEnd } from '../../merge/batch.ts';
import { isolate } from '../../merge/isolate.ts';
import type { Letter } from '../letter.ts';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import * as sql from './place-sql.ts';
import { type Refusal, Savepoint } from './savepoint.ts';
import type { Part, Stage } from './stage.ts';

export interface Placed {
  /** Per row of the batch; absent where every row was merged. */
  readonly ends: Uint8Array | undefined;
  readonly letters: Iterable<Letter>;
}

/**
 * Brings the rows to their ends. `onConflict` in place of the stream's: a replay never overwrites.
 */
export async function placeRows(
  connection: Connection,
  batch: Batch,
  { stage, onConflict }: { readonly stage: Stage; readonly onConflict?: OnConflict },
): Promise<Placed> {
  const placed = await placeParts(connection, {
    table: batch.table.name,
    count: batch.count,
    onConflict: onConflict ?? batch.rules.onConflict,
    stage,
  });
  const letters = lettersOf(batch, placed.refusals);
  if (placed.ends.every((end) => end === rowEnd.merged)) return { ends: undefined, letters };
  const ends = new Uint8Array(batch.count);
  placed.ends.forEach((end, ord) => {
    ends[batch.order[ord] ?? 0] = end;
  });
  return { ends, letters };
}

/** Rows that a table is to take, once they stand in temporary tables. */
export interface Placeable {
  readonly table: string;
  /** Their ords are below this. */
  readonly count: number;
  readonly onConflict: OnConflict;
  readonly stage: Pick<Stage, 'fill'>;
}

/** What became of them, by ord. */
export interface PlacedParts {
  readonly ends: Uint8Array;
  /** Of those that are dead letters. */
  readonly refusals: ReadonlyMap<number, Refusal>;
}

export async function placeParts(connection: Connection, of: Placeable): Promise<PlacedParts> {
  const placing = new Placing(connection, of);
  await placing.run(of.stage);
  return placing;
}

/**
 * How often the rows of one key choose a winner, where the one before was refused. What is left
 * then is refused too: a storm of one bad row must not take an hour.
 */
const passesMax = 8;

const swallowed: Refusal = {
  code: 'swallowed',
  sqlState: null,
  message: 'The server took the row and did not store it; a trigger may have put back the old one.',
};
const keyConflict: Refusal = {
  code: 'key-conflict',
  sqlState: null,
  message: 'Another row has this key and other content.',
};
const worn: Refusal = {
  code: 'refused',
  sqlState: null,
  message: `${passesMax} rows of this key were refused before it; it was not tried.`,
};

/**
 * Rows that stand for their keys. `isAll`: all rows of the part; else the winners' table has them.
 */
interface Winners {
  readonly winners: readonly number[];
  readonly isAll: boolean;
}

const all: sql.Chosen = { isAll: true, except: [] };

class Placing implements PlacedParts {
  readonly ends: Uint8Array;
  readonly refusals = new Map<number, Refusal>();
  readonly #connection: Connection;
  readonly #table: string;
  readonly #onConflict: OnConflict;
  readonly #savepoint: Savepoint;

  constructor(connection: Connection, { table, count, onConflict }: Placeable) {
    this.#connection = connection;
    this.#table = table;
    this.#onConflict = onConflict;
    this.#savepoint = new Savepoint(connection);
    this.ends = new Uint8Array(count);
  }

  async run(stage: Pick<Stage, 'fill'>): Promise<void> {
    const refused = (ord: number, refusal: Refusal) => this.#refuse(ord, refusal);
    const parts = await stage.fill(this.#savepoint, refused);
    for (const part of parts) {
      if (part.ords.length === 0) continue;
      if (part.key.length === 0) await this.#insertAll(part);
      else await this.#placePart(part);
    }
  }

  #end(ord: number, end: RowEnd): void {
    this.ends[ord] = end;
  }

  #refuse(ord: number, refusal: Refusal): void {
    this.#end(ord, rowEnd.deadLetter);
    this.refusals.set(ord, refusal);
  }

  async #rows(text: string) {
    return this.#connection.query(text);
  }

  /**
   * Runs `statement` for all of these rows that the server takes; the others go to `refused`. All
   * at once they go in the order that it chooses. Where that is refused, they go in the order of
   * their sequence: of two that the table cannot have both, the earlier one has its place.
   */
  async #isolate(
    part: Part,
    ords: readonly number[],
    of: {
      readonly statement: (pick?: readonly number[]) => string;
      readonly refused: (ord: number, refusal: Refusal) => void;
    },
  ): Promise<void> {
    const attempt = (count: number, text: string): Promise<Refusal | undefined> =>
      this.#savepoint.attempt(async (before) => {
        const answers = await this.#connection.script(before + text);
        return answers.at(-1)?.affected === count ? undefined : swallowed;
      });
    if (await attempt(ords.length, of.statement())) {
      const inSequence = [...ords].sort((a, b) => part.seqOf(a) - part.seqOf(b));
      await isolate(
        ords.length,
        (first, last) => {
          const pick = inSequence.slice(first, last + 1);
          return attempt(pick.length, of.statement(pick));
        },
        (place, refusal) => of.refused(inSequence[place] ?? 0, refusal),
      );
    }
    await this.#savepoint.end();
  }

  async #insertAll(part: Part): Promise<void> {
    await this.#isolate(part, part.ords, {
      statement: (pick) => sql.insertRows(this.#table, part, { ...all, ...(pick && { pick }) }),
      refused: (ord, refusal) => this.#refuse(ord, refusal),
    });
  }

  async #placePart(part: Part): Promise<void> {
    let pick: sql.Pick = 'all';
    let left: readonly number[] = part.ords;
    for (let pass = 1; left.length > 0; pass++) {
      if (pass > passesMax) {
        for (const ord of left) this.#refuse(ord, worn);
        return;
      }
      left = await this.#pass(part, { pick, ords: left, isFirst: pass === 1 });
      pick = left;
    }
  }

  /** Ends one row of each key and those that it decides; the others come again. */
  async #pass(
    part: Part,
    of: { readonly pick: sql.Pick; readonly ords: readonly number[]; readonly isFirst: boolean },
  ): Promise<readonly number[]> {
    const { winners, isAll } = await this.#choose(part, of);
    const isWhole = winners.length === of.ords.length;
    const again: number[] = [];
    const refused = (ord: number, refusal: Refusal): void => {
      // Somebody else may have put the key in since; another unique index refuses it once more.
      if (of.isFirst && refusal.sqlState === 'ER_DUP_ENTRY') again.push(ord);
      else this.#refuse(ord, refusal);
    };
    const refusals = this.refusals.size;
    await this.#placeWinners(part, { winners, isAll }, refused);
    if (isWhole) return again;
    const won = new Set(winners);
    const losers = of.ords.filter((ord) => !won.has(ord));
    const isComplete = this.refusals.size === refusals && again.length === 0;
    again.push(...(await this.#judgeLosers(part, losers, isComplete)));
    return again.sort(byNumber);
  }

  /** One row of each key. Nothing has to be chosen where each has a key of its own. */
  async #choose(
    part: Part,
    of: { readonly pick: sql.Pick; readonly ords: readonly number[] },
  ): Promise<Winners> {
    if (of.pick === 'all' && part.isDistinct && of.ords.length === part.ords.length) {
      return { winners: of.ords, isAll: true };
    }
    const choose = sql.chooseWinners(part, of.pick, this.#onConflict);
    const chosen = await this.#connection.script(choose);
    const isWhole = Number(chosen.at(-1)?.rows[0]?.['count']) === of.ords.length;
    const winners = isWhole ? of.ords : (await this.#rows(sql.winners)).map(ordOf).sort(byNumber);
    return { winners, isAll: false };
  }

  get #version(): string | undefined {
    return typeof this.#onConflict === 'object' ? this.#onConflict.newest : undefined;
  }

  #versionOf(part: Part): string | undefined {
    const version = this.#version;
    return version !== undefined && part.columns.includes(version) ? version : undefined;
  }

  async #placeWinners(
    part: Part,
    { winners, isAll }: Winners,
    refused: (ord: number, refusal: Refusal) => void,
  ): Promise<void> {
    const version = this.#versionOf(part);
    const chosen = { isAll, except: [] };
    const found = await this.#rows(sql.judgeChosen(this.#table, part, { chosen, version }));
    const updates: number[] = [];
    const there = new Set<number>();
    for (const row of found) {
      const ord = ordOf(row);
      const verdict = row['verdict'] as sql.Verdict;
      there.add(ord);
      const isUpdate =
        version === undefined
          ? verdict === 'different' && this.#onConflict === 'update'
          : verdict === 'newer';
      if (isUpdate) updates.push(ord);
      else this.#found(ord, verdict, version !== undefined);
    }
    const absent = there.size === 0 ? winners : winners.filter((ord) => !there.has(ord));
    await this.#insertWinners(part, { winners: absent, isAll, except: [...there] }, refused);
    await this.#updateWinners(part, updates, refused);
  }

  async #insertWinners(
    part: Part,
    { winners: ords, ...chosen }: Winners & sql.Chosen,
    refused: (ord: number, refusal: Refusal) => void,
  ): Promise<void> {
    if (ords.length === 0) return;
    let out = 0;
    await this.#isolate(part, ords, {
      statement: (pick) => sql.insertRows(this.#table, part, { ...chosen, ...(pick && { pick }) }),
      refused: (ord, refusal) => {
        out++;
        refused(ord, refusal);
      },
    });
    const [row] = await this.#rows(sql.countChosen(this.#table, part, chosen));
    // A refused row's key may be there all the same: somebody else's.
    const known = Number(row?.['count']);
    if (known >= ords.length - out && known <= ords.length) return;
    const message = `A trigger on ${this.#table} changes the key of rows; they cannot be told.`;
    throw new TargetError('hold', '', message);
  }

  async #updateWinners(
    part: Part,
    ords: readonly number[],
    refused: (ord: number, refusal: Refusal) => void,
  ): Promise<void> {
    if (ords.length === 0) return;
    const sorted = [...ords].sort(byNumber);
    await this.#isolate(part, sorted, {
      statement: (pick = sorted) => sql.updateRows(this.#table, part, pick),
      refused,
    });
  }

  /**
   * Ends the rows that did not stand for their key; `isComplete`: all that stood for theirs have
   * their end. Answers with those whose key may take them yet.
   */
  async #judgeLosers(
    part: Part,
    losers: readonly number[],
    isComplete: boolean,
  ): Promise<readonly number[]> {
    if (losers.length === 0) return [];
    const version = this.#versionOf(part);
    const judged = await this.#rows(sql.judgeRows(this.#table, part, { ords: losers, version }));
    const left = new Set(losers);
    for (const row of judged) {
      const ord = ordOf(row);
      const verdict = row['verdict'] as sql.Verdict;
      // The row that should have replaced this one was refused: now this one may.
      const mayYet = verdict === 'newer' || (verdict === 'different' && this.#isUpdating(version));
      if (mayYet && !isComplete) continue;
      left.delete(ord);
      this.#found(ord, verdict, version !== undefined);
    }
    return [...left];
  }

  #isUpdating(version: string | undefined): boolean {
    return version === undefined && this.#onConflict === 'update';
  }

  /** The end of a row whose key is in the table and stays as it is. */
  #found(ord: number, verdict: sql.Verdict, isVersioned: boolean): void {
    if (verdict === 'equal') this.#end(ord, rowEnd.duplicate);
    else if (verdict === 'older') this.#end(ord, rowEnd.superseded);
    else if (verdict === 'newer') this.#refuse(ord, swallowed);
    // The same version and other content is a conflict; without a version nothing is newer.
    else if (this.#onConflict === 'dead-letter' || isVersioned) this.#refuse(ord, keyConflict);
    else this.#end(ord, rowEnd.superseded);
  }
}

const ordOf = (row: { readonly [column: string]: unknown }): number => Number(row['ord']);
const byNumber = (a: number, b: number): number => a - b;

/** Letters of the records whose end was decided before: they never decoded. */
export const undecodedLetters = (batch: Batch): Letter[] =>
  batch.undecoded.map((record) => {
    const lane = batch.slices[record.slice]?.lane;
    assert(lane !== undefined, 'an undecoded record belongs to a slice');
    const { sequence, raw, code, message } = record;
    return { writer: batch.writer, lane, sequence, row: null, raw, code, sqlState: null, message };
  });

function* lettersOf(batch: Batch, refusals: ReadonlyMap<number, Refusal>): Generator<Letter> {
  yield* undecodedLetters(batch);
  for (const [ord, refusal] of refusals) yield letterOf(batch, batch.order[ord] ?? 0, refusal);
}

function letterOf(batch: Batch, row: number, refusal: Refusal): Letter {
  const set = batch.columnSets[batch.sets[row] ?? 0];
  assert(set, 'a row has a column set');
  const { bytes, starts, tupleEnds } = batch;
  const tuple = { bytes, start: starts[row] ?? 0, end: tupleEnds[row] ?? 0 };
  return {
    writer: batch.writer,
    lane: batch.slices[batch.sliceOf[row] ?? 0]?.lane ?? 0,
    sequence: batch.sequences[row] ?? 0,
    row: renderRow(batch.journaled, set, tuple),
    raw: null,
    ...refusal,
  };
}
