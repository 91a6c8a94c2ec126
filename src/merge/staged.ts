// The staged route, a loader's part of it: a batch's transaction writes the staging table, and what
// a loader has sent waits there for a merge (merger.ts); whether it is settled is the watch's to
// say (watch.ts).
import type { Table } from '../accept/columns.ts';
import type { StagedStream, Staging } from '../target/staging.ts';
import type { LaneState, MergeResult, Rung, Session } from '../target/target.ts';
import { TargetError } from '../target/target.ts';
import type { Batch } from './batch.ts';
import type { LedgerRow } from './ledger.ts';
import type { LoaderRoute } from './loader.ts';
import type { LoadingEvents, StreamSettings } from './stream.ts';

/** Throws 'hold' where the target has no staged route. */
export function stagingOf(session: Session): Staging {
  if (session.staging) return session.staging;
  throw new TargetError('hold', '', 'This target has no staged route.');
}

export const stagedStream = (settings: StreamSettings, table: Table): StagedStream => ({
  rules: settings.rules,
  table,
  isLogged: settings.staging === 'logged',
});

export class StagedRoute implements LoaderRoute {
  readonly isIdle = true;
  readonly #settings: StreamSettings;
  readonly #events: LoadingEvents;
  readonly #onStaged: (records: number) => void;

  constructor(
    settings: StreamSettings,
    events: LoadingEvents,
    onStaged: (records: number) => void,
  ) {
    this.#settings = settings;
    this.#events = events;
    this.#onStaged = onStaged;
  }

  send(session: Session, batch: Batch, _rung: Rung): Promise<MergeResult> {
    return stagingOf(session).stage(batch, stagedStream(this.#settings, batch.table));
  }

  sent(rows: readonly LedgerRow[]): void {
    this.#events.onStaged(
      this.#settings.id,
      rows.map(({ lane, last }) => ({ lane, last })),
    );
    this.#onStaged(rows.reduce((sum, { rowCount }) => sum + rowCount, 0));
  }

  async moved(_session: Session, lanes: readonly { readonly state: LaneState }[]): Promise<void> {
    this.#events.onStaged(
      this.#settings.id,
      lanes.map(({ state }) => ({ lane: state.lane, last: state.staged })),
    );
  }

  async confirm(): Promise<void> {
    // Nothing is settled here.
  }
}
