// The source that decodes one value, by column type. Each piece begins with p at the value's first
// byte and o at its field, and ends behind both; `break rows` gives the row up. The variables are
// those of json-code.ts. Types without a piece of their own go through their encoder (`s.field`).
import type { ColumnType } from './columns.ts';
import { intRange } from './numeric.ts';

export interface ValueRules {
  readonly place: number;
  readonly slack: number;
  readonly isNullable: boolean;
  readonly isNonZero: boolean;
}

const four = (text: string): number => Buffer.from(text).readInt32LE(0);

/** Reads four bytes at `at` into `x`; true where they are digits. */
const isDigits4 = (at: string): string =>
  `(x=dv.getInt32(${at},true)-0x30303030|0,((x|(x+0x76767676|0))&0x80808080)===0)`;
/** Their value; the first digit is the low byte. */
const digits4 = '(Math.imul(Math.imul(x,2561)>>>8&0x00ff00ff,6553601)>>>16)';
const isDigit = '(d=src[p]-48)>=0&&d<=9';

/** A number may stand in quotes. */
const openQuote = 'const q=src[p]===34;if(q)p++;let neg=false;if(src[p]===45){neg=true;p++}';
const closeQuote = 'if(q&&src[p++]!==34)break rows;';

/** Up to 16 digits: the first 8 in a, the others (nb of them) in b. */
const integerDigits = `
let a=0,b=0,nb=0,x=0,d=0;const s0=p;
if(${isDigits4('p')}){a=${digits4};p+=4;
 if(${isDigits4('p')}){a=Math.imul(a,10000)+${digits4}|0;p+=4;
  if(${isDigits4('p')}){b=${digits4};nb=4;p+=4;
   if(${isDigits4('p')}){b=Math.imul(b,10000)+${digits4}|0;nb=8;p+=4}}}}
while(p-s0<8&&${isDigit}){a=Math.imul(a,10)+d|0;p++}
if(p-s0>=8)while(nb<8&&${isDigit}){b=Math.imul(b,10)+d|0;nb++;p++}
const n=p-s0;if(n===0||(n>1&&src[s0]===48))break rows;`;

function intCode(type: Extract<ColumnType, { kind: 'int' }>, rules: ValueRules): string {
  const range = intRange(type);
  const low = Math.max(Number(range.min), Number.MIN_SAFE_INTEGER);
  const high = Math.min(Number(range.max), Number.MAX_SAFE_INTEGER);
  const write = {
    2: 'odv.setInt32(o,2);odv.setInt16(o+4,t);o+=6;',
    4: 'odv.setInt32(o,4);odv.setInt32(o+4,t);o+=8;',
    8: `const hi=Math.floor(t/4294967296);
odv.setInt32(o,8);odv.setInt32(o+4,hi);odv.setInt32(o+8,t-hi*4294967296|0);o+=12;`,
  }[type.bytes];
  const number = `${openQuote}${integerDigits}${closeQuote}
t=n<=8?a:a*P10[nb]+b;if(neg)t=-t;`;
  const truth = `const w=dv.getInt32(p,true);
if(w===${four('true')}){t=1;p+=4}else if(w===${four('fals')}&&src[p+4]===101){t=0;p+=5}else`;
  return `let t=0;${type.booleans ? truth : ''}{${number}}
if(t<${low}||t>${high}${rules.isNonZero ? '||t===0' : ''})break rows;
${write}`;
}

/** Up to 8 digits before the point and 4 behind: at most three base-10000 digits h, l, f. */
function numericCode(type: Extract<ColumnType, { kind: 'numeric' }>, rules: ValueRules): string {
  const scale = type.scale ?? (type.precision === undefined ? undefined : 0);
  const integers = type.precision === undefined ? 8 : Math.min(8, type.precision - (scale ?? 0));
  const decimals = Math.min(4, scale ?? 4);
  return `${openQuote}let a=0,f=0,nf=0,d=0;const s0=p;
while(${isDigit}&&p-s0<9){a=Math.imul(a,10)+d|0;p++}
const n=p-s0;if(n===0||n>${integers}&&a!==0||n>8||(n>1&&src[s0]===48))break rows;
if(src[p]===46){p++;const s1=p;while(${isDigit}&&p-s1<5){f=Math.imul(f,10)+d|0;p++}
 nf=p-s1;if(nf===0||nf>${decimals})break rows;f=Math.imul(f,P10[4-nf])}
${closeQuote}
const h=(a/10000)|0,l=a-Math.imul(h,10000)|0,g=o+12;let nd=0,w=0;
if(h!==0){odv.setInt32(g,(h<<16)|l);w=1;if(f!==0){odv.setInt16(g+4,f);nd=3}else nd=l!==0?2:1}
else if(l!==0){odv.setInt32(g,(l<<16)|f);nd=f!==0?2:1}
else if(f!==0){odv.setInt16(g,f);nd=1;w=-1}
${rules.isNonZero ? 'if(nd===0)break rows;' : ''}${type.unsigned ? 'if(neg)break rows;' : ''}
odv.setInt32(o,8+2*nd);odv.setInt32(o+4,(nd<<16)|(w&0xffff));
odv.setInt32(o+8,(nd!==0&&neg?0x40000000:0)|${scale === undefined ? 'nf' : scale});o=g+2*nd;`;
}

/** So few digits that dividing by a power of ten rounds right, and the float gives them back. */
function floatCode(type: Extract<ColumnType, { kind: 'float' }>, rules: ValueRules): string {
  const digitsMax = type.bytes === 8 ? 15 : 6;
  const write =
    type.bytes === 8
      ? 'odv.setInt32(o,8);odv.setFloat64(o+4,t);o+=12;'
      : 'odv.setInt32(o,4);odv.setFloat32(o+4,t);o+=8;';
  return `${openQuote}let m=0,nf=0,d=0;const s0=p;
while(${isDigit}&&p-s0<16){m=m*10+d;p++}
const n=p-s0;if(n===0||(n>1&&src[s0]===48))break rows;
if(src[p]===46){p++;const s1=p;while(${isDigit}&&p-s1<16){m=m*10+d;p++}
 nf=p-s1;if(nf===0)break rows}
if(n+nf>${digitsMax})break rows;
${closeQuote}
let t=m/P10[nf];if(neg)t=-t;${rules.isNonZero ? 'if(m===0)break rows;' : ''}
${type.unsigned ? 'if(neg)break rows;' : ''}
${write}`;
}

function boolCode(rules: ValueRules): string {
  const onFalse = rules.isNonZero
    ? 'break rows'
    : `if(w!==${four('fals')}||src[p+4]!==101)break rows;p+=5;v=0`;
  return `const w=dv.getInt32(p,true);let v=1;
if(w===${four('true')})p+=4;else{${onFalse}}
odv.setInt32(o,1);out[o+4]=v;o+=5;`;
}

const unbounded = Number.POSITIVE_INFINITY;

/** Without escapes; found and copied four bytes at a time, other than ASCII checked on the way. */
function textCode(type: Extract<ColumnType, { kind: 'text' }>, rules: ValueRules): string {
  const tests: string[] = [];
  const max = Math.min(type.charactersMax ?? unbounded, type.bytesMax ?? unbounded);
  if (max !== unbounded) tests.push(`n>${max}`);
  if (type.padded) tests.push('n>0&&src[p-1]===32');
  if (rules.isNonZero) tests.push('n===0');
  const test = tests.length > 0 ? `if(${tests.join('||')})break rows;` : '';
  return `if(src[p]!==34)break rows;p++;const s0=p,g=o+4-p;
for(;;){const w=dv.getInt32(p,true);odv.setInt32(g+p,w,true);
 const a=w^0x22222222,b=w^0x5c5c5c5c;
 const m=(((a-0x01010101)&~a)|((b-0x01010101)&~b)|(w-0x20202020)|w)&0x80808080;
 if(m===0){p+=4;if(g+p>olim){status=2;break rows}continue}
 p+=(31-Math.clz32(m&-m))>>>3;
 const c=src[p];if(c===34)break;if(c<32||c===92)break rows;
 const e=s.utf8(src,p,end);if(e<0)break rows;
 if(g+e>olim){status=2;break rows}
 for(;p<e;p++)out[g+p]=src[p]}
const n=p-s0;${test}odv.setInt32(o,n);o+=4+n;p++;`;
}

/**
 * The variables that remember the last day of a timestamp column: its three words and its number.
 * The third word has three bytes: -1 is no day.
 */
export const dayNames = (place: number): [string, string, string, string] => [
  `year${place}`,
  `month${place}`,
  `day${place}`,
  `base${place}`,
];

/** "YYYY-MM-DDTHH:MM:SS[.ffffff]" and, where zoned, Z or ±HH:MM; see microsHalves. */
function timestampCode(
  type: Extract<ColumnType, { kind: 'timestamp' | 'timestamptz' }>,
  place: number,
): string {
  const { kind, fraction } = type;
  const zoned = kind === 'timestamptz';
  const secondsMax = kind === 'timestamptz' ? type.secondsMax : undefined;
  const since = `(days+10957)*86400+Math.floor(t/1000000)`;
  const range = `const since=${since};if(since<1||since>${secondsMax})break rows;`;
  const [year, month, day, base] = dayNames(place);
  const zone = `if(src[e]===90)e++;
else if(src[e]===43||src[e]===45){
 const k=src[e+1]-48,k2=src[e+2]-48,k3=src[e+4]-48,k4=src[e+5]-48;
 if(((k|k2|k3|k4)&-16)!==0||k>1||k2>9||k*10+k2>15||k3>5||k4>9||src[e+3]!==58)break rows;
 const off=((k*10+k2)*60+k3*10+k4)*60000000;t-=src[e]===43?off:-off;e+=6;
 if(t<0){t+=86400000000;days--}else if(t>=86400000000){t-=86400000000;days++}
 if(days<s.dayMin||days>s.dayMax)break rows}
else break rows;`;
  const unit = 10 ** (6 - fraction);
  return `if(src[p]!==34)break rows;
const y=dv.getInt32(p+1,true),mo=dv.getInt32(p+5,true),da=dv.getInt32(p+9,true)&0xffffff;
if(y!==${year}||mo!==${month}||da!==${day}){
 ${base}=s.day(src,p+1);if(${base}!==${base}){${day}=-1;break rows}
 ${year}=y;${month}=mo;${day}=da}
const h1=src[p+12]-48,h2=src[p+13]-48,m1=src[p+15]-48,m2=src[p+16]-48;
const x1=src[p+18]-48,x2=src[p+19]-48;
if(((h1|h2|m1|m2|x1|x2)&-16)!==0||h2>9||m1>5||m2>9||x1>5||x2>9)break rows;
if(src[p+14]!==58||src[p+17]!==58||h1*10+h2>23)break rows;
let us=0,e=p+20;
if(src[e]===46){e++;const s1=e;let d=0;
 while((d=src[e]-48)>=0&&d<=9&&e-s1<7){us=us*10+d;e++}
 const nf=e-s1;if(nf===0||nf>6)break rows;us*=P10[6-nf]}
${fraction < 6 ? `if(us%${unit}!==0)break rows;` : ''}
let days=${base},t=((h1*10+h2)*3600+(m1*10+m2)*60+x1*10+x2)*1000000+us;
${zoned ? zone : ''}${secondsMax === undefined ? '' : range}
if(src[e]!==34)break rows;p=e+1;
const sum=days*500654080+t,carry=Math.floor(sum/4294967296);
odv.setInt32(o,8);odv.setInt32(o+4,days*20+carry);odv.setInt32(o+8,sum-carry*4294967296|0);
o+=12;`;
}

/** Any other type: its encoder, which may replace the buffer. */
const fieldCode = ({ place, slack }: ValueRules): string => `p=s.field(${place},p,o);
if(p<0)break rows;
o=s.o;out=s.out;odv=s.odv;olim=out.length-${slack};if(o>olim){status=2;break rows}`;

/**
 * PostgreSQL also has scales below 0 and above the precision; and a float of four bytes keeps fewer
 * digits than the piece takes.
 */
const isCommon = (type: Extract<ColumnType, { kind: 'numeric' }>): boolean => {
  const { precision, scale = 0, viaSingle = false } = type;
  return !viaSingle && scale >= 0 && (precision === undefined || scale <= precision);
};

function ownCode(type: ColumnType, rules: ValueRules): string | null {
  switch (type.kind) {
    case 'int':
      return intCode(type, rules);
    case 'numeric':
      return isCommon(type) ? numericCode(type, rules) : null;
    case 'float':
      return floatCode(type, rules);
    case 'bool':
      return boolCode(rules);
    case 'text':
      return textCode(type, rules);
    case 'timestamp':
    case 'timestamptz':
      return timestampCode(type, rules.place);
    default:
      return null;
  }
}

export function valueCode(type: ColumnType, rules: ValueRules): string {
  const own = ownCode(type, rules);
  if (own === null) return fieldCode(rules);
  if (!rules.isNullable) return `{${own}}`;
  const isNull = `dv.getInt32(p,true)===${four('null')}`;
  return `if(${isNull}){odv.setInt32(o,-1);o+=4;p+=4}else{${own}}`;
}
