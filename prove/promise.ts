// The README's promise: what may be said on the strength of docs/proof.json, with its numbers and
// with what they do not cover.
interface Proved {
  readonly commit: string;
  readonly date: string;
  readonly reduced: boolean;
  readonly campaigns: Readonly<
    Record<
      string,
      {
        readonly of: string;
        readonly runs: number;
        readonly lost: number;
        readonly doubled: number;
        readonly failed: readonly string[];
      }
    >
  >;
  readonly mutants: { readonly killed: number; readonly total: number };
}

const begin = '<!-- written by `npm run prove` from docs/proof.json -->';
const end = '<!-- end -->';

const number = (value: number): string => value.toLocaleString('en-US');

/** The block as it stands in the README. */
export function promiseOf({ commit, date, reduced, campaigns, mutants }: Proved): string {
  const all = Object.entries(campaigns).filter(([name]) => name !== 'mutants');
  const rows = all.map(
    ([name, { of, runs, lost, doubled }]) =>
      `| \`${name}\` | ${number(runs)} ${of} | ${lost} | ${doubled} |`,
  );
  const failed = Object.entries(campaigns).flatMap(([name, one]) =>
    one.failed.length > 0 ? [`\`${name}\``] : [],
  );
  const length = reduced ? ' It was a reduced run: docs/proof.md says what it is short of.' : '';
  return [
    begin,
    'An answer is sent only after `fdatasync` has returned for the segment that holds your rows,',
    'and after the name of that segment was made durable. Where the disk reports an error,',
    'Holdfast stops instead of trying again. On ' +
      `${date}, at commit ${commit.slice(0, 10)}, that was attacked by:`,
    '',
    '| `npm run -s prove -- …` | attacks | rows lost | rows doubled |',
    '| --- | --- | ---: | ---: |',
    ...rows,
    '',
    `and ${mutants.killed} of ${mutants.total} deliberately broken builds were found out.${length}`,
    // What is wrong need not be lost or doubled.
    ...(failed.length > 0 ? [`**It failed: ${failed.join(', ')}. docs/proof.md says how.**`] : []),
    'Not protected: loss of the journal’s disk, a drive that lies about flushing, memory without',
    'ECC, bugs of the kernel, damage to the last group that was written less than a second before',
    'a crash and was not settled yet, which looks like a torn write, and a tail of the last segment',
    'that is gone with all that could tell of it.',
    end,
  ].join('\n');
}

/** The README with the block of this proof in the place of the one that it has. */
export function withPromise(readme: string, proved: Proved): string {
  const [from, to] = [readme.indexOf(begin), readme.indexOf(end)];
  if (from < 0 || to < from) throw new Error('README.md has no place for the promise');
  return readme.slice(0, from) + promiseOf(proved) + readme.slice(to + end.length);
}
