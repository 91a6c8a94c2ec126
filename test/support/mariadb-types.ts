// A table with every type of MariaDB, a row at their ends, and what the server must say of it.

export const everyType = `(id int unsigned PRIMARY KEY, t tinyint, tu tinyint unsigned, m mediumint,
  b bigint, bu bigint unsigned, yes tinyint(1), d decimal(65,30), f float, g double, bit1 bit(1),
  bit12 bit(12), bit64 bit(64), y year, da date, ti time(6), dt datetime(6), ts timestamp(6) NULL,
  e enum('new','it''s'), s set('a','b','c'), c char(5), v varchar(20), l1 varchar(20) CHARACTER SET
  latin1, u16 varchar(20) CHARACTER SET utf16, x text, j json, bin binary(3), vb varbinary(300),
  bl blob, ip inet6, twice bigint AS (id * 2) STORED)`;

const allBytes = Uint8Array.from({ length: 256 }, (_, i) => i);

export const everyRow = {
  id: 4_294_967_295n,
  t: -128n,
  tu: 255n,
  m: -8_388_608n,
  b: -9_223_372_036_854_775_808n,
  bu: 18_446_744_073_709_551_615n,
  yes: true,
  d: '-12345678901234567890123456789012345.123456789012345678901234567891',
  f: 1.1,
  g: 5e-324,
  bit1: 1n,
  bit12: 0xa09n,
  bit64: 18_446_744_073_709_551_615n,
  y: 2155n,
  da: '0001-01-01',
  ti: '23:59:59.000001',
  dt: '9999-12-31T23:59:59.999999',
  ts: '2038-01-19T03:14:07.999999Z',
  e: "it's",
  s: 'c,a',
  c: 'é ',
  v: 'a\tb\\n\n\'"`;--\u0001😀',
  l1: 'café\t',
  u16: 'é😀',
  x: '\\N',
  j: '{"b": 1.50, "a" : "\\\\\\t\\""}',
  bin: Uint8Array.of(0, 9, 92),
  vb: allBytes,
  bl: allBytes,
  ip: '::1',
};

/** What the server says of it, values that a driver might change as text. */
export const everyStored = `SELECT id, t, tu, m, CAST(b AS CHAR) AS b, CAST(bu AS CHAR) AS bu, yes,
  CAST(d AS CHAR) AS d, f = CAST(1.1 AS FLOAT) AS f, g = 5e-324 AS g,
  CAST(bit1 + 0 AS CHAR) AS bit1, CAST(bit12 + 0 AS CHAR) AS bit12, HEX(bit64) AS bit64, y, da, ti,
  dt, ts, e, s, HEX(c) AS c, HEX(v) AS v, HEX(l1) AS l1, HEX(u16) AS u16, x, HEX(j) AS j,
  HEX(bin) AS bin, HEX(vb) AS vb, HEX(bl) AS bl, ip, CAST(twice AS CHAR) AS twice`;

const hex = (text: string, encoding: BufferEncoding = 'utf8') =>
  Buffer.from(text, encoding).toString('hex').toUpperCase();
const all = Buffer.from(allBytes).toString('hex').toUpperCase();
export const everyWanted = {
  ...{ id: 4_294_967_295, t: -128, tu: 255, m: -8_388_608, b: String(everyRow.b) },
  ...{ bu: String(everyRow.bu), yes: 1, d: everyRow.d, f: 1, g: 1, bit1: '1' },
  ...{ bit12: '2569', bit64: 'FFFFFFFFFFFFFFFF', y: 2155, da: '0001-01-01' },
  ...{ ti: '23:59:59.000001', dt: '9999-12-31 23:59:59.999999' },
  ...{ ts: '2038-01-19 03:14:07.999999', e: "it's", s: 'a,c', c: hex('é'), v: hex(everyRow.v) },
  ...{ l1: hex('café\t', 'latin1'), u16: '00E9D83DDE00', x: '\\N', j: hex(everyRow.j) },
  ...{ bin: '00095C', vb: all, bl: all, ip: '::1', twice: '8589934590' },
};
