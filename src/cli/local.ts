// The journal opened by this command itself, for as long as it runs.
import { deadLetterJson } from '../dead-letter-json.ts';
import { eachDeadLetter } from '../dead-letters.ts';
import { open } from '../holdfast.ts';
import type { OpenOptions } from '../options.ts';
import type { Holdfast } from '../types.ts';
import type { JournalOwner } from './owner.ts';

export const openHere = async (options: OpenOptions): Promise<JournalOwner> =>
  ownerOf(await open(options));

export function ownerOf(holdfast: Holdfast): JournalOwner {
  return {
    needsSource: false,
    status: () => holdfast.status(),
    verify: (options) => holdfast.verify(options),
    passOver: (stream, options) => holdfast.passOver(stream, options),
    beginLoad: (stream, options) => holdfast.beginLoad(stream, options),
    continueLoad: (state, input, options) => holdfast.continueLoad(state, input, options),
    reportedLoad: async (load) => holdfast.reportedLoad(load),
    listDeadLetters: async function* (filter) {
      for await (const letter of eachDeadLetter(holdfast.deadLetters, filter)) {
        yield deadLetterJson(letter);
      }
    },
    showDeadLetter: async (id) => deadLetterJson(await holdfast.deadLetters.show(id)),
    replayDeadLetter: (id) => holdfast.deadLetters.replay(id),
    dropDeadLetter: (id) => holdfast.deadLetters.drop(id),
    close: () => holdfast.close(),
  };
}
