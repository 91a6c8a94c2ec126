// A journal that holds what no crash can explain.
import { HoldfastError } from '../errors.ts';

export class CorruptJournal extends HoldfastError {
  readonly file: string;
  readonly offset: number;

  constructor(file: string, offset: number, what: string) {
    super('HF_CORRUPT', `${file} is corrupt at byte ${offset}: ${what}.`);
    this.file = file;
    this.offset = offset;
  }
}
