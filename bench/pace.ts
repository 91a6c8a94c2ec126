// A load at a paced rate: each body is due at a time of its own, whatever became of those before,
// and is timed from then. A sender that is busy makes the next body late, and that lateness counts
// (no coordinated omission).
import { type Beat, beat, monotonicMs } from './metronome.ts';

/** Sends the body of that number; resolves when it is answered. */
export type Sender = (body: number) => Promise<unknown>;

/** How long before the first body is due: the metronome's thread starts meanwhile. */
const leadMs = 200;

/**
 * Milliseconds from when each body was due until it was answered. `onDue` hears of each when it is
 * due. Rejects with the first failure.
 */
export async function pace(
  senders: readonly Sender[],
  of: Omit<Beat, 'from'>,
  onDue: (body: number, dueMs: number) => void = () => undefined,
): Promise<Float64Array> {
  const from = monotonicMs() + leadMs;
  const dueMs = (body: number): number => from + body * of.everyMs;
  const answeredMs = new Float64Array(of.ticks);
  const idle = [...senders];
  const late: number[] = [];
  let failed: (error: unknown) => void = () => undefined;
  let done: () => void = () => undefined;
  let answered = 0;
  const all = new Promise<void>((resolve, reject) => {
    failed = reject;
    done = resolve;
  });
  const run = async (sender: Sender, first: number): Promise<void> => {
    for (let body: number | undefined = first; body !== undefined; body = late.shift()) {
      await sender(body);
      answeredMs[body] = monotonicMs() - dueMs(body);
      answered++;
    }
    idle.push(sender);
    if (answered === of.ticks) done();
  };
  const ticked = beat({ from, ...of }, (body) => {
    onDue(body, dueMs(body));
    const sender = idle.pop();
    if (sender) run(sender, body).catch(failed);
    else late.push(body);
  });
  await Promise.all([ticked, all]);
  return answeredMs;
}
