// What bench peers compares: ways of people to bring rows into `payments`, each behind the same few
// calls. Whoever hands rows over lives in the bench's process; what brings them into the table (the
// mover) lives in one of its own, so that it can be killed.
import type { Acknowledges } from '../figures.ts';
import type { Ground } from '../ground.ts';

/** Rows numbered from `first` on, handed over and acknowledged at once. */
export interface Unit {
  readonly first: number;
  readonly rows: number;
}

export interface Place {
  readonly ground: Ground;
  /** Of the database that has the table `payments`. */
  readonly url: string;
  /** 'kills': `payments` has no key, and `crash` will be called. 'rates': it has its primary key. */
  readonly run: 'rates' | 'kills';
}

export interface OpenPeer {
  /** Resolves when the rows are acknowledged; where it rejects they may be there or not. */
  submit(unit: Unit): Promise<void>;
  /** Throws where the mover has ended by itself; of what is no Node.js of ours. */
  check?(): void;
  /** SIGKILL to the mover; resolves when it is gone. */
  crash(): Promise<void>;
  /** Starts another one in the place of the one that is gone. */
  restart(): Promise<void>;
  /** Jobs that its queue still holds, where it has one of which a job may come again. */
  waiting?(): Promise<number>;
  close(): Promise<void>;
}

export interface Peer {
  /** Of its figure. */
  readonly name: string;
  readonly acknowledges: Acknowledges;
  /** Rows of one submission. */
  readonly unitRows: number;
  /** Submissions under way at once. */
  readonly inFlight: number;
  /** Of a run: so many that it lasts some seconds. */
  readonly rows: number;
  /** Fetches what it needs; answers with why it cannot be had here. */
  lack?(): Promise<string | undefined>;
  open(place: Place): Promise<OpenPeer>;
}
