// Writes examples/payments.ndjson: 5,000 payments as a shop might have them, the same at every run.
// node examples/make-payments.ts
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const count = 5_000;

/** mulberry32: the same numbers in [0, 1) from the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const random = randomFrom(20_261_124);
const below = (bound: number): number => Math.floor(random() * bound);
const pick = <T>(choices: readonly [T, ...T[]]): T => choices[below(choices.length)] ?? choices[0];

const notes = [
  'gift wrap, please',
  'Grüße aus Köln',
  'déjà payé en partie',
  '領収書をお願いします',
  'заберу сам',
  'refund of order 8812',
  'says "call first"',
  'tip included 🙂',
] as const;
const statuses = ['paid', 'paid', 'paid', 'paid', 'new', 'refunded', 'failed'] as const;

/** Most are small, a few are large; never 0. */
const amountInCents = (): number => 1 + Math.floor(random() ** 4 * 2_000_000);

function payment(i: number, at: number): string {
  const cents = amountInCents();
  const amount = `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
  const isNoted = random() < 0.2;
  const row: Record<string, unknown> = {
    tx_id: 100_001 + i,
    user_id: 1 + below(700),
    amount: 'AMOUNT',
    // Left out now and then: the column has a default.
    ...(random() < 0.95 && { status: pick(statuses) }),
    created_at: new Date(at).toISOString(),
    ...(isNoted ? { note: pick(notes) } : random() < 0.5 && { note: null }),
  };
  return JSON.stringify(row).replace('"AMOUNT"', amount);
}

const lines: string[] = [];
let at = Date.UTC(2026, 0, 1);
for (let i = 0; i < count; i++) {
  at += 1 + below(120_000);
  lines.push(payment(i, at));
}
writeFileSync(join(import.meta.dirname, 'payments.ndjson'), `${lines.join('\n')}\n`);
