// Waiting for what a running Holdfast will say. Without a bound of its own: the test's timeout
// ends it.
import { setTimeout as pause } from 'node:timers/promises';
import type { Holdfast, StreamStatus } from '../../src/types.ts';

export async function streamOf(holdfast: Holdfast, stream: string): Promise<StreamStatus> {
  const { state, streams } = await holdfast.status();
  if (state === 'closed') throw new Error('it was closed meanwhile');
  const found = streams[stream];
  if (!found) throw new Error(`there is no stream ${stream}`);
  return found;
}

/** Polls until the stream is as asked; resolves with how it is then. */
export async function streamWhere(
  holdfast: Holdfast,
  stream: string,
  isSo: (status: StreamStatus) => boolean,
): Promise<StreamStatus> {
  for (;;) {
    const status = await streamOf(holdfast, stream);
    if (isSo(status)) return status;
    await pause(10);
  }
}

/** Waits until the stream is held; resolves with the reason it gives. */
export async function reasonOfHold(holdfast: Holdfast, stream: string): Promise<string> {
  const { reason = '' } = await streamWhere(holdfast, stream, ({ state }) => state === 'held');
  return reason;
}
