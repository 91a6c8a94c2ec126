// The judge of a simulation: from what clients were told, what may and what must stand in the
// tables, among the dead letters and in the books at the end. It knows the stream's rules and the
// clients' requests, and nothing of how the product works.
import assert from 'node:assert/strict';
import type { StreamStatus, VerifyResult } from '../../src/types.ts';
import type { Cell } from '../../test/simulation/simulated-store.ts';
import type { SimulatedTarget } from '../../test/simulation/simulated-target.ts';
import { checkBooks, Violation } from '../oracle.ts';
import { type Clients, type Fate, rowOf, type Span } from './clients.ts';
import type { Plan, RequestPlan, RowPlan, StreamPlan } from './plan.ts';
import { meaningOf, type Shapes } from './shapes.ts';

type Sent = Omit<ReturnType<typeof rowOf>, 'value'> & { readonly value?: Cell };

interface Told {
  readonly row: RowPlan;
  readonly sent: Sent;
  readonly fate: Fate;
  readonly span: Span;
  /** It is to be a dead letter: the table refuses it, or has refused it and might. */
  readonly isUnfit: boolean;
}

const textOf = ({ id, version, note, value }: Sent): string =>
  `${id} ${version} ${note} ${meaningOf(value)}`;

/** A value that not every type of its column can have. */
const isWord = (value: string | number): boolean => Number.isNaN(Number(value));

const isAcknowledged = ({ fate }: Told): boolean => fate === 'acknowledged';
const isPossible = ({ fate }: Told): boolean => fate !== 'not written';
/** Of a request that came to no answer. */
const always: Span = { begun: 0, ended: Number.POSITIVE_INFINITY };

/** What must hold of a stream at any instant. */
export function checkStream(name: string, status: StreamStatus): void {
  checkBooks(name, status);
  if (status.state !== 'held' || status.reason) return;
  throw new Violation('wrong', `${name} is held and does not say why`);
}

export interface JudgeParts {
  readonly plan: Plan;
  readonly target: SimulatedTarget;
  readonly shapes: Shapes;
  readonly clients: Pick<Clients, 'fates' | 'spans'>;
}

export class Judge {
  readonly #plan: Plan;
  readonly #target: SimulatedTarget;
  readonly #shapes: Shapes;
  readonly #clients: JudgeParts['clients'];

  constructor({ plan, target, shapes, clients }: JudgeParts) {
    this.#plan = plan;
    this.#target = target;
    this.#shapes = shapes;
    this.#clients = clients;
  }

  /** Everything is settled, and nothing goes on. */
  check(books: Readonly<Record<string, StreamStatus>>): void {
    for (const stream of this.#plan.streams) {
      const told = this.#told(stream);
      const found = this.#rows(stream.name);
      if (stream.isKeyed) this.#checkKeyed(stream, told, found);
      else this.#checkLoose(stream, told, found);
      const status = books[stream.name];
      assert(status, `stream ${stream.name} has books`);
      this.#checkBooks(stream, told, status);
    }
  }

  /** The product's own opinion of journal and tables. */
  checkVerified({ differences }: VerifyResult): void {
    const strange = differences.filter(({ kind, stream }) => !this.#shapes.mayDiffer(stream, kind));
    if (strange.length > 0) throw new Violation('wrong', `verify: ${JSON.stringify(strange)}`);
  }

  /** A client was just told that the rows of its request have their ends. */
  checkSettled({ stream: name, rows }: RequestPlan): void {
    const stream = this.#plan.streams.find((one) => one.name === name);
    if (!stream) throw new Error(`there is no stream ${name}`);
    // It may be settled and the table renamed since.
    if (!this.#target.store.tables.has(name)) return;
    const there = new Set(this.#rows(name).map(({ id }) => id));
    const letters = new Set(this.#letters(name));
    for (const row of rows) {
      if (there.has(row.id) || letters.has(textOf(rowOf(name, row)))) continue;
      throw new Violation('lost', `row ${row.id} of ${name} was called settled and is not there`);
    }
  }

  #rows(table: string): Sent[] {
    return this.#target.rows(table).map((row) => ({
      id: Number(row['id']),
      version: Number(row['version']),
      note: String(row['note']),
      value: this.#shapes.valueOf(table, row),
    }));
  }

  #letters(stream: string): string[] {
    return [...this.#target.store.letters.values()]
      .filter((letter) => letter.stream === stream)
      .map(({ row }) => textOf(JSON.parse(row ?? '{}') as Sent));
  }

  #told({ name }: StreamPlan): Told[] {
    const letters = new Set(this.#letters(name));
    return this.#plan.requests
      .filter(({ stream }) => stream === name)
      .flatMap((request) => {
        const fate = this.#clients.fates.get(request) ?? 'unknown';
        const span = this.#clients.spans.get(request) ?? always;
        return request.rows.map((row) => {
          const sent = rowOf(name, row);
          const isRefused = this.#mayRefuse(name, row) && letters.has(textOf(sent));
          return { row, sent, fate, span, isUnfit: row.isPoison === true || isRefused };
        });
      });
  }

  /** As the column of its value was meanwhile. */
  #mayRefuse(stream: string, { value }: RowPlan): boolean {
    return value === undefined ? this.#shapes.isRefusing(stream) : isWord(value);
  }

  /**
   * Each acknowledged row once, each unanswered one at most once, nothing else; and only what the
   * table refuses among the dead letters.
   */
  #checkLoose({ name }: StreamPlan, told: readonly Told[], found: readonly Sent[]): void {
    const letters = this.#letters(name);
    const counts = countTexts([...found.map(textOf), ...letters]);
    const good = new Set(told.flatMap(({ isUnfit, sent }) => (isUnfit ? [] : [textOf(sent)])));
    const buried = letters.find((text) => good.has(text));
    if (buried !== undefined) throw new Violation('lost', `${name} has buried a row: ${buried}`);
    for (const { sent, fate } of told) {
      const count = counts.get(textOf(sent)) ?? 0;
      counts.delete(textOf(sent));
      const where = `row ${sent.id} of ${name}, ${fate}`;
      if (count > 1) throw new Violation('doubled', `${where}, is there ${count} times`);
      if (count === 0 && fate === 'acknowledged') throw new Violation('lost', `${where}`);
      if (count === 1 && fate === 'not written') throw new Violation('wrong', `${where}, is there`);
    }
    const [strange] = counts.keys();
    if (strange !== undefined) throw new Violation('wrong', `${name} has ${strange}: never sent`);
  }

  #checkKeyed(stream: StreamPlan, told: readonly Told[], found: readonly Sent[]): void {
    const { name } = stream;
    const letters = countTexts(this.#letters(name));
    const byId = new Map<number, Told[]>();
    for (const one of told) byId.set(one.sent.id, [...(byId.get(one.sent.id) ?? []), one]);
    const there = new Map<number, Sent>();
    for (const row of found) {
      if (there.has(row.id)) throw new Violation('doubled', `row ${row.id} of ${name}`);
      there.set(row.id, row);
    }
    for (const [id, rows] of byId) {
      const hasLost = ({ note }: Sent) => this.#shapes.hasLost(name, note);
      checkKey({ stream, rows, found: there.get(id), letters, hasLost });
      there.delete(id);
    }
    const [strange] = there.values();
    if (strange) throw new Violation('wrong', `${name} has ${textOf(strange)}: never sent`);
    for (const [text, count] of letters) {
      const most = told.filter((one) => isPossible(one) && textOf(one.sent) === text).length;
      if (count <= most) continue;
      const kind = most === 0 ? 'wrong' : 'doubled';
      throw new Violation(kind, `dead letter of ${name}, ${count} times, ${most} sent: ${text}`);
    }
  }

  #checkBooks(stream: StreamPlan, told: readonly Told[], books: StreamStatus): void {
    const { name, isKeyed, policy } = stream;
    checkBooks(name, books);
    const { accepted, inFlight, oldestMs, merged, deadLetters, duplicates, superseded } = books;
    const least = told.filter(isAcknowledged).length;
    const most = told.filter(isPossible).length;
    if (accepted < least) throw new Violation('lost', `${name} accepted ${accepted} of ${least}`);
    if (accepted > most) throw new Violation('doubled', `${name} accepted ${accepted} of ${most}`);
    assert.deepEqual([inFlight, oldestMs], [0, 0], `${name} has nothing in flight, of no age`);
    const letters = this.#letters(name).length;
    assert.equal(deadLetters, letters, `${name}: dead letters in the books and in the table`);
    const rows = this.#rows(name).length;
    // Where no row takes another's place, each that was merged stands there.
    const mayReplace = policy === 'update' || policy === 'newest';
    if (merged < rows || (merged > rows && !mayReplace)) {
      throw new Violation('wrong', `${name}: ${rows} rows, ${merged} merged`);
    }
    if (!isKeyed) assert.deepEqual([duplicates, superseded], [0, 0], `${name} has no key`);
  }
}

interface Key {
  readonly stream: StreamPlan;
  /** All rows of one key that were sent. */
  readonly rows: readonly Told[];
  readonly found: Sent | undefined;
  readonly letters: ReadonlyMap<string, number>;
  /** Whether that row, in the table, has lost something: an equal one is another now. */
  readonly hasLost: (row: Sent) => boolean;
}

/** What stands under one key, by the stream's rule. */
function checkKey(key: Key): void {
  const { rows, found, letters, hasLost } = key;
  const { name, policy } = key.stream;
  const where = `key ${rows[0]?.sent.id} of ${name} (${policy})`;
  const fit = rows.filter(({ isUnfit }) => !isUnfit);
  const certain = fit.filter(isAcknowledged);
  checkLetters({ where, rows: rows.filter(({ isUnfit }) => isUnfit), letters });
  if (!found) {
    if (certain.length > 0) throw new Violation('lost', `${where} was acknowledged`);
    return;
  }
  const isFound = ({ sent }: Told): boolean => textOf(sent) === textOf(found);
  if (!fit.some((one) => isPossible(one) && isFound(one))) {
    throw new Violation('wrong', `${where} has ${textOf(found)}, which it cannot have`);
  }
  if (policy === 'update' || policy === 'newest') {
    const newest = Math.max(...certain.map(({ row }) => row.version));
    if (found.version < newest) {
      throw new Violation('lost', `${where} has version ${found.version}, ${newest} was written`);
    }
  } else checkFirst(where, fit, isFound);
  // Of what stands there none is buried; under the default rule all else is, and nowhere else any.
  const others = fit.filter((one) => !isFound(one));
  if (policy === 'dead-letter') checkLetters({ where, rows: others, letters });
  const buried = (policy === 'dead-letter' ? fit.filter(isFound) : fit).find(
    ({ sent }) => letters.has(textOf(sent)) && !hasLost(sent),
  );
  if (buried) throw new Violation('wrong', `${where} has buried ${textOf(buried.sent)}`);
}

interface Buried extends Pick<Key, 'rows' | 'letters'> {
  readonly where: string;
}

/** Each of these that was acknowledged is a dead letter of its own. */
function checkLetters({ where, rows, letters }: Buried): void {
  const least = countTexts(rows.filter(isAcknowledged).map(({ sent }) => textOf(sent)));
  for (const [text, count] of least) {
    const buried = letters.get(text) ?? 0;
    if (buried >= count) continue;
    throw new Violation('lost', `${where}: ${text} is ${buried} dead letters of ${count}`);
  }
}

/** Who comes first keeps the key: no request that had its answer before this one was sent. */
function checkFirst(where: string, rows: readonly Told[], isFound: (one: Told) => boolean): void {
  const begun = Math.min(...rows.filter(isFound).map(({ span }) => span.begun));
  const earlier = rows.find(
    (one) => isAcknowledged(one) && !isFound(one) && one.span.ended < begun,
  );
  if (!earlier) return;
  throw new Violation('wrong', `${where} is not what came first: ${textOf(earlier.sent)}`);
}

function countTexts(texts: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return counts;
}
