// What a client says to its server, cut into turns: all that it sends until it waits for an answer.
// PostgreSQL: messages of a type, a length and a body, after a first one without a type; a turn
// ends with a simple query, a Sync, or the end of a COPY's rows. MySQL: packets of a length, a
// number and a body; a command is number 0, and the rows of a LOAD DATA LOCAL are packets that end
// with an empty one.

export interface Turn {
  /** Which of the proxy's connections. */
  readonly connection: number;
  /** The statements; of the rows of a COPY or a LOAD those that asked for them. */
  readonly text: string;
  readonly isRows: boolean;
}

/** A message, whole as it was sent. */
export interface Message {
  readonly bytes: Buffer;
  /** The turn that it belongs to; undefined before the first command. */
  readonly turn: Turn | undefined;
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

export type Protocol = 'postgres' | 'mysql';

/** One client's stream of bytes. */
export interface Turns {
  /** The messages that have become whole. */
  take(bytes: Uint8Array): Message[];
}

export const newTurns = (protocol: Protocol, connection: number): Turns =>
  protocol === 'postgres' ? new PostgresTurns(connection) : new MysqlTurns(connection);

abstract class Cut implements Turns {
  readonly #connection: number;
  #rest: Buffer = Buffer.alloc(0);
  #turn: Turn | undefined;
  /** The statements of the turn before this one. */
  #asked = '';

  constructor(connection: number) {
    this.#connection = connection;
  }

  /** The length of the message at the beginning of these bytes; undefined where more are needed. */
  protected abstract length(bytes: Buffer): number | undefined;
  /** What a message begins or goes on with; undefined before the first command. */
  protected abstract read(message: Buffer): Part | undefined;

  take(bytes: Uint8Array): Message[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const messages: Message[] = [];
    for (;;) {
      const length = this.length(this.#rest);
      if (length === undefined || length > this.#rest.length) return messages;
      messages.push(this.#message(this.#rest.subarray(0, length)));
      this.#rest = this.#rest.subarray(length);
    }
  }

  #message(bytes: Buffer): Message {
    const part = this.read(bytes);
    if (!part) return { bytes, turn: undefined, isFirst: false, isLast: false };
    const isFirst = this.#turn === undefined;
    const { isRows, isLast } = part;
    if (!isRows && isFirst) this.#asked = part.text;
    this.#turn ??= { connection: this.#connection, text: this.#asked, isRows };
    const turn = this.#turn;
    if (isLast) this.#turn = undefined;
    return { bytes, turn, isFirst, isLast };
  }
}

interface Part {
  readonly text: string;
  readonly isRows: boolean;
  readonly isLast: boolean;
}

const textUpToNul = (bytes: Buffer, from: number): string =>
  bytes.toString('utf8', from, bytes.indexOf(0, from));

class PostgresTurns extends Cut {
  #isStarted = false;
  /** Texts of prepared statements by their names. */
  readonly #prepared = new Map<string, string>();

  protected length(bytes: Buffer): number | undefined {
    if (!this.#isStarted) return bytes.length < 4 ? undefined : bytes.readUInt32BE(0);
    return bytes.length < 5 ? undefined : 1 + bytes.readUInt32BE(1);
  }

  protected read(message: Buffer): Part | undefined {
    if (!this.#isStarted) {
      // A cancellation or a wish for TLS would come first; these clients send neither.
      this.#isStarted = true;
      return undefined;
    }
    const type = String.fromCharCode(message[0] ?? 0);
    const text = this.#text(type, message);
    if (type === 'p' || type === 'X') return undefined;
    return { text, isRows: 'dcf'.includes(type), isLast: 'QScf'.includes(type) };
  }

  #text(type: string, message: Buffer): string {
    if (type === 'Q') return textUpToNul(message, 5);
    if (type !== 'P' && type !== 'B') return '';
    const name = textUpToNul(message, 5);
    const after = 5 + Buffer.byteLength(name) + 1;
    if (type === 'P') this.#prepared.set(name, textUpToNul(message, after));
    // Of a Bind the first name is its portal's.
    const statement = type === 'B' ? textUpToNul(message, after) : name;
    return this.#prepared.get(statement) ?? '';
  }
}

const comQuery = 3;

class MysqlTurns extends Cut {
  #isStarted = false;

  protected length(bytes: Buffer): number | undefined {
    return bytes.length < 4 ? undefined : 4 + bytes.readUIntLE(0, 3);
  }

  protected read(message: Buffer): Part | undefined {
    const isCommand = message[3] === 0;
    this.#isStarted ||= isCommand;
    if (!this.#isStarted) return undefined;
    if (!isCommand) return { text: '', isRows: true, isLast: message.length === 4 };
    const text = message[4] === comQuery ? message.toString('utf8', 5) : '';
    return { text, isRows: false, isLast: true };
  }
}
