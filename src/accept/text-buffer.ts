// Bytes of text in the making: numbers, times and escaped texts, written without an object for any
// of them. Who writes has reserved the room before; nothing else here checks it.

const zero = 0x30;

/** The four digits of 0 to 9999, as they stand in memory. */
const fourDigits = Uint32Array.from({ length: 10_000 }, (_, i) =>
  Buffer.from(String(i).padStart(4, '0')).readUInt32BE(),
);

const dateBytes = 10;
/** A power of two: the times of a batch lie within so many days. */
const daysKept = 256;
const hexDigits = Buffer.from('0123456789ABCDEF');

export class TextBuffer {
  bytes: Buffer;
  at = 0;
  #view: DataView;
  /** Days written before, and how. */
  readonly #days = new Float64Array(daysKept).fill(Number.NaN);
  readonly #dates = new Uint8Array(daysKept * dateBytes);

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Hands over what was written, and begins anew with at least `size` bytes. */
  take(size: number): Buffer {
    const taken = this.bytes.subarray(0, this.at);
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.#view = new DataView(this.bytes.buffer);
    this.at = 0;
    return taken;
  }

  /** Makes room for `more` bytes. May replace `bytes`. */
  reserve(more: number): void {
    if (this.at + more <= this.bytes.length) return;
    const before = this.take(Math.max(2 * this.bytes.length, this.at + more));
    before.copy(this.bytes);
    this.at = before.length;
  }

  byte(value: number): void {
    this.bytes[this.at++] = value;
  }

  /** ASCII. */
  ascii(text: string): void {
    for (let i = 0; i < text.length; i++) this.bytes[this.at++] = text.charCodeAt(i);
  }

  /** Any text; makes room for itself. */
  utf8(text: string): void {
    this.reserve(3 * text.length);
    this.at += this.bytes.write(text, this.at);
  }

  copy(from: Uint8Array, start = 0, end = from.length): void {
    const { bytes, at } = this;
    if (end - start > 32) bytes.set(from.subarray(start, end), at);
    else for (let i = start; i < end; i++) bytes[at + i - start] = from[i] ?? 0;
    this.at = at + end - start;
  }

  four(value: number): void {
    this.#view.setUint32(this.at, fourDigits[value] ?? 0);
    this.at += 4;
  }

  /** A whole number from 0 to 2^53. */
  whole(value: number): void {
    if (value >= 1e8) {
      const high = Math.floor(value / 1e8);
      const low = value - high * 1e8;
      this.whole(high);
      const upper = (low / 1e4) | 0;
      this.four(upper);
      this.four(low - upper * 1e4);
    } else if (value >= 1e4) {
      const upper = (value / 1e4) | 0;
      this.short(upper);
      this.four(value - upper * 1e4);
    } else this.short(value);
  }

  /** 0 to 9999, without zeros in front. */
  short(value: number): void {
    if (value >= 1000) {
      this.four(value);
      return;
    }
    const { bytes } = this;
    if (value >= 100) bytes[this.at++] = zero + ((value / 100) | 0);
    if (value >= 10) bytes[this.at++] = zero + (((value / 10) | 0) % 10);
    bytes[this.at++] = zero + (value % 10);
  }

  two(value: number): void {
    const tens = (value / 10) | 0;
    this.bytes[this.at++] = zero + tens;
    this.bytes[this.at++] = zero + value - tens * 10;
  }

  /** YYYY-MM-DD, by `textOf` where the day was not written before. */
  date(day: number, textOf: (day: number) => string): void {
    const dates = this.#dates;
    const place = day & (daysKept - 1);
    const from = place * dateBytes;
    if (this.#days[place] !== day) {
      const text = textOf(day);
      for (let i = 0; i < dateBytes; i++) dates[from + i] = text.charCodeAt(i);
      this.#days[place] = day;
    }
    const { bytes, at } = this;
    for (let i = 0; i < dateBytes; i++) bytes[at + i] = dates[from + i] ?? 0;
    this.at = at + dateBytes;
  }

  /** HH:MM:SS and, where it is not zero, .ffffff; `micros` since midnight. */
  time(micros: number): void {
    const seconds = Math.floor(micros / 1_000_000);
    const fraction = micros - seconds * 1_000_000;
    const minutes = (seconds / 60) | 0;
    const hours = (minutes / 60) | 0;
    this.two(hours);
    this.byte(0x3a);
    this.two(minutes - hours * 60);
    this.byte(0x3a);
    this.two(seconds - minutes * 60);
    if (fraction === 0) return;
    this.byte(0x2e);
    const high = (fraction / 1e4) | 0;
    this.two(high);
    this.four(fraction - high * 1e4);
  }

  /** `from[start..end)`; where `escapes` has a byte for one, a backslash and that byte. */
  escaped(
    from: Uint8Array,
    range: { readonly start: number; readonly end: number },
    escapes: Uint8Array,
  ): void {
    const { bytes } = this;
    let { at } = this;
    const { start, end } = range;
    for (let i = start; i < end; i++) {
      const byte = from[i] ?? 0;
      // Of these only the backslash is ever escaped.
      if (byte > 0x27 && byte !== 0x5c) {
        bytes[at++] = byte;
        continue;
      }
      const behind = escapes[byte] ?? 0;
      if (behind !== 0) {
        bytes[at++] = 0x5c;
        bytes[at++] = behind;
      } else bytes[at++] = byte;
    }
    this.at = at;
  }

  hex(from: Uint8Array, start: number, end: number): void {
    for (let i = start; i < end; i++) {
      const byte = from[i] ?? 0;
      this.byte(hexDigits[byte >> 4] ?? 0);
      this.byte(hexDigits[byte & 15] ?? 0);
    }
  }
}
