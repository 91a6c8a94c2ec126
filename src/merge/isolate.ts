// Finds the rows that are refused among many, when a refusal is known only of a whole range. Pure:
// what an attempt does, and undoes, is the caller's.

/**
 * Attempts 0 … count − 1 in ascending, consecutive ranges. `attempt` answers undefined where the
 * range went in, else why it was refused as a whole (it must then have left nothing behind). A
 * refused range is searched by halves for its first refused row, which goes to `refused` when it
 * was attempted alone; behind it ranges grow again from one row. So r refused rows cost at most (r
 * + 1) · (2 · log₂(count) + 2) attempts, and never more than 2 · count.
 */
export async function isolate<Refusal>(
  count: number,
  attempt: (first: number, last: number) => Promise<Refusal | undefined>,
  refused: (row: number, refusal: Refusal) => void,
): Promise<void> {
  let size = count;
  // The last row of a range that was refused: what is left of it need not be attempted whole.
  let searched = -1;
  for (let first = 0; first < count; ) {
    const last = Math.min(first + size, count) - 1;
    const refusal = await attempt(first, last);
    if (refusal === undefined) {
      first = last + 1;
      size = first <= searched ? half(first, searched) : size * 2;
    } else if (last > first) {
      searched = last;
      size = half(first, last);
    } else {
      refused(first, refusal);
      searched = -1;
      first++;
      size = 1;
    }
  }
}

const half = (first: number, last: number): number => (last - first + 2) >> 1;
