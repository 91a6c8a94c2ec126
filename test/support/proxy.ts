// A TCP proxy in front of a server that fails at an exact point: before, in or after the turn of a
// client that it is told to strike. It can also be down: nobody gets through then.
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import process from 'node:process';
import { type Message, newTurns, type Protocol, type Turn } from './turns.ts';

/**
 * - before: the turn never reaches the server; the client is cut off
 * - after: it is delivered; the answer is swallowed and the client cut off
 * - half: it is delivered; the client gets half of the answer's bytes, and then the end
 * - hang: it is delivered; the answer is swallowed and the client left waiting
 * - hold: it and all that follows wait for `release`
 *
 * With the last two the server's side stays open, whatever the client does, as behind a network
 * that is broken.
 */
export type Fault = 'before' | 'after' | 'half' | 'hang' | 'hold';

/** Happens once. */
export interface Strike {
  readonly isHit: boolean;
  readonly hit: Promise<Turn>;
}

interface StrikeOptions {
  /** From then on nobody gets through, until `up`. */
  readonly isLasting?: boolean;
}

export interface FaultProxy {
  readonly port: number;
  /** Hears of each turn that begins. */
  onTurn: (turn: Turn) => void;
  /** Strikes the next turn that is so; in place of an earlier one that has not happened. */
  strike(fault: Fault, isAt: (turn: Turn) => boolean, options?: StrikeOptions): Strike;
  /** Nobody gets through any more; clients that wait in vain go on waiting. */
  down(): void;
  /** Back again; what has not struck by now strikes no more. */
  up(): void;
  /** Delivers what `hold` has kept back. */
  release(): void;
  close(): Promise<void>;
}

interface Armed extends StrikeOptions {
  readonly fault: Fault;
  readonly isAt: (turn: Turn) => boolean;
  readonly happen: (turn: Turn) => void;
}

/**
 * One client and its server. States: open; struck, the turn is on its way to the server and its
 * answer is awaited; silent, nothing comes back any more; held, nothing goes on either.
 */
class Passage {
  readonly #relay: Relay;
  readonly #client: Socket;
  readonly #upstream: Socket;
  #state: 'open' | 'struck' | 'silent' | 'held' = 'open';
  #fault: Fault | undefined;
  #kept: Uint8Array[] = [];

  constructor(
    relay: Relay,
    client: Socket,
    of: { readonly port: number; readonly number: number },
  ) {
    this.#relay = relay;
    this.#client = client;
    this.#upstream = connect(of.port, '127.0.0.1');
    const turns = newTurns(relay.protocol, of.number);
    for (const socket of [client, this.#upstream]) {
      // A reset is what the proxy is for.
      socket.on('error', () => socket.destroy());
    }
    client.on('data', (bytes) => {
      for (const message of turns.take(bytes)) this.#pass(message);
    });
    this.#upstream.on('data', (bytes) => this.#answer(bytes));
    client.on('close', () => {
      if (this.#state === 'open' || this.#state === 'struck') this.#upstream.end();
    });
    this.#upstream.on('close', () => {
      if (this.#state === 'open' || this.#state === 'struck') client.end();
    });
  }

  /** Whether the client waits for what will not come. */
  get isWaiting(): boolean {
    return this.#state === 'silent' || this.#state === 'held';
  }

  get isGone(): boolean {
    return this.#client.destroyed && this.#upstream.destroyed;
  }

  cut(): void {
    this.#client.resetAndDestroy();
    this.#upstream.destroy();
  }

  release(): void {
    for (const bytes of this.#kept) this.#upstream.write(bytes);
    this.#kept = [];
  }

  #pass({ bytes, turn, isFirst, isLast }: Message): void {
    if (this.#client.destroyed) return;
    if (turn && isFirst && this.#state === 'open') {
      this.#fault = this.#relay.begins(turn);
      if (this.#fault === 'before') {
        this.cut();
        return;
      }
      if (this.#fault === 'hold') this.#state = 'held';
    }
    if (this.#state === 'held') this.#kept.push(bytes);
    else this.#upstream.write(bytes);
    // What the server answers from now on is the answer to all of the turn.
    if (isLast && this.#fault && this.#state === 'open') this.#state = 'struck';
  }

  #answer(bytes: Buffer): void {
    if (this.#state === 'open') this.#client.write(bytes);
    if (this.#state !== 'struck') return;
    if (this.#fault === 'hang') this.#state = 'silent';
    else if (this.#fault === 'half') {
      this.#state = 'silent';
      this.#client.end(bytes.subarray(0, bytes.length >> 1));
      this.#upstream.destroy();
    } else this.cut();
    this.#relay.answered();
  }
}

class Relay {
  readonly protocol: Protocol;
  readonly #passages = new Set<Passage>();
  #armed: Armed | undefined;
  #struck: (() => void) | undefined;
  #isDown = false;
  onTurn: (turn: Turn) => void = () => undefined;

  constructor(protocol: Protocol) {
    this.protocol = protocol;
  }

  accept(client: Socket, of: { readonly port: number; readonly number: number }): void {
    if (this.#isDown) {
      client.on('error', () => client.destroy());
      client.resetAndDestroy();
      return;
    }
    for (const passage of this.#passages) if (passage.isGone) this.#passages.delete(passage);
    this.#passages.add(new Passage(this, client, of));
  }

  /** A turn begins; the fault that strikes it, if one does. */
  begins(turn: Turn): Fault | undefined {
    this.onTurn(turn);
    const armed = this.#armed;
    if (!armed?.isAt(turn)) return undefined;
    this.#armed = undefined;
    this.#struck = () => {
      if (armed.isLasting) this.down();
      armed.happen(turn);
    };
    // With these two nothing comes back.
    if (armed.fault === 'before' || armed.fault === 'hold') this.answered();
    return armed.fault;
  }

  /** The struck turn has come to its end at the server. */
  answered(): void {
    const struck = this.#struck;
    this.#struck = undefined;
    struck?.();
  }

  strike(fault: Fault, isAt: (turn: Turn) => boolean, options: StrikeOptions): Strike {
    const hits = new EventEmitter();
    const strike = {
      isHit: false,
      hit: once(hits, 'hit').then(([turn]) => turn as Turn),
    };
    const happen = (turn: Turn): void => {
      strike.isHit = true;
      hits.emit('hit', turn);
    };
    this.#armed = { fault, isAt, happen, ...options };
    return strike;
  }

  down(): void {
    this.#isDown = true;
    for (const passage of this.#passages) if (!passage.isWaiting) passage.cut();
  }

  up(): void {
    this.#isDown = false;
    // What came too late for its fault would take the server down again, for good.
    this.#armed = undefined;
  }

  each(use: (passage: Passage) => void): void {
    for (const passage of this.#passages) use(passage);
  }
}

let leavesAtExit = false;

/**
 * Node 24 may not end by itself where a socket was reset in the middle of a write: it goes on
 * looking whether the write has ended (Environment::CleanupHandles). This ends it before that,
 * behind whoever listened for the end already.
 */
function leaveAtExit(): void {
  if (leavesAtExit) return;
  leavesAtExit = true;
  process.once('exit', () => process.exit());
}

export async function startProxy(serverPort: number, protocol: Protocol): Promise<FaultProxy> {
  leaveAtExit();
  const relay = new Relay(protocol);
  let accepted = 0;
  const server = createServer((client) => {
    accepted++;
    relay.accept(client, { port: serverPort, number: accepted });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(address !== null && typeof address === 'object', 'a TCP server has a port');
  return {
    port: address.port,
    get onTurn() {
      return relay.onTurn;
    },
    set onTurn(hear) {
      relay.onTurn = hear;
    },
    strike: (fault, isAt, options = {}) => relay.strike(fault, isAt, options),
    down: () => relay.down(),
    up: () => relay.up(),
    release: () => relay.each((passage) => passage.release()),
    close: async () => {
      server.close();
      relay.each((passage) => passage.cut());
      if (server.listening) await once(server, 'close');
    },
  };
}
