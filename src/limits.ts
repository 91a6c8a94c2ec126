// Every bound, in one place, with the relations that must hold between them.
import assert from 'node:assert/strict';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

export const limits = {
  /** Bytes of one journal file. */
  segmentBytes: 64 * MiB,
  /** A group lies in one segment; so a request never encodes to more than this. */
  groupBytesMax: 32 * MiB,
  /** Rows that accept holds in memory before they are journaled. */
  memoryBytesMax: 64 * MiB,
  journalBytesMax: 10 * GiB,
  /** Of what is free on the journal's disk, where that is less. */
  journalFreeShareMax: 0.8,
  /** Of the journal's bound, for one stream. */
  streamShareMax: 0.5,
  /** The different sets of columns that rows provide, as each segment's checkpoint lists them. */
  shapeBytesMax: 1 * MiB,
  /** The same, of a segment, where that is less. */
  shapeSegmentShareMax: 0.25,
  /** Of either, for one version of a table: some 5,000 sets of a dozen columns. */
  shapeTableShareMax: 0.25,
  /** A version of a table has so many sets in any case: they take less than its columns do. */
  shapesOfTableMin: 16,
  retentionMsMin: 60 * 60 * 1000,
  retentionBytesMin: 1 * GiB,
  /** A sync beside other work that takes so long is late; many times what others take is, too. */
  asideLateMsMin: 20,
  /** For so long there are none then: at first, and where that is found again and again. */
  asideWithoutMsMin: 1_000,
  asideWithoutMsMax: 60_000,
  /** A sync that takes longer makes a server unready: its disk hangs. */
  syncMsMax: 5_000,
  lanesDefault: 64,
  lanesMax: 1024,
  loadersDefault: 2,
  /** Records and bytes of one transaction. */
  batchRowsMax: 20_000,
  batchBytesMax: 8 * MiB,
  /** So long after one of them found more than a batch, loaders still have their lanes apart. */
  loadersCalmMs: 5_000,
  /** What a loader that keeps up with a flow waits after a transaction, at most. */
  loaderRestMsMax: 20,
  bodyBytesMax: 16 * MiB,
  /** One line of NDJSON or CSV. */
  lineBytesMax: 16 * MiB,
  /** Nesting of a JSON value. */
  jsonDepthMax: 512,
  headerBytesMax: 16 * KiB,
  connectionsMax: 1024,
  /** Threads of a server that take requests. */
  workersDefault: 0,
  workersMax: 64,
  requestMsMax: 30_000,
  drainMsMax: 10_000,
  requestsKeptMs: 24 * 60 * 60 * 1000,
  /** Requests remembered for receipts and Idempotency-Key. */
  requestsKeptMax: 1_000_000,
  rejectionsListedMax: 1000,
  /** Dead letters that are read at once; so many bytes of them, and what the last one has more. */
  lettersListedMax: 1000,
  lettersListedBytes: 4 * MiB,
  retryMsMin: 20,
  retryMsMax: 5_000,
  /** A stream whose rows have not got through for so long says so, whatever the error is. */
  heldAfterMs: 30_000,
  /** How often it is asked whether what was committed is confirmed. */
  confirmPollMs: 200,
  /** Records of one batch of a staged stream, and of one merge. */
  stageRowsMax: 5_000,
  mergeRowsMax: 20_000,
  mergersDefault: 2,
  mergersMax: 64,
  mergeEveryMs: 1_000,
  /** This many rows begin a merge before its time. */
  mergeRows: 20_000,
  stagingRetentionMs: 24 * 60 * 60 * 1000,
  /** How often the days of a staging table are looked at. */
  stagingUpkeepMs: 60_000,
  /** How often an idle stream's `settled` is read again from the target (DESIGN §6). */
  idleCheckMs: 3_000,
} as const;

assert(
  limits.groupBytesMax * 2 <= limits.segmentBytes,
  'a segment holds its checkpoint and a group',
);
assert(
  limits.shapeSegmentShareMax + limits.groupBytesMax / limits.segmentBytes <= 0.75,
  'beside a group, shapes leave a quarter of a segment to what else a checkpoint says',
);
assert(limits.groupBytesMax <= limits.memoryBytesMax, 'a group fits into memory');
assert(limits.batchBytesMax <= limits.groupBytesMax, 'a batch is no larger than a group');
assert(limits.lineBytesMax <= limits.groupBytesMax, 'one line fits into a group');
