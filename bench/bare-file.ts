// The bare reference of what is acknowledged: write + fdatasync into a file of zeros of a segment's
// size, over and over.
import { type DiskFile, systemDisk } from '../src/disk.ts';
import { limits } from '../src/limits.ts';

export class BareFile {
  readonly #file: DiskFile;
  #at = 0;

  private constructor(file: DiskFile) {
    this.#file = file;
  }

  static async create(path: string): Promise<BareFile> {
    await systemDisk.createZeroed(path, limits.segmentBytes);
    return new BareFile(systemDisk.open(path, 'write'));
  }

  append(bytes: Uint8Array): void {
    if (this.#at + bytes.length > limits.segmentBytes) this.#at = 0;
    for (let done = 0; done < bytes.length; ) {
      done += this.#file.write(bytes.subarray(done), this.#at + done);
    }
    this.#at += bytes.length;
    this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }
}
