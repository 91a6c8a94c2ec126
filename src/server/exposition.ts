// /metrics in Prometheus' text format. The hot path keeps plain numbers; they are read here, at the
// scrape: https://prometheus.io/docs/instrumenting/exposition_formats/
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { Histogram, Metrics } from '../metrics.ts';
import type { Status, StreamStatus } from '../types.ts';
import type { Answered } from './served.ts';

type Sample = readonly [labels: string, value: number];
type Kind = 'gauge' | 'counter';

export interface Observed extends Answered {
  readonly status: Status;
  readonly metrics: Metrics;
}

const escaped = (text: string): string =>
  text.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`));
const label = (name: string, value: string): string => `{${name}="${escaped(value)}"}`;

function family(name: string, [kind, help]: readonly [Kind, string], samples: readonly Sample[]) {
  const head = `# HELP holdfast_${name} ${help}\n# TYPE holdfast_${name} ${kind}\n`;
  return head + samples.map(([labels, value]) => `holdfast_${name}${labels} ${value}\n`).join('');
}

function histogram(name: string, help: string, { bounds, buckets, sum, count }: Histogram): string {
  let below = 0;
  const lines = bounds.map((bound, at) => {
    below += buckets[at] ?? 0;
    return `holdfast_${name}_bucket{le="${bound}"} ${below}\n`;
  });
  const head = `# HELP holdfast_${name} ${help}\n# TYPE holdfast_${name} histogram\n`;
  const totals = `holdfast_${name}_sum ${sum}\nholdfast_${name}_count ${count}\n`;
  return `${head}${lines.join('')}holdfast_${name}_bucket{le="+Inf"} ${count}\n${totals}`;
}

const streamFamilies: readonly [string, Kind, string, (stream: StreamStatus) => number][] = [
  ['unaccounted', 'gauge', 'Rows that the balance lacks. Must be 0.', (s) => s.unaccounted],
  ['accepted', 'gauge', 'Position accepted, summed over lanes.', (s) => s.watermarks.accepted],
  ['journaled', 'gauge', 'Position on disk here.', (s) => s.watermarks.journaled],
  ['staged', 'gauge', 'Position brought to the target.', (s) => s.watermarks.staged],
  ['settled', 'gauge', 'Position up to which each row has its end.', (s) => s.watermarks.settled],
  ['confirmed', 'gauge', 'Position as durable as asked.', (s) => s.watermarks.confirmed],
  ['accepted_rows_total', 'counter', 'Rows accepted.', (s) => s.accepted],
  ['merged_rows_total', 'counter', 'Rows that are in their table.', (s) => s.merged],
  ['duplicate_rows_total', 'counter', 'Rows that were there already.', (s) => s.duplicates],
  ['superseded_rows_total', 'counter', 'Rows that lost by the rule.', (s) => s.superseded],
  ['dead_letters', 'gauge', 'Rows kept whole with a reason.', (s) => s.deadLetters],
  ['in_flight_rows', 'gauge', 'Rows on disk without an end.', (s) => s.inFlight],
  ['level_memory_rows', 'gauge', 'L1: accepted, not on disk yet.', (s) => s.levels.memory.records],
  ['level_memory_seconds', 'gauge', 'Age of the oldest.', (s) => s.levels.memory.oldestMs / 1000],
  ['level_journal_rows', 'gauge', 'On disk, not in the target.', (s) => s.levels.journal.records],
  ['level_journal_seconds', 'gauge', 'Age of the oldest.', (s) => s.levels.journal.oldestMs / 1000],
  ['level_staging_rows', 'gauge', 'L2: staged, not merged.', (s) => s.levels.staging.records],
  ['level_staging_seconds', 'gauge', 'Age of the oldest.', (s) => s.levels.staging.oldestMs / 1000],
  ['level_table_rows', 'gauge', 'L3: settled, not confirmed.', (s) => s.levels.table.records],
  ['level_table_seconds', 'gauge', 'Age of the oldest.', (s) => s.levels.table.oldestMs / 1000],
  ['oldest_unmerged_seconds', 'gauge', 'Age of the oldest of them.', (s) => s.oldestMs / 1000],
  ['stream_held', 'gauge', '1 where rows wait for a person.', (s) => Number(s.state === 'held')],
];

const streamText = (streams: Status['streams']): string =>
  streamFamilies
    .map(([name, kind, help, read]) => {
      const samples = Object.entries(streams).map(
        ([stream, status]): Sample => [label('stream', stream), read(status)],
      );
      return family(name, [kind, help], samples);
    })
    .join('');

const single = (value: number): readonly Sample[] => [['', value]];
const byCode = (counts: ReadonlyMap<string, number>): readonly Sample[] =>
  [...counts].map(([code, count]) => [label('code', code), count]);

/** Of the last minute, not of the server's lifetime. Nothing where the target does not tell. */
function contentionText(seen: Status['target']['contention']): string {
  if (!seen) return '';
  const perSecond = (count: number) => single((count * 1000) / seen.windowMs);
  const waits = perSecond(seen.lockWaits);
  const time = perSecond(seen.lockTimeMs / 1000);
  return [
    family('target_lock_waits_per_second', ['gauge', 'Waits for locks, last minute.'], waits),
    family('target_lock_seconds_per_second', ['gauge', 'Their time, last minute.'], time),
    family('target_deadlocks', ['gauge', 'Deadlocks, last minute.'], single(seen.deadlocks)),
  ].join('');
}

function processText({ status, metrics, answers, bodyBytes }: Observed): string {
  const { journal, target } = status;
  const requests = [...answers].map(([answer, count]): Sample => {
    const [route = '', code = ''] = answer.split(' ');
    return [`{route="${escaped(route)}",status="${code}"}`, count];
  });
  const isFailed = Number(status.state === 'failed');
  return [
    family('failed', ['gauge', '1 where the journal failed for good.'], single(isFailed)),
    family('journal_bytes', ['gauge', 'Bytes of the journal on disk.'], single(journal.bytes)),
    family('journal_bytes_max', ['gauge', 'Their bound.'], single(journal.bytesMax)),
    family('journal_segments', ['gauge', 'Files of the journal.'], single(journal.segments)),
    family('journal_full', ['gauge', '1 where it is full.'], single(Number(journal.full))),
    family('target_reachable', ['gauge', '1 where it is.'], single(Number(target.reachable))),
    contentionText(target.contention),
    histogram(
      'journal_sync_seconds',
      'From asking for a sync to knowing its end.',
      metrics.journalSyncSeconds,
    ),
    histogram('journal_group_rows', 'Rows that shared a sync.', metrics.journalGroupRows),
    histogram('merge_batch_rows', 'Rows that shared a transaction.', metrics.mergeBatchRows),
    histogram('merge_seconds', 'Time of one transaction.', metrics.mergeSeconds),
    family('retries_total', ['counter', 'Batches tried again.'], byCode(metrics.retries)),
    family('rejected_rows_total', ['counter', 'Rows refused.'], byCode(metrics.rejected)),
    family('http_answers_total', ['counter', 'Answers over HTTP.'], requests),
    family('http_body_bytes', ['gauge', 'Bytes of bodies in memory.'], single(bodyBytes)),
  ].join('');
}

const own: { registry?: Registry } = {};

/** Node's own numbers, once a process: their observers cannot be taken back. */
function processRegistry(): Registry {
  if (!own.registry) {
    own.registry = new Registry();
    collectDefaultMetrics({ register: own.registry, prefix: 'holdfast_' });
  }
  return own.registry;
}

export const expositionType = 'text/plain; version=0.0.4; charset=utf-8';

/** `unaccounted` comes first. */
export const exposition = async (observed: Observed): Promise<string> =>
  streamText(observed.status.streams) + processText(observed) + (await processRegistry().metrics());
