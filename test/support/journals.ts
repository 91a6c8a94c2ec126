// Small journals for tests: real files in a temporary folder.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RowBuffer } from '../../src/accept/row-buffer.ts';
import { systemClock } from '../../src/clock.ts';
import { type Disk, type DiskFile, systemDisk } from '../../src/disk.ts';
import type { Parcel } from '../../src/journal/group.ts';
import type { Journal } from '../../src/journal/journal.ts';
import type { JournalOptions } from '../../src/journal/options.ts';
import { newMetrics } from '../../src/metrics.ts';

export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export const journalOptions = (
  directory: string,
  changed: Partial<JournalOptions> = {},
): JournalOptions => ({
  disk: systemDisk,
  clock: systemClock,
  metrics: newMetrics(),
  directory,
  // Not that of the process: the same seed, the same files.
  pid: 1,
  segmentBytes: 256 * 1024,
  bytesMax: 64 * 1024 * 1024,
  retentionMsMin: 0,
  retentionBytesMin: 0,
  ...changed,
});

const column = {
  name: 'note',
  type: { kind: 'text' },
  sqlType: 'text',
  nullable: false,
  hasDefault: false,
  writable: true,
  bytewiseEqual: true,
} as const;
const table = { name: 't', columns: [column], keys: [], fingerprint: 'f', warnings: [] };

/** A parcel of rows of one column set; row i has 40 bytes and goes to lane i mod 4. */
export function parcelOf(journal: Journal, count: number, name = 's'): Parcel {
  const bytes = 40;
  const stream = journal.openStream(name, 4, 'key:id');
  const entry = journal.dictionary.table(stream.id, table);
  const rows = new RowBuffer();
  for (let i = 0; i < count; i++) {
    rows.reserve(rows.length, bytes);
    rows.view.setInt16(rows.length, 1);
    rows.view.setInt32(rows.length + 2, bytes - 6);
    rows.bytes.fill(97 + (i % 26), rows.length + 6, rows.length + bytes);
    rows.push(rows.length + bytes, rows.setIndex([0]), i % 4);
  }
  const shapes = rows.columnSets.map((set) => journal.dictionary.shape(entry.id, set));
  return { stream: stream.id, lanes: 4, rows, shapes, undecoded: [], keep: {} };
}

/** A file that is synced so, whichever way it is asked to. */
export const syncedBy = (file: DiskFile, sync: () => void): DiskFile => ({
  ...file,
  sync,
  syncAside: async () => sync(),
});

/** A disk that lets a test step in before the real call. */
export const diskWith = (changed: Partial<Disk>): Disk => ({ ...systemDisk, ...changed });
