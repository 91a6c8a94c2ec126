// A dead letter on its way into the table of dead letters of a server.

export interface Letter {
  readonly writer: string;
  readonly lane: number;
  readonly sequence: number;
  /** The row as JSON; null where it never decoded. */
  readonly row: string | null;
  /** The bytes as given; null where `row` says it all. */
  readonly raw: Uint8Array | null;
  readonly code: string;
  readonly sqlState: string | null;
  readonly message: string;
}

/** Made as they are taken, once: the text of all of them may be gigabytes. */
export type Letters = Iterable<Letter> | AsyncIterable<Letter>;
