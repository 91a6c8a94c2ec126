// Writes the source of a decoder for rows of one shape: the same names in the same order with the
// same bytes between the values. What a generated decoder takes, it encodes as json-row.ts would;
// at the first byte that it did not expect it gives the row up, before anything of it counts.
//
// Why it is fast: `,"name":` is compared as 32-bit words, digits go four at a time, strings are
// scanned and copied four bytes at a time, and the day of a timestamp is worked out once while it
// stays the same.
import type { Column } from './columns.ts';
import { dayNames, valueCode } from './json-code-values.ts';

/** Rows of one shape. */
export interface Shape {
  /** Places of the columns in the order of the names. */
  readonly order: readonly number[];
  /** The bytes before each value, and at last those behind the last one, newline included. */
  readonly literals: readonly Uint8Array[];
}

export interface ShapeRules {
  readonly columns: readonly Column[];
  readonly lineBytesMax: number;
  readonly rowBytesMax: number | undefined;
  /** Null may stand there and the key does not need it. */
  readonly isNullable: (place: number) => boolean;
  readonly isNonZero: (place: number) => boolean;
  readonly lanes: number;
  readonly laneColumns: readonly number[];
}

/** Room that a row's fields of fixed width may need, beside its strings. */
const fieldBytesMax = 32;
/** What a decoder may read beyond the row's end, and write beyond the tuple's. */
export const slackBytes = 64;

/** Little-endian word of four bytes, as getInt32(…, true) reads it. */
function word(bytes: Uint8Array, at: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readInt32LE(at);
}

/** Gives the row up unless `literal` stands at p; goes past it. The last word may overlap. */
function literalCode(literal: Uint8Array): string {
  const { length } = literal;
  const tests: string[] = [];
  if (length < 4) {
    for (let i = 0; i < length; i++) tests.push(`src[p+${i}]!==${literal[i]}`);
  } else {
    for (let i = 0; i + 4 < length; i += 4) {
      tests.push(`dv.getInt32(p+${i},true)!==${word(literal, i)}`);
    }
    tests.push(`dv.getInt32(p+${length - 4},true)!==${word(literal, length - 4)}`);
  }
  return `if(${tests.join('||')})break rows;p+=${length};`;
}

function laneCode(shape: Shape, rules: ShapeRules): string {
  if (rules.lanes === 1) return 'const lane=0;';
  if (rules.laneColumns.length === 0) return 'const lane=s.turn;';
  const mixes = rules.laneColumns.map((place, i) =>
    shape.order.includes(place) ? `h=mixers[${i}](h,odv,f${place});` : 'h=mix(h,-1);',
  );
  return `let h=seed;${mixes.join('')}const lane=laneOfHash(h,${rules.lanes});`;
}

/**
 * Where names do not stand in the order of the table, the fields are put into it behind the row.
 */
function reorderCode({ order }: Shape): string {
  if (order.every((place, i) => i === 0 || place > (order[i - 1] ?? 0))) return '';
  const starts = order.map((place, i) => `s.starts[${i}]=f${place};`);
  return `${starts.join('')}s.starts[${order.length}]=o;s.reorder(out);`;
}

/**
 * The body of a function that makes the decoder. Its parameters: seed, mix, laneOfHash, mixers. The
 * decoder takes a FastState, decodes all it can, and returns a status: 0 at the end of what it was
 * given, 1 at a row that it does not take, 2 where the buffer must grow first.
 */
export function decoderCode(shape: Shape, rules: ShapeRules): string {
  const { order, literals } = shape;
  const slack = slackBytes + 2 + order.length * fieldBytesMax;
  const fields = order.map((place, i) => {
    const column = rules.columns[place];
    const literal = literals[i];
    if (!column || !literal) return '';
    const value = valueCode(column.type, {
      place,
      slack,
      isNullable: rules.isNullable(place),
      isNonZero: rules.isNonZero(place),
    });
    return `${literalCode(literal)}const f${place}=o;\n${value}`;
  });
  const days = order.flatMap((place) =>
    rules.columns[place]?.type.kind.startsWith('timestamp') ? dayNames(place) : [],
  );
  const rowTest = rules.rowBytesMax === undefined ? '' : `||o-ro>${rules.rowBytesMax}`;
  return `'use strict';
const P10=[1,1e1,1e2,1e3,1e4,1e5,1e6,1e7,1e8,1e9,1e10,1e11,1e12,1e13,1e14,1e15];
return function(s){
const src=s.src,dv=s.dv,end=s.end,ends=s.ends,sets=s.sets,lanes=s.lanes,set=s.set;
const rowsMax=ends.length,bytesMax=s.bytesMax;
let out=s.out,odv=s.odv,olim=out.length-${slack};
let p=s.at,o=s.o,count=s.count,rs=p,ro=o,status=0;
${days.length > 0 ? `let ${days.map((name) => `${name}=-1`).join()};` : ''}
rows:for(;;){
rs=p;ro=o;
if(p>=end||o>=bytesMax)break;
if(count===rowsMax||o>olim){status=2;break}
status=1;
odv.setInt16(o,${order.length});o+=2;
${fields.join('\n')}
${literalCode(literals[order.length] ?? new Uint8Array(0))}
if(p-rs-1>${rules.lineBytesMax}${rowTest})break;
${laneCode(shape, rules)}
${reorderCode(shape)}
ends[count]=o;sets[count]=set;lanes[count]=lane;count++;status=0;
}
s.at=rs;s.o=ro;s.count=count;return status;
}`;
}
