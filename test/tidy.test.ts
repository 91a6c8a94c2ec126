// The house rules (DESIGN §10) that neither the compiler nor the linters know. Each rule is first
// shown to find its own bad sample, then run over the tracked files.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { generatedDocs } from '../tools/docs.ts';

const root = join(import.meta.dirname, '..');

interface Source {
  readonly path: string;
  readonly text: string;
  /** The text with comments, strings, templates and regular expressions blanked out. */
  readonly code: string;
}

interface Rule {
  readonly name: string;
  readonly appliesTo: (path: string) => boolean;
  /** What is wrong, one line each. */
  readonly find: (source: Source) => string[];
  /** A file that breaks the rule: its path and its text. */
  readonly bad: readonly [string, string];
  /** A file close to it that does not. */
  readonly good: readonly [string, string];
}

// A slash begins a regular expression where no value stands before it.
const regular = /(?<=[(,=:[!&|?{};>]\s*|\breturn\s+)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//;
const quoted = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/;
const comment = /\/\/.*|\/\*[\s\S]*?\*\//;
const literal = new RegExp(['`', comment.source, quoted.source, regular.source].join('|'), 'g');

/** Where the template that begins at `start` ends; templates may stand in its holes. */
function templateEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start + 1; at < text.length; at++) {
    const char = text[at];
    if (char === '\\') at++;
    else if (depth === 0 && char === '`') return at + 1;
    else if (depth === 0 && text.startsWith('${', at)) [depth, at] = [1, at + 1];
    else if (depth > 0 && char === '{') depth++;
    else if (depth > 0 && char === '}') depth--;
    else if (depth > 0 && char === '`') at = templateEnd(text, at) - 1;
  }
  return text.length;
}

/** The text with comments and all that is quoted as spaces, only the quotes left standing. */
function blank(text: string): string {
  let code = '';
  let at = 0;
  for (const { 0: found, index } of text.matchAll(literal)) {
    if (index < at) continue;
    const end = found === '`' ? templateEnd(text, index) : index + found.length;
    const inner = text.slice(index + 1, end - 1).replaceAll(/[^\n]/g, ' ');
    const quote = found.startsWith('/') ? ' ' : found.charAt(0);
    code += text.slice(at, index) + quote + inner + quote;
    at = end;
  }
  return code + text.slice(at);
}

const source = (path: string, text: string): Source => ({ path, text, code: blank(text) });

const lineOf = (text: string, at: number): number => text.slice(0, at).split('\n').length;

const matches = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map((found) => {
    const shown = found[0].replaceAll(/\s+/g, ' ').trim();
    return `line ${lineOf(text, found.index)}: ${shown.slice(0, 60)}`;
  });

const isTypeScript = (path: string): boolean => path.endsWith('.ts') || path.endsWith('.tsx');
const isSource = (path: string): boolean => path.startsWith('src/') && isTypeScript(path);
const isSourceOrTest = (path: string): boolean =>
  /^(src|test|prove)\//.test(path) && isTypeScript(path);
const isCore = (path: string): boolean =>
  /^src\/(accept|journal|merge)\/|^src\/(holdfast|confirm|watermarks|verify)\.ts$/.test(path);
// Started, never imported: a command, and what runs in a thread.
const isEntry = (path: string): boolean =>
  path === 'src/cli/main.ts' || path.startsWith('src/threads/') || /\bworker\.ts$/.test(path);

const bannedWords = new Set(
  ['manager', 'handler', 'helper', 'helpers', 'util', 'utils', 'service', 'factory', 'base'].concat(
    ['impl', 'context', 'wrapper', 'info', 'data'],
  ),
);
const wordsOf = (name: string): string[] =>
  name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
const isBanned = (name: string): boolean => wordsOf(name).some((word) => bannedWords.has(word));

function exportedNames(code: string): string[] {
  const declared = code.matchAll(
    /^export (?:declare |abstract |async )*(?:const|function\*?|class|interface|type) (\w+)/gm,
  );
  const listed = [...code.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap((found) =>
    (found[1] ?? '').split(',').map(
      (name) =>
        name
          .split(/\bas\b/)
          .at(-1)
          ?.trim() ?? '',
    ),
  );
  return [...declared].map((found) => found[1] ?? '').concat(listed);
}

/** The body of each `catch` block, braces left out. */
function catchBodies(code: string): { at: number; body: string }[] {
  return [...code.matchAll(/\bcatch\s*(?:\([^)]*\)\s*)?\{/g)].map((found) => {
    const start = found.index + found[0].length;
    let end = start;
    for (let depth = 1; end < code.length; end++) {
      if (code[end] === '{') depth++;
      if (code[end] === '}') depth--;
      if (depth === 0) break;
    }
    return { at: found.index, body: code.slice(start, end).trim() };
  });
}

const isLogging = (statement: string): boolean =>
  /^(?:console|(?:\w+\.)*#?(?:log|logger))\.\w+\(|^process\.std(?:err|out)\.write\(/.test(
    statement,
  );

function idleCatches({ code }: Source): string[] {
  const isIdle = (body: string) =>
    body
      .split(/;\s*/)
      .filter((statement) => statement !== '')
      .every(isLogging);
  return catchBodies(code)
    .filter(({ body }) => isIdle(body))
    .map(({ at }) => `line ${lineOf(code, at)}: the error is dropped`);
}

interface Import {
  readonly from: string;
  readonly isType: boolean;
}

const importsOf = (text: string): Import[] =>
  [...text.matchAll(/^(?:import|export)\s(type\s)?(?:[^'";]*?\sfrom\s)?'([^']+)'/gm)].map(
    (found) => ({ isType: found[1] !== undefined, from: found[2] ?? '' }),
  );

const outsideCore = /^(?:node:)?(?:fs|timers|sqlite|http|net|worker_threads)(?:\/|$)|^(?:pg|mysql)/;

const rules: Rule[] = [
  {
    name: 'file names say what a file does',
    appliesTo: (path) => /^(src|test|prove|tools|bench|examples)\//.test(path),
    find: ({ path }) => (isBanned(path) ? [`the name ${path}`] : []),
    bad: ['src/journal/segment-manager.ts', ''],
    good: ['src/journal/segment.ts', ''],
  },
  {
    name: 'exported names say what a thing does',
    appliesTo: isSource,
    find: ({ code }) => exportedNames(code).filter(isBanned),
    bad: ['src/a.ts', 'const x = 1;\nexport { x as rowData };\nexport class SegmentFactory {}\n'],
    good: ['src/a.ts', 'export const database = 1;\nexport interface Metadata {}\n'],
  },
  {
    name: 'a caught error is never dropped, nor only logged',
    appliesTo: isSourceOrTest,
    find: idleCatches,
    bad: [
      'src/a.ts',
      'try { a(); } catch { /* fine */ }\ntry { a(); } catch (error) { console.error(error); }\n',
    ],
    good: ['src/a.ts', 'try { a(); } catch (error) { log.warn(error); throw error; }\n'],
  },
  {
    name: 'importing a source file does nothing',
    appliesTo: (path) => isSource(path) && !isEntry(path),
    // The formatter leaves only beginnings and ends of top-level statements in the first column.
    find: ({ path, code }) =>
      matches(code, /^\S[^\n]*/gm).filter((line) => {
        const statement = line.replace(/^line \d+: /, '');
        const isDeclaration =
          /^(?:import|export|const|type|interface|declare|(?:async )?function|(?:abstract )?class)\b/;
        const isAllowed = path === 'src/limits.ts' && statement.startsWith('assert(');
        return !isDeclaration.test(statement) && !/^[})\]>`]/.test(statement) && !isAllowed;
      }),
    bad: ['src/a.ts', "const a = new Map();\na.set('x', 1);\n"],
    good: ['src/a.ts', '// Owns a.\nexport const a = [\n  1,\n];\nfunction b() {\n  a.pop();\n}\n'],
  },
  {
    name: 'the core reaches files, timers and drivers only through its seams',
    appliesTo: isCore,
    find: ({ text }) =>
      importsOf(text)
        .filter(({ from, isType }) => !isType && outsideCore.test(from))
        .map(({ from }) => `imports ${from}`),
    bad: [
      'src/journal/a.ts',
      "import {\n  openSync,\n} from 'node:fs';\nimport { Pool } from 'pg';\n",
    ],
    good: ['src/journal/a.ts', "import type { DatabaseSync } from 'node:sqlite';\n"],
  },
  {
    name: 'the core asks its Clock for time and chance',
    appliesTo: isCore,
    find: ({ code }) =>
      matches(
        code,
        /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bperformance\.|\bset(?:Timeout|Immediate|Interval)\(/g,
      ),
    bad: ['src/verify.ts', 'export const now = () => Date.now();\n'],
    good: ['src/verify.ts', '// Date.now() is not for the core.\nexport const d = new Date(0);\n'],
  },
  {
    name: 'the compiler is never told to look away',
    appliesTo: isTypeScript,
    find: ({ text }) => matches(text, /@ts-(?:ignore|expect-error|nocheck)/g),
    bad: ['src/a.ts', `// ${'@ts'}-ignore\nconst a: string = 1;\n`],
    good: ['src/a.ts', '// An @tsx comment.\n'],
  },
  {
    name: 'nothing is left to do',
    appliesTo: isTypeScript,
    find: ({ text }) => matches(text, /\b(?:TO(?:DO)|FIX(?:ME))\b/g),
    bad: ['src/a.ts', `// ${'TO'}DO: later\n`],
    good: ['src/a.ts', '// Nothing to do here.\n'],
  },
  {
    name: 'only a configuration has a default export',
    appliesTo: (path) => isTypeScript(path) && !/holdfast\.config\.\w+$/.test(path),
    find: ({ code }) => matches(code, /^export default\b|\bas default\b/gm),
    bad: ['src/a.ts', 'export default 1;\n'],
    good: ['src/a.ts', '// export default is not for us.\n'],
  },
  {
    name: 'what a file exports is named one by one',
    appliesTo: isTypeScript,
    find: ({ code }) => matches(code, /^export (?:type )?\*/gm),
    bad: ['src/a.ts', "export * from './b.ts';\n"],
    good: ['src/a.ts', "export { b } from './b.ts';\n"],
  },
  {
    name: 'a line has at most 100 columns',
    appliesTo: isSourceOrTest,
    find: ({ text }) =>
      text.split('\n').flatMap((line, i) => {
        // The formatter cannot break a literal that stands alone on its line.
        const isLiteral = /^\s*(?:\/.*\/[a-z]*[;,]|'[^']*'[;,]?|`[^`]*`[;,]?)$/.test(line);
        const columns = Array.from(line).length;
        return columns > 100 && !isLiteral ? [`line ${i + 1}: ${columns} columns`] : [];
      }),
    bad: ['src/a.ts', `// ${'x'.repeat(98)}\n`],
    good: ['src/a.ts', `// ${'é'.repeat(97)}\n`],
  },
  {
    name: 'no tracked file names a package registry',
    appliesTo: () => true,
    find: ({ text }) =>
      matches(
        text,
        /\b(?:registry\.(?:npmjs|yarnpkg|npmmirror)|npm\.pkg\.github)\b|"resolved": "https?:/g,
      ),
    bad: ['package-lock.json', `"resolved": "${'http'}s://example.com/a.tgz"`],
    good: ['package-lock.json', '"resolved": "tools/node"'],
  },
];

const tracked = execFileSync(
  'git',
  ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
  {
    cwd: root,
    encoding: 'utf8',
  },
)
  .split('\0')
  .filter((path) => path !== '' && existsSync(join(root, path)))
  .map((path) => source(path, readFileSync(join(root, path), 'utf8')));

for (const rule of rules) {
  test(`the rule is seen when broken: ${rule.name}`, () => {
    assert(rule.appliesTo(rule.bad[0]) && rule.appliesTo(rule.good[0]));
    assert.notDeepEqual(rule.find(source(...rule.bad)), []);
    assert.deepEqual(rule.find(source(...rule.good)), []);
  });

  test(rule.name, () => {
    const found = tracked
      .filter(({ path }) => rule.appliesTo(path))
      .flatMap((file) => rule.find(file).map((problem) => `${file.path}: ${problem}`));
    assert.deepEqual(found, []);
  });
}

test('the generated documents say what the sources say', () => {
  for (const [path, text] of generatedDocs()) {
    const file = join(root, path);
    assert(existsSync(file), `${path} is missing: npm run docs`);
    assert.equal(readFileSync(file, 'utf8'), text, `${path} is out of date: npm run docs`);
  }
});
