// Dead letters as people handle them: listed, shown, replayed, dropped; the books follow (P11).
import { parseDeadLetterId } from './dead-letter-json.ts';
import { HoldfastError } from './errors.ts';
import { rowEnd } from './merge/batch.ts';
import type { LoadingCalls } from './merge/loading.ts';
import type { Streams } from './streams.ts';
import type { DeadLetterId } from './target/target.ts';
import type { DeadLetters } from './types.ts';

function readId(text: string): DeadLetterId {
  const id = parseDeadLetterId(text);
  if (id) return id;
  throw new HoldfastError('HF_NOT_FOUND', `"${text}" is not the id of a dead letter.`);
}

export function deadLetterDesk(loading: LoadingCalls, streams: Streams): DeadLetters {
  return {
    list: (filter = {}) => loading.deadLetters(filter),
    show: async (name) => {
      const [letter] = await loading.deadLetters({ id: readId(name) });
      if (!letter) throw new HoldfastError('HF_NOT_FOUND', `There is no dead letter "${name}".`);
      return letter;
    },
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
