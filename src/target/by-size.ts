// What is too much to be sent, or read, at once.

/** A sum as SQL, in few levels: a server's stack bounds how deep its terms may be nested. */
export function sumOf(terms: readonly string[]): string {
  const [first = '0'] = terms;
  if (terms.length < 2) return first;
  const half = Math.ceil(terms.length / 2);
  return `(${sumOf(terms.slice(0, half))} + ${sumOf(terms.slice(half))})`;
}

/** The items in their order, in parts of up to `max`; one that is larger is a part alone. */
export function* bySize<T>(
  items: readonly T[],
  sizeOf: (item: T) => number,
  max: number,
): Generator<readonly T[]> {
  let part: T[] = [];
  let size = 0;
  for (const item of items) {
    const own = sizeOf(item);
    if (part.length > 0 && size + own > max) {
      yield part;
      part = [];
      size = 0;
    }
    part.push(item);
    size += own;
  }
  if (part.length > 0) yield part;
}
