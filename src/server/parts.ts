// What every route of one server shares.
import type { BodyBounds } from './body.ts';
import type { Served } from './served.ts';

export interface Parts {
  readonly holdfast: Served;
  readonly bodies: BodyBounds;
  /** Aborts when the server begins to close: loads stop at once, they can be resumed. */
  readonly closing: AbortSignal;
  /** Aborts when those in hand have waited long enough. */
  readonly closed: AbortSignal;
  /** Answers by route and status, as `route status`. */
  readonly answers: Map<string, number>;
}
