// The rows of payments.ts as JavaScript values, ready before they are asked for: what it costs to
// make a row is not counted, in favour of all that do not take bytes.
import { Body, bodyRows, firstKey } from '../payments.ts';
import type { Unit } from './peer.ts';

export interface Payment {
  readonly tx_id: number;
  readonly user_id: number;
  /** With all its digits. */
  readonly amount: string;
  readonly status: string;
  readonly created_at: string;
  readonly note: string | null;
}

export const columns = ['tx_id', 'user_id', 'amount', 'status', 'created_at', 'note'] as const;

const samples: readonly Payment[] = new Body().bytes.toString().trimEnd().split('\n').map(parsed);

function parsed(line: string): Payment {
  const amount = /"amount":([\d.]+)/.exec(line)?.[1] ?? '';
  return { ...(JSON.parse(line) as Payment), amount };
}

export const paymentsOf = ({ first, rows }: Unit): Payment[] =>
  Array.from({ length: rows }, (_, i) => {
    const sample = samples[(first + i) % bodyRows];
    if (!sample) throw new Error('a body has all its rows');
    return { ...sample, tx_id: firstKey + first + i };
  });
