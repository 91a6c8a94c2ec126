// The names in one directory of the simulated disk: as a process sees them, and as they are on the
// platter; between the two, the changes since the last sync of the directory, in order.
import type { SimulatedFile } from './simulated-file.ts';

export type NameChange =
  | { readonly kind: 'link'; readonly name: string; readonly file: SimulatedFile }
  | { readonly kind: 'unlink'; readonly name: string }
  | {
      readonly kind: 'rename';
      readonly from: string;
      readonly to: string;
      readonly file: SimulatedFile;
    };

export class Directory {
  readonly names = new Map<string, SimulatedFile>();
  readonly durable = new Map<string, SimulatedFile>();
  readonly pending: NameChange[] = [];

  change(change: NameChange): void {
    Directory.apply(this.names, change);
    this.pending.push(change);
  }

  sync(): void {
    for (const change of this.pending.splice(0)) Directory.apply(this.durable, change);
  }

  static apply(names: Map<string, SimulatedFile>, change: NameChange): void {
    if (change.kind === 'unlink') names.delete(change.name);
    else if (change.kind === 'link') names.set(change.name, change.file);
    else {
      if (names.get(change.from) === change.file) names.delete(change.from);
      names.set(change.to, change.file);
    }
  }
}
