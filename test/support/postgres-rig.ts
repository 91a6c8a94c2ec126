// A stream on a PostgreSQL database, for tests of what only PostgreSQL does.
import { systemClock } from '../../src/clock.ts';
import { type PostgresOptions, postgresTarget } from '../../src/target/postgres/target.ts';
import { query } from './postgres.ts';
import { TargetRig } from './target-rig.ts';

export class Rig extends TargetRig {
  constructor(url: string, options: Partial<PostgresOptions> = {}) {
    super(url, postgresTarget(url, { clock: systemClock, ...options }), query);
  }
}
