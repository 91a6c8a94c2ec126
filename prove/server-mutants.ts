// Broken builds of the targets of real servers, and which cases of the campaigns on those servers
// must notice them.
import type { Killer, Mutant } from './mutant-list.ts';

/** Names of cases, in parts; their statements are struck before the server hears them. */
const commits = (only: string): Killer => ({ campaign: 'commits', count: 6, only });
const failovers = (only: string): Killer => ({ campaign: 'failovers', count: 1, only });
const onPostgres = commits('PostgreSQL, new rows, no key; same server; before');
const onMariadb = commits('MariaDB, new rows, no key; same server; before');

export const serverMutants: readonly Mutant[] = [
  {
    name: 'PostgreSQL: an unanswered COMMIT counts as done',
    file: 'src/target/postgres/connection.ts',
    search: "      if (this.isClosed || then !== '') {\n",
    replace:
      "      if (this.isClosed) return [{ command: 'COMMIT' } as pg.QueryResult<Row>];\n" +
      "      if (then !== '') {\n",
    killer: onPostgres,
  },
  {
    name: 'MariaDB: an unanswered COMMIT counts as done',
    file: 'src/target/mysql/connection.ts',
    search: "        this.destroy();\n        throw new TargetError('ambiguous'",
    replace: "        if (kind === 'lost') return;\n        throw new TargetError('ambiguous'",
    killer: onMariadb,
  },
  {
    name: 'PostgreSQL: the books outside the transaction of the rows',
    file: 'src/target/postgres/merge.ts',
    search: '      await settle(connection, batch, placed);\n',
    replace:
      "      await connection.commit();\n      await connection.script('BEGIN');\n" +
      '      await settle(connection, batch, placed);\n',
    killer: onPostgres,
  },
  {
    name: 'MariaDB: the books outside the transaction of the rows',
    file: 'src/target/mysql/merge.ts',
    search: '      await settle(connection, batch, {',
    replace:
      "      await connection.commit();\n      await connection.script('START TRANSACTION');\n" +
      '      await settle(connection, batch, {',
    killer: onMariadb,
  },
  {
    name: 'PostgreSQL: every standby has everything',
    file: 'src/target/postgres/standby.ts',
    search: "return row?.['reached'] === true;",
    replace: 'return row !== undefined;',
    killer: failovers('PostgreSQL, behind'),
  },
  {
    name: 'PostgreSQL: an old primary is as good as the new one',
    file: 'src/target/postgres/target.ts',
    search: '    if (timeline < newest) {',
    replace: '    if (timeline < 0 * newest) {',
    killer: failovers('PostgreSQL, comes back'),
  },
];
