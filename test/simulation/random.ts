// Random numbers from a seed of 64 bits: the same seed, the same run.

/** The finishing steps of splitmix64: neighbouring seeds give unlike numbers. */
function mix(value: bigint): bigint {
  let z = BigInt.asUintN(64, value + 0x9e3779b97f4a7c15n);
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

export class Random {
  readonly #seed: bigint;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number | bigint) {
    this.#seed = BigInt.asUintN(64, BigInt(seed));
    const first = mix(this.#seed);
    const second = mix(first);
    this.#a = Number(first & 0xffffffffn) | 0;
    this.#b = Number(first >> 32n) | 0;
    this.#c = Number(second & 0xffffffffn) | 0;
    for (let rounds = 0; rounds < 12; rounds++) this.next32();
  }

  /** Numbers of its own for a part, so that a draw more in one part does not change the others. */
  fork(part: number): Random {
    return new Random(mix(this.#seed ^ mix(BigInt(part))));
  }

  /** 32 random bits, unsigned (sfc32). */
  next32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    return this.next32() / 4_294_967_296;
  }

  /** In [0, bound). */
  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  /** In [from, to]. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(of: readonly T[]): T {
    const one = of[this.below(of.length)];
    if (one === undefined) throw new Error('nothing to pick from');
    return one;
  }
}
