// Tells of what was synced, once for all that one turn of the event loop synced, and after whoever
// waited for it has gone on.
import type { Clock } from '../clock.ts';
import type { Position } from './block.ts';
import type { JournalEvents } from './options.ts';

export class Telling {
  readonly #clock: Clock;
  readonly #end: () => Position;
  #isDue = false;
  #streams = new Set<number>();
  onSynced: JournalEvents['onSynced'] = () => undefined;

  /** `end`: up to where the journal is durable. */
  constructor(clock: Clock, end: () => Position) {
    this.#clock = clock;
    this.#end = end;
  }

  add(streams: Iterable<number>): void {
    for (const stream of streams) this.#streams.add(stream);
    if (this.#isDue) return;
    this.#isDue = true;
    this.#clock.soon(() => {
      this.#isDue = false;
      const streams = this.#streams;
      this.#streams = new Set();
      this.onSynced(streams, this.#end());
    });
  }
}
