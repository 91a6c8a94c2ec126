// The contract on servers that are fetched on demand (tools/fetch-servers.ts): `npm run
// test:servers`. Not among `npm test`'s files, since they take 240 MB and a minute.
import { mariadbGround } from './support/mariadb-ground.ts';
import { contract, stagedContract } from './support/target-contract.ts';

for (const version of ['MariaDB 11.4', 'MySQL 5.6'] as const) {
  contract(version, () => mariadbGround(version));
  contract(`${version} without LOAD DATA`, () =>
    mariadbGround(version, { settings: ['--local-infile=0'] }),
  );
}
// MySQL 5.6 has neither SKIP LOCKED nor the window functions of `dedupe`.
stagedContract('MariaDB 11.4', () => mariadbGround('MariaDB 11.4', { route: 'staged' }));
