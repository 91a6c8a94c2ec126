// What is too much to be sent, or read, at once.

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
