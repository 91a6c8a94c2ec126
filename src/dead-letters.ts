// Dead letters as people handle them: listed, shown, replayed, dropped; the books follow (P11).
import { deadLetterIdText, parseDeadLetterId } from './dead-letter-json.ts';
import { HoldfastError } from './errors.ts';
import { limits } from './limits.ts';
import { rowEnd } from './merge/batch.ts';
import type { LoadingCalls } from './merge/loading.ts';
import type { Streams } from './streams.ts';
import type { DeadLetter, DeadLetterId, LetterFilter } from './target/target.ts';
import type { DeadLetters } from './types.ts';

/** All of them, or `limit`: page after page, as they are taken. */
export async function* eachDeadLetter(
  { list }: Pick<DeadLetters, 'list'>,
  filter: Omit<LetterFilter, 'id'>,
): AsyncGenerator<DeadLetter> {
  let { after, limit: left = Number.POSITIVE_INFINITY } = filter;
  while (left > 0) {
    const limit = Math.min(left, limits.lettersListedMax);
    const page = await list({ stream: filter.stream, after, limit });
    const last = page.at(-1);
    if (!last) return;
    yield* page;
    // Not the letter: its bytes would cross threads once more.
    const { writer, stream, lane, sequence } = last;
    after = { writer, stream, lane, sequence };
    left -= page.length;
  }
}

function readId(text: string): DeadLetterId {
  const id = parseDeadLetterId(text);
  if (id) return id;
  throw new HoldfastError('HF_NOT_FOUND', `"${text}" is not the id of a dead letter.`);
}

export function deadLetterDesk(loading: LoadingCalls, streams: Streams): DeadLetters {
  const find = async (id: DeadLetterId): Promise<DeadLetter> => {
    const [letter] = await loading.deadLetters({ id });
    if (letter) return letter;
    throw new HoldfastError('HF_NOT_FOUND', `There is no dead letter "${deadLetterIdText(id)}".`);
  };
  return {
    list: (filter = {}) => loading.deadLetters(filter),
    show: async (name) => find(readId(name)),
    replay: async (name) => {
      const id = readId(name);
      const { rules, rowRules } = streams.get(id.stream);
      const { key, onConflict } = rules;
      const end = await loading.replay(id, { stream: id.stream, key, onConflict }, rowRules);
      const names = { [rowEnd.merged]: 'merged', [rowEnd.duplicate]: 'duplicate' } as const;
      if (end === rowEnd.superseded) return 'superseded';
      return end === rowEnd.deadLetter ? 'deadLetter' : names[end];
    },
    drop: (name) => loading.drop(readId(name)),
  };
}
