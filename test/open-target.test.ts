import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../src/clock.ts';
import { splitHosts } from '../src/target/hosts.ts';
import { placeOf } from '../src/target/mysql/url.ts';
import { openTarget, redactUrl } from '../src/target/open.ts';

test('a password never leaves redactUrl', () => {
  const cases = [
    ['postgres://u:p%40ss@a:1,b:2/db?x=1', 'postgres://u:***@a:1,b:2/db?x=1'],
    ['postgresql://u@a/db?password=secret&x=1', 'postgresql://u@a/db?password=***&x=1'],
    ['postgres://u:p@s/s@a/db', 'postgres://u:***@a/db'],
    ['postgres://a/db', 'postgres://a/db'],
    ['mysql://u:p@ss@a,b:2/db?ssl=true', 'mysql://u:***@a,b:2/db?ssl=true'],
    ['sqlite:./a:b@c.db', 'sqlite:./a:b@c.db'],
  ];
  for (const [url = '', redacted] of cases) assert.equal(redactUrl(url), redacted);
});

test('each host of a list gets the whole rest of the URL', () => {
  assert.deepEqual(splitHosts('postgres://u:p@a:1,[::1]:2,c/db?sslmode=require'), [
    'postgres://u:p@a:1/db?sslmode=require',
    'postgres://u:p@[::1]:2/db?sslmode=require',
    'postgres://u:p@c/db?sslmode=require',
  ]);
});

test('an unknown scheme is the caller’s mistake, and the known ones are named', async () => {
  for (const url of ['oracle://a/b', 'shop.db', '']) {
    await assert.rejects(openTarget(url, { clock: systemClock }), {
      code: 'HF_USAGE',
      message: /postgres:\/\/.*mysql:\/\/.*sqlite:/,
    });
  }
});

test('a mysql:// URL says host, port, user, database and TLS, and nothing unknown', () => {
  assert.deepEqual(placeOf('mariadb://us%40er:p%2Fw@[::1]:3307/my%20shop'), {
    host: '::1',
    port: 3307,
    user: 'us@er',
    password: 'p/w',
    database: 'my shop',
    ssl: undefined,
  });
  const { port, ssl } = placeOf('mysql://db/shop?ssl=true&ssl-verify=false');
  assert.equal(port, 3306);
  assert.deepEqual(ssl, { rejectUnauthorized: false, verifyIdentity: false });
  assert.equal(placeOf('mysql://db/shop?ssl=true').ssl?.verifyIdentity, true);
  assert.throws(() => placeOf('mysql://db/shop?ssl-ca=/no/such/file'), /ssl-ca.*ENOENT/);
  for (const url of ['mysql://db', 'mysql://db/', 'mysql://db/shop?charset=latin1', 'mysql://:x']) {
    assert.throws(() => placeOf(url), { code: 'HF_USAGE' }, url);
  }
});
