// A thread and its parent, as each has the other: what is used here of a Worker and of parentPort.
// So a simulator can put one in their place.
import type { Message, Port } from './calls.ts';

type OnMessages = (messages: readonly Message[]) => void;

/** A thread, as its parent has it. */
export interface Thread extends Port {
  on(event: 'message', listener: OnMessages): unknown;
  /** Of what it died; `exit` follows. */
  on(event: 'error', listener: (error: unknown) => void): unknown;
  on(event: 'exit', listener: (code: number) => void): unknown;
  terminate(): Promise<unknown>;
}

/** Its parent, as a thread has it. */
export interface ParentPort extends Port {
  on(event: 'message', listener: OnMessages): unknown;
  /** Hears no more: a thread that waits for nothing else ends. */
  close(): void;
}
