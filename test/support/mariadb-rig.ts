// A stream on a database of MariaDB or MySQL, for tests of what only these do.
import { systemClock } from '../../src/clock.ts';
import { type MysqlOptions, mysqlTarget } from '../../src/target/mysql/target.ts';
import { query } from './mariadb.ts';
import { TargetRig } from './target-rig.ts';

export class Rig extends TargetRig {
  constructor(url: string, options: Partial<MysqlOptions> = {}) {
    super(url, mysqlTarget(url, { clock: systemClock, ...options }), query);
  }
}
