// Dead letters as people and scripts see them, over HTTP and on the command line. The row goes out
// as the text that it is: parsed, its integers above 2^53 and its decimals would change.
import type { DeadLetter, DeadLetterId } from './target/target.ts';

/** WRITER.LANE.SEQUENCE.STREAM; the writer is a UUID, so the first three dots part it. */
export const deadLetterIdText = ({ writer, lane, sequence, stream }: DeadLetterId): string =>
  `${writer}.${lane}.${sequence}.${stream}`;

const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const idText = new RegExp(`^(${uuid})\\.(\\d{1,9})\\.(\\d{1,16})\\.(.+)$`, 's');

/** Undefined where it is none that a target could be asked for. */
export function parseDeadLetterId(text: string): DeadLetterId | undefined {
  const [, writer, lane, sequence, stream] = idText.exec(text) ?? [];
  if (!writer || !stream || stream.includes('\0')) return undefined;
  return { writer, lane: Number(lane), sequence: Number(sequence), stream };
}

/** A JSON object: id, stream, code, sqlState, message, attempts, at, firstAt, state, row, raw. */
export function deadLetterJson(letter: DeadLetter): string {
  const { stream, code, sqlState, message, attempts, state } = letter;
  const at = new Date(letter.lastAt).toISOString();
  const firstAt = new Date(letter.firstAt).toISOString();
  const id = deadLetterIdText(letter);
  const rest = { id, stream, code, sqlState, message, attempts, at, firstAt, state };
  const open = JSON.stringify(rest).slice(0, -1);
  if (letter.row !== null) return `${open},"row":${letter.row}}`;
  return `${open},"row":null,"raw":"${Buffer.from(letter.raw).toString('base64')}"}`;
}

/** A page of them, each as JSON; there are more behind `next`, its last one. */
export function deadLettersJson(letters: readonly string[], next?: DeadLetterId): string {
  return `{"deadLetters":[${letters.join()}]${nextJson(next && deadLetterIdText(next))}}`;
}

const nextJson = (next: string | undefined): string =>
  next === undefined ? '' : `,"next":${JSON.stringify(next)}`;

/** What deadLettersJson was given; `letters` as the text that they are, parted by commas. */
export function readDeadLetters(json: string): {
  readonly letters: string;
  readonly count: number;
  readonly next: string | undefined;
} {
  const page: { readonly deadLetters: readonly unknown[]; readonly next?: string } =
    JSON.parse(json);
  const { next } = page;
  const letters = json.slice('{"deadLetters":['.length, -`]${nextJson(next)}}`.length);
  return { letters, count: page.deadLetters.length, next };
}
