// Flame graphs of the CPU profiles in a folder: one SVG a thread, that any browser shows without
// anything else. Width is time; what is called stands above its caller; the title of a box, which a
// pointer shows, says how much and where.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** What V8 writes: a tree of calls, and which node was on top at each sample. */
export interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** µs from one sample to the next. */
  readonly timeDeltas: readonly number[];
}

interface Frame {
  readonly title: string;
  /** µs, of what it calls included. */
  us: number;
  readonly calls: Frame[];
}

const width = 1_600;
const rowHeight = 17;
/** Narrower boxes, in pixels, show nothing. */
const widthMin = 0.3;
/** A character of 11 px, about. */
const charWidth = 6.6;
/** Waiting is no work. */
const idle = new Set(['(idle)']);

export function writeFlameGraphs(folder: string, say: (text: string) => void): void {
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.cpuprofile'))) {
    const profile = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Profile;
    const path = join(folder, name.replace(/\.cpuprofile$/, '.svg'));
    writeFileSync(path, flameGraph(profile));
    say(`flame graph: ${path}`);
  }
}

export function flameGraph(profile: Profile): string {
  const root = foldCalls(profile);
  const boxes: string[] = [];
  const depth = draw(root, boxes, { left: 0, level: 0, all: root.us });
  const height = (depth + 1) * rowHeight;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
      'font-family="monospace" font-size="11">',
    `<g transform="translate(0 ${height - rowHeight})">`,
    ...boxes,
    '</g></svg>',
    '',
  ].join('\n');
}

/** The tree with equal calls of one caller as one frame, widest first. */
function foldCalls({ nodes, samples, timeDeltas }: Profile): Frame {
  const own = new Map<number, number>();
  samples.forEach((id, i) => {
    own.set(id, (own.get(id) ?? 0) + (timeDeltas[i] ?? 0));
  });
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const add = (into: Frame, id: number): number => {
    const node = byId.get(id);
    if (!node || idle.has(node.callFrame.functionName)) return 0;
    const { functionName, url, lineNumber } = node.callFrame;
    const title = `${functionName || '(anonymous)'} ${basename(url)}:${lineNumber + 1}`;
    const known = into.calls.find((call) => call.title === title);
    const frame = known ?? { title, us: 0, calls: [] };
    if (!known) into.calls.push(frame);
    let us = own.get(id) ?? 0;
    for (const child of node.children ?? []) us += add(frame, child);
    frame.us += us;
    return us;
  };
  const all: Frame = { title: 'all', us: 0, calls: [] };
  const [first] = nodes;
  if (first) for (const child of first.children ?? []) all.us += add(all, child);
  return all;
}

/** Puts a frame and all above it among `boxes`; answers with the highest level. */
function draw(
  frame: Frame,
  boxes: string[],
  at: { readonly left: number; readonly level: number; readonly all: number },
): number {
  const wide = (frame.us / at.all) * width;
  if (!(wide >= widthMin)) return at.level;
  const share = `${((frame.us / at.all) * 100).toFixed(1)} %`;
  const title = escaped(`${frame.title}, ${share}, ${Math.round(frame.us / 1000)} ms`);
  const fitting = Math.floor((wide - 4) / charWidth);
  const label = fitting > 2 ? escaped(frame.title.slice(0, fitting)) : '';
  const y = -at.level * rowHeight;
  boxes.push(
    `<g><title>${title}</title><rect x="${at.left.toFixed(1)}" y="${y}" ` +
      `width="${wide.toFixed(1)}" height="${rowHeight - 1}" fill="${colour(frame.title)}"/>` +
      `<text x="${(at.left + 2).toFixed(1)}" y="${y + 12}">${label}</text></g>`,
  );
  let { left } = at;
  let highest = at.level;
  for (const call of frame.calls.sort((a, b) => b.us - a.us)) {
    highest = Math.max(highest, draw(call, boxes, { ...at, left, level: at.level + 1 }));
    left += (call.us / at.all) * width;
  }
  return highest;
}

/** One and the same for a function wherever it stands. */
function colour(title: string): string {
  let mixed = 0;
  for (const char of title) mixed = (mixed * 31 + char.charCodeAt(0)) % 1_009;
  return `hsl(${mixed % 60} 80% ${65 + (mixed % 4) * 4}%)`;
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
