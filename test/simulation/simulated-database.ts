// A database file of the simulated disk: what was committed is durable at once, and images of a
// disk share it until one of them opens it.
import { DatabaseSync } from 'node:sqlite';

let databasesMade = 0;

/** A named database in memory: it lives as long as its first connection. */
export class SimulatedDatabase {
  readonly #uri = `file:holdfast-simulated-${++databasesMade}?mode=memory&cache=shared`;
  readonly #anchor = new DatabaseSync(this.#uri);
  /** The disks that have it. */
  #holders = 1;

  connect(): DatabaseSync {
    return new DatabaseSync(this.#uri);
  }

  close(): void {
    this.#holders--;
    if (this.#holders === 0) this.#anchor.close();
  }

  /** For an image of a disk: a copy is made by whoever opens it while others have it, too. */
  shared(): SimulatedDatabase {
    this.#holders++;
    return this;
  }

  own(): SimulatedDatabase {
    if (this.#holders === 1) return this;
    const copy = new SimulatedDatabase();
    this.#anchor.exec(`VACUUM INTO '${copy.#uri}'`);
    this.close();
    return copy;
  }
}
