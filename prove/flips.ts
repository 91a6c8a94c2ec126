// Campaign `flips`: damage at rest. Every bit of every segment of a journal is flipped, every
// segment is cut at every byte, tails are zeroed and replaced by those of another life, sectors and
// pages are zeroed and filled with garbage, segments are swapped, doubled and taken away. Opening
// the journal may refuse, naming the file, or find the same records. Damage inside a segment that
// has a successor may be found later: by reading every byte (`holdfast journal check`), which must
// find it, and by whoever is to hand over a record that it hit. Two things one disk cannot tell
// from a write that the power cut short: damage to the last group of a journal that was killed
// before it was idle for a second, and a tail that is gone with all witnesses. Nothing else (O2,
// O14, O15).
import { posix } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { HoldfastError } from '../src/errors.ts';
import type { Found } from '../src/journal/recovery.ts';
import { Random } from '../test/simulation/random.ts';
import { type Campaign, type CampaignOptions, Tally } from './campaign.ts';
import {
  drainFiles,
  type Ending,
  openFiles,
  recoverFiles,
  type Whole,
  writeWhole,
} from './damaged-journal.ts';
import { Violation } from './oracle.ts';

type Files = ReadonlyMap<string, Uint8Array>;

/** What a kind of damage may lead to, beside a refusal and no change. */
type Tolerated = 'nothing' | 'the last group' | 'a shorter tail';

interface Damage {
  readonly kind: string;
  readonly where: string;
  readonly files: Files;
  readonly tolerated: Tolerated;
}

/** Damage to files as a whole: found at open, wherever it is. */
const isFoundAtOpen = ({ kind }: Damage): boolean =>
  ['missing', 'doubled', 'swapped', 'truncation'].includes(kind);

class Judge {
  readonly #whole: Whole;
  readonly #tally: Tally;

  constructor(whole: Whole, tally: Tally) {
    this.#whole = whole;
    this.#tally = tally;
  }

  judge(damage: Damage): void {
    const { kind, where } = damage;
    const { ending } = this.#whole;
    this.#tally.ran();
    try {
      this.#tally.see(`${kind}, ${ending}: ${this.#outcome(damage)}`);
    } catch (error) {
      this.#tally.take(error, `${kind} of a journal that was ${ending}, ${where}`);
    }
  }

  #outcome(damage: Damage): string {
    const { files, tolerated } = damage;
    const { recovered, history, blocksBeforeLast } = this.#whole;
    const opened = unlessCorrupt(() => openFiles(files));
    if (!opened) return 'refused';
    if (isFoundAtOpen(damage)) throw new Violation('lost', 'the journal is opened');
    const found = unlessCorrupt(() => recoverFiles(files));
    if (!found) return this.#drained(files, opened);
    if (!isDeepStrictEqual(opened, found.found)) {
      throw new Violation('wrong', 'opening it finds another journal than reading all of it');
    }
    const alien = found.blocks.find((block) => !history.has(block));
    if (alien) throw new Violation('wrong', `records ${alien.first} of lane ${alien.lane}`);
    const count = found.blocks.length;
    if (count === recovered.blocks.length) return 'unchanged';
    if (count > recovered.blocks.length)
      throw new Violation('doubled', `${count} blocks are found`);
    const isLast = count >= blocksBeforeLast;
    if (isLast && tolerated !== 'nothing') return 'the last group is lost';
    if (tolerated === 'a shorter tail') return 'a tail is lost';
    throw new Violation('lost', `${recovered.blocks.length - count} blocks, without a word`);
  }

  /** A journal with damage inside: nothing wrong is handed over, and nothing left out. */
  #drained(files: Files, opened: Found): string {
    const { recovered, history } = this.#whole;
    let count = 0;
    const isWhole = unlessCorrupt(() => {
      drainFiles(files, opened, (block) => {
        if (!history.has(block)) {
          throw new Violation('wrong', `records ${block.first} of lane ${block.lane}`);
        }
        count++;
      });
      return true;
    });
    if (!isWhole) return 'told when read';
    const lost = recovered.blocks.length - count;
    if (lost > 0) throw new Violation('lost', `${lost} blocks, without a word`);
    return 'told by a check';
  }
}

/** What the product finds, or undefined where it says that the journal is corrupt. */
function unlessCorrupt<T>(find: () => T): T | undefined {
  try {
    return find();
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'HF_CORRUPT') return undefined;
    if (error instanceof Violation) throw error;
    if (error instanceof HoldfastError) throw new Violation('wrong', error.message);
    throw new Error('recovery broke down', { cause: error });
  }
}

const withFile = ({ files }: Whole, name: string, bytes: Uint8Array): Map<string, Uint8Array> =>
  new Map(files).set(name, bytes);

const tailOf = ({ ending }: Whole): Tolerated =>
  ending === 'killed' ? 'the last group' : 'nothing';

/** Every bit, or every so many; the bytes are changed in place and put back. */
function flipAll(whole: Whole, judge: Judge, stride: number): void {
  for (const name of whole.names) {
    const bytes = whole.files.get(name)?.slice() ?? new Uint8Array(0);
    const files = withFile(whole, name, bytes);
    for (let bit = 0; bit < bytes.length * 8; bit += stride) {
      const at = bit >> 3;
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
      const tolerated = tailOf(whole);
      judge.judge({ kind: 'flip', where: `${name} bit ${bit}`, files, tolerated });
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
    }
  }
}

/** Tails are zeroed and replaced from every so many bytes on; cut they are at every one. */
const tailStep = 5;

function damageTails(whole: Whole, other: Whole, of: { judge: Judge; stride: number }): void {
  const { judge, stride } = of;
  const last = whole.names.at(-1);
  for (const name of whole.names) {
    const bytes = whole.files.get(name) ?? new Uint8Array(0);
    const stale = other.files.get(name) ?? new Uint8Array(0);
    // What is gone from the end of the last segment left nothing behind to tell of it.
    const tolerated = name === last ? 'a shorter tail' : 'nothing';
    for (let at = 0; at < bytes.length; at += stride) {
      const where = `${name} from byte ${at}`;
      const put = (kind: string, tail: Uint8Array, allowed: Tolerated): void => {
        const damaged = Buffer.concat([bytes.subarray(0, at), tail]);
        const files = withFile(whole, name, damaged);
        judge.judge({ kind, where, files, tolerated: allowed });
      };
      // A segment is never shorter than it was made.
      put('truncation', new Uint8Array(0), 'nothing');
      if (stride === 1 && at % tailStep !== 0) continue;
      put('zeroed tail', new Uint8Array(bytes.length - at), tolerated);
      put('stale tail', stale.subarray(at), tolerated);
    }
  }
}

function damageUnits(whole: Whole, judge: Judge, random: Random): void {
  const last = whole.names.at(-1);
  for (const name of whole.names) {
    const bytes = whole.files.get(name) ?? new Uint8Array(0);
    for (const unit of [512, 4096]) {
      for (let at = 0; at < bytes.length; at += unit) {
        const where = `${name} bytes ${at}+${unit}`;
        const tolerated = name === last ? 'a shorter tail' : 'nothing';
        for (const kind of ['zeroed unit', 'garbage in a unit'] as const) {
          const damaged = bytes.slice();
          const isGarbage = kind === 'garbage in a unit';
          damaged.subarray(at, at + unit).forEach((_, i) => {
            damaged[at + i] = isGarbage ? random.below(256) : 0;
          });
          judge.judge({ kind, where, files: withFile(whole, name, damaged), tolerated });
        }
      }
    }
  }
}

/** Segments under each other's names, twice, or not at all. */
function damageNames(whole: Whole, judge: Judge): void {
  const { names, files } = whole;
  const last = names.at(-1) ?? '';
  const of = (name: string): Uint8Array => files.get(name) ?? new Uint8Array(0);
  for (const a of names) {
    const without = new Map(files);
    without.delete(a);
    // A journal whose first segments are gone looks like one that was trimmed, and one whose last
    // is gone like one that never began it: only target and requests know better.
    const isEdge = a === names[0] || a === last;
    if (!isEdge) judge.judge({ kind: 'missing', where: a, files: without, tolerated: 'nothing' });
    for (const b of names) {
      if (a === b) continue;
      const doubled = withFile(whole, b, of(a));
      judge.judge({ kind: 'doubled', where: `${a} as ${b}`, files: doubled, tolerated: 'nothing' });
      const swapped = withFile(whole, b, of(a)).set(a, of(b));
      judge.judge({
        kind: 'swapped',
        where: `${a} and ${b}`,
        files: swapped,
        tolerated: 'nothing',
      });
    }
    const number = Number.parseInt(posix.basename(last), 10) + 1;
    const further = withFile(whole, `${String(number).padStart(10, '0')}.segment`, of(a));
    judge.judge({
      kind: 'doubled',
      where: `${a} as ${number}`,
      files: further,
      tolerated: 'nothing',
    });
  }
}

/** Bits of a journal of two segments. */
const everyBit = 131_072;

async function run(options: CampaignOptions) {
  const { seed, count = flipsCampaign.countShort } = options;
  const tally = new Tally('flips', options);
  // A hundred thousand refusals are expected: their stacks say nothing.
  const stackDepth = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  const stride = count >= everyBit ? 1 : Math.floor((3 * everyBit) / count) | 1;
  const attack = async (): Promise<void> => {
    for (let round = 0; tally.seen('flips') < count; round++) {
      const random = new Random(seed * 1_000 + round);
      for (const ending of ['killed', 'idle', 'closed'] as const satisfies readonly Ending[]) {
        // Two segments are enough for bits; one of three can be missing in the middle.
        const size = { seed: random.next32(), segments: 2 };
        const three = await writeWhole(ending, { ...size, segments: 3 });
        damageNames(three, new Judge(three, tally));
        const whole = await writeWhole(ending, size);
        const other = await writeWhole('killed', { ...size, life: 1 + random.below(100) });
        const judge = new Judge(whole, tally);
        const before = tally.runs;
        damageUnits(whole, judge, random);
        damageTails(whole, other, { judge, stride: stride > 1 ? 8 : 1 });
        const others = tally.runs - before;
        // In the short run every bit of a killed journal, and a third of the others'.
        const isShort = count <= everyBit && ending !== 'killed';
        flipAll(whole, judge, isShort ? Math.max(stride, 3) : stride);
        tally.see('flips', tally.runs - before - others);
        tally.see(
          'bytes',
          [...whole.files.values()].reduce((sum, file) => sum + file.length, 0),
        );
        tally.progress(tally.seen('flips'), count);
      }
    }
  };
  const result = await tally.result(attack, {
    'flip, killed: refused': 0.03,
    'flip, idle: refused': 0.03,
    'flip, closed: refused': 0.03,
    'flip, killed: told when read': 0.02,
    'flip, killed: told by a check': 0.001,
    'truncation, killed: refused': 0.001,
    'flip, killed: the last group is lost': 0.001,
  });
  Error.stackTraceLimit = stackDepth;
  return result;
}

export const flipsCampaign: Campaign = {
  name: 'flips',
  unit: 'damaged journals',
  countShort: 131_072,
  countLong: 2_000_000,
  countPart: 250_000,
  run,
};
