// Who keeps a connection when there are too many: whoever has shown a right to be here. At the
// bound a new connection takes the place of the oldest from which no request was let in; where
// there is none, of the one that has been idle longest; else it is refused. So connections that
// cost nothing to open cannot lock out those who have a token.
//
// States: a connection begins as a stranger, is busy while a request of it that was let in is in
// hand, and idle after that. Only the busy ones are safe.
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** The same for a connection and for the TLS that runs over it. */
const nameOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

export class Places {
  readonly #max: number;
  readonly #open = new Map<string, Socket>();
  // In the order in which they came to be so.
  readonly #strangers = new Set<string>();
  readonly #idle = new Set<string>();

  constructor(server: Server, max: number) {
    this.#max = max;
    server.on('connection', (socket: Socket) => this.#take(socket));
  }

  /** To be called when a request has been let in, with its answer that is still to be given. */
  letIn(socket: Socket, answer: ServerResponse): void {
    const name = nameOf(socket);
    this.#strangers.delete(name);
    this.#idle.delete(name);
    answer.once('close', () => {
      if (this.#open.has(name)) this.#idle.add(name);
    });
  }

  /** Ends all, those too that have come no further than the beginning of a TLS handshake. */
  endAll(): void {
    for (const socket of this.#open.values()) socket.destroy();
  }

  #take(socket: Socket): void {
    if (this.#open.size >= this.#max && !this.#makeRoom()) {
      socket.destroy();
      return;
    }
    const name = nameOf(socket);
    this.#open.set(name, socket);
    this.#strangers.add(name);
    socket.once('close', () => {
      if (this.#open.get(name) === socket) this.#forget(name);
    });
  }

  #makeRoom(): boolean {
    const [name] = this.#strangers.size > 0 ? this.#strangers : this.#idle;
    if (name === undefined) return false;
    this.#open.get(name)?.destroy();
    this.#forget(name);
    return true;
  }

  #forget(name: string): void {
    this.#open.delete(name);
    this.#strangers.delete(name);
    this.#idle.delete(name);
  }
}
