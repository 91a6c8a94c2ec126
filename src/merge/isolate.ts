// Finds the rows that are refused among many, when a refusal is known only of a whole range. Pure: what
// an attempt does, and undoes, is the caller's.

/**
 * Attempts 0 … count − 1 in ascending, consecutive ranges. `attempt` answers undefined where the
 * range went in, else why it was refused as a whole (it must then have left nothing behind). A
 * refused range is halved; a refused single row goes to `refused`, and the rows behind it go on. After
 * each success the range doubles, so that r refused rows cost at most 2·r·log₂(count) + 2 attempts,
 * and never more than 2·count + log₂(count).
 */
export async function isolate<Refusal>(
  count: number,
  attempt: (first: number, last: number) => Promise<Refusal | undefined>,
  refused: (row: number, refusal: Refusal) => void,
): Promise<void> {
  let size = count;
  for (let first = 0; first < count; ) {
    const last = Math.min(first + size, count) - 1;
    const refusal = await attempt(first, last);
    if (refusal === undefined) {
      first = last + 1;
      size *= 2;
    } else if (last > first) {
      size = (last - first + 1) >> 1;
    } else {
      refused(first, refusal);
      first++;
    }
  }
}
