// JSON from bytes, RFC 8259 to the letter: finds where values begin and end, without building them
// and without recursion, so that no depth of nesting can exhaust the stack. Expects valid UTF-8.
import { limits } from '../limits.ts';
import { type CellKind, cellKind, type Problem } from './cell.ts';

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openObject = 0x7b;
const closeObject = 0x7d;
const openArray = 0x5b;
const closeArray = 0x5d;

const literals = {
  true: Buffer.from('true'),
  false: Buffer.from('false'),
  null: Buffer.from('null'),
} as const;

function hex4(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 4; i++) {
    const byte = bytes[i] ?? 0;
    const letter = (byte | 0x20) - 0x61;
    let digit = byte - 0x30;
    if (digit < 0 || digit > 9) digit = letter >= 0 && letter < 6 ? letter + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit < 0xe000;

/** Reads the values of one text, left to right. A method that returns false has set `problem`. */
export class JsonScanner {
  bytes: Uint8Array = new Uint8Array(0);
  /** The next byte to read. */
  at = 0;
  end = 0;
  /** The value last read: its bytes as they stand, strings with their quotes. */
  valueStart = 0;
  valueEnd = 0;
  kind: CellKind = cellKind.null;
  /** Whether the string last read holds escapes. */
  isEscaped = false;
  problem: Problem | null = null;
  /** Whether `problem` is that the text ends too early. */
  isCut = false;
  /** Per level of nesting: whether it is an object. */
  readonly #levels = new Uint8Array(limits.jsonDepthMax);

  begin(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.problem = null;
    this.isCut = false;
  }

  fail(message: string, at = this.at): false {
    this.isCut = at >= this.end;
    this.problem = { code: 'bad-json', message, at };
    return false;
  }

  /** The next byte; -1 at the end. */
  peek(): number {
    return this.at < this.end ? (this.bytes[this.at] ?? -1) : -1;
  }

  space(): void {
    for (; this.at < this.end; this.at++) {
      const byte = this.bytes[this.at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
    }
  }

  /** Exactly one value, with space around it. */
  document(): boolean {
    this.space();
    if (!this.value()) return false;
    this.space();
    return this.at === this.end || this.fail('expected the end behind the value');
  }

  /** A string; `valueStart` and `valueEnd` enclose it with its quotes. */
  string(): boolean {
    const start = this.at;
    if (this.peek() !== quote) return this.fail('expected a string');
    this.isEscaped = false;
    const { bytes, end } = this;
    let at = start + 1;
    for (; at < end; at++) {
      const byte = bytes[at] ?? 0;
      if (byte === quote) {
        this.at = at + 1;
        this.valueStart = start;
        this.valueEnd = this.at;
        this.kind = cellKind.text;
        return true;
      }
      if (byte < 0x20) return this.fail('a control character in a string', at);
      if (byte !== backslash) continue;
      this.isEscaped = true;
      const length = this.#escape(at);
      if (length === 0) return false;
      at += length - 1;
    }
    return this.fail('the string does not end', at);
  }

  /**
   * Length of the escape at `at`; 0 where it is none. A surrogate must come with its other half.
   */
  #escape(at: number): number {
    const next = at + 1 < this.end ? (this.bytes[at + 1] ?? 0) : 0;
    if ('"\\/bfnrt'.includes(String.fromCharCode(next))) return 2;
    const unit = next === 0x75 ? this.#unit(at) : -1;
    if (unit >= 0 && !isHigh(unit) && !isLow(unit)) return 6;
    if (isHigh(unit) && this.bytes[at + 6] === backslash && this.bytes[at + 7] === 0x75) {
      if (isLow(this.#unit(at + 6))) return 12;
    }
    const closing = this.bytes.indexOf(quote, at + 2);
    const isOpen = closing < 0 || closing >= this.end;
    this.fail('an escape that is none, or half a surrogate pair', isOpen ? this.end : at);
    return 0;
  }

  /** The UTF-16 unit of the escape \\uXXXX at `at`; -1 where it is none. */
  #unit(at: number): number {
    return at + 6 <= this.end ? hex4(this.bytes, at + 2) : -1;
  }

  /** Any value, nested ones whole. */
  value(): boolean {
    const byte = this.peek();
    if (byte !== openObject && byte !== openArray) return this.#scalar();
    const start = this.at;
    if (!this.#nested()) return false;
    this.valueStart = start;
    this.valueEnd = this.at;
    this.kind = cellKind.json;
    return true;
  }

  #scalar(): boolean {
    switch (this.peek()) {
      case quote:
        return this.string();
      case 0x74:
        return this.#literal(literals.true, cellKind.bool);
      case 0x66:
        return this.#literal(literals.false, cellKind.bool);
      case 0x6e:
        return this.#literal(literals.null, cellKind.null);
      default:
        return this.#number();
    }
  }

  #literal(literal: Uint8Array, kind: CellKind): boolean {
    this.valueStart = this.at;
    for (const byte of literal) {
      if (this.peek() !== byte) return this.fail('expected a value');
      this.at++;
    }
    this.valueEnd = this.at;
    this.kind = kind;
    return true;
  }

  #digits(): number {
    const start = this.at;
    while (this.at < this.end) {
      const byte = this.bytes[this.at] ?? 0;
      if (byte < 0x30 || byte > 0x39) break;
      this.at++;
    }
    return this.at - start;
  }

  #number(): boolean {
    const start = this.at;
    if (this.peek() === 0x2d) this.at++;
    const first = this.peek();
    const integers = this.#digits();
    if (integers === 0) return this.fail('expected a value');
    if (integers > 1 && first === 0x30) return this.fail('a number with a leading zero', start);
    if (this.peek() === 0x2e) {
      this.at++;
      if (this.#digits() === 0) return this.fail('expected a digit');
    }
    if ((this.peek() | 0x20) === 0x65) {
      this.at++;
      if (this.peek() === 0x2b || this.peek() === 0x2d) this.at++;
      if (this.#digits() === 0) return this.fail('expected a digit');
    }
    this.valueStart = start;
    this.valueEnd = this.at;
    this.kind = cellKind.number;
    return true;
  }

  /** A name and its colon, up to where the value begins. */
  name(): boolean {
    if (!this.string()) return false;
    this.space();
    if (this.peek() !== colon) return this.fail('expected a colon');
    this.at++;
    this.space();
    return true;
  }

  /** An object or array, from its first byte to behind its last. */
  #nested(): boolean {
    let depth = 0;
    for (;;) {
      // Here a value begins.
      const byte = this.peek();
      if (byte === openObject || byte === openArray) {
        if (depth === limits.jsonDepthMax) return this.#tooDeep();
        this.#levels[depth++] = byte === openObject ? 1 : 0;
        this.at++;
        this.space();
        if (this.peek() !== (byte === openObject ? closeObject : closeArray)) {
          if (byte === openObject && !this.name()) return false;
          continue;
        }
      } else if (!this.#scalar()) return false;
      // Here a value has ended, or a level closes.
      for (;;) {
        const isObject = this.#levels[depth - 1] === 1;
        this.space();
        const next = this.peek();
        if (next === comma) {
          this.at++;
          this.space();
          if (isObject && !this.name()) return false;
          break;
        }
        if (next !== (isObject ? closeObject : closeArray)) {
          return this.fail('expected a comma or the end of the object or array');
        }
        this.at++;
        depth--;
        if (depth === 0) return true;
      }
    }
  }

  #tooDeep(): false {
    this.problem = {
      code: 'too-deep',
      message: `JSON is nested deeper than ${limits.jsonDepthMax}`,
      at: this.at,
    };
    return false;
  }
}

const simpleEscapes = new Map([
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
]);

/** The UTF-8 of a scanned string's inside, its escapes resolved. */
export function unescaped(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const out = new Uint8Array(end - start);
  let length = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte !== backslash) {
      out[length++] = byte;
      continue;
    }
    const letter = bytes[++at] ?? 0;
    if (letter !== 0x75) {
      out[length++] = simpleEscapes.get(letter) ?? letter;
      continue;
    }
    let point = hex4(bytes, at + 1);
    at += 4;
    if (isHigh(point)) {
      point = 0x10000 + ((point - 0xd800) << 10) + hex4(bytes, at + 3) - 0xdc00;
      at += 6;
    }
    length = writePoint(out, length, point);
  }
  return out.subarray(0, length);
}

function writePoint(out: Uint8Array, at: number, point: number): number {
  let to = at;
  if (point < 0x80) out[to++] = point;
  else if (point < 0x800) {
    out[to++] = 0xc0 | (point >> 6);
    out[to++] = 0x80 | (point & 0x3f);
  } else if (point < 0x10000) {
    out[to++] = 0xe0 | (point >> 12);
    out[to++] = 0x80 | ((point >> 6) & 0x3f);
    out[to++] = 0x80 | (point & 0x3f);
  } else {
    out[to++] = 0xf0 | (point >> 18);
    out[to++] = 0x80 | ((point >> 12) & 0x3f);
    out[to++] = 0x80 | ((point >> 6) & 0x3f);
    out[to++] = 0x80 | (point & 0x3f);
  }
  return to;
}
