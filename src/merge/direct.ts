// The direct route: a batch's transaction writes the table, so what a loader has sent is settled.
import type { Confirming } from '../confirm.ts';
import { checkRequired } from '../target/required.ts';
import type { LaneState, MergeResult, Rung, Session, StreamId } from '../target/target.ts';
import type { Batch } from './batch.ts';
import type { LedgerRow } from './ledger.ts';
import type { Commit, LoaderRoute } from './loader.ts';
import { bare, type LoadingEvents, type StreamSettings } from './stream.ts';

export interface DirectParts {
  readonly stream: StreamId;
  readonly settings: StreamSettings;
  readonly events: LoadingEvents;
  readonly confirming: Confirming;
}

export class DirectRoute implements LoaderRoute {
  readonly #parts: DirectParts;

  constructor(parts: DirectParts) {
    this.#parts = parts;
  }

  get isIdle(): boolean {
    return this.#parts.confirming.isIdle;
  }

  async send(session: Session, batch: Batch, rung: Rung): Promise<MergeResult> {
    const { table, journaled, columnSets } = batch;
    for (const set of columnSets) {
      checkRequired(
        table,
        set.flatMap((place) => journaled.columns[place]?.name ?? []),
      );
    }
    return session.merge(batch, rung);
  }

  sent(rows: readonly LedgerRow[], commit: Commit): void {
    const { events, settings } = this.#parts;
    events.onSettled(settings.id, rows.map(bare));
    this.#committed(rows, commit);
  }

  async moved(
    session: Session,
    lanes: readonly { readonly state: LaneState; readonly from: number }[],
  ): Promise<void> {
    const { events, settings, confirming, stream } = this.#parts;
    const back = lanes.filter(({ state, from }) => state.settled < from);
    if (back.length > 0) {
      confirming.rewind(back.map(({ state: { lane, settled } }) => ({ lane, last: settled })));
    }
    for (const { state, from } of lanes) {
      const first = from + 1;
      if (state.settled < first) continue;
      const range = { lane: state.lane, first, last: state.settled };
      events.onSettled(settings.id, (await session.ledger(stream, range)).map(bare));
    }
    events.onLanes(
      settings.id,
      lanes.map(({ state }) => state),
    );
    const ahead = lanes.map(({ state: { lane, settled } }) => ({ lane, last: settled }));
    this.#committed(ahead, { position: '', identity: session.identity });
  }

  async confirm(session: Session): Promise<void> {
    const { confirming, settings, events, stream } = this.#parts;
    const lanes = await confirming.poll(session, stream);
    if (lanes.length > 0) events.onConfirmed(settings.id, lanes);
  }

  #committed(lanes: readonly { readonly lane: number; readonly last: number }[], commit: Commit) {
    const { confirming, settings, events } = this.#parts;
    const ends = lanes.map(({ lane, last }) => ({ lane, last }));
    const confirmed = confirming.add(ends, commit);
    if (confirmed.length > 0) events.onConfirmed(settings.id, confirmed);
  }
}
