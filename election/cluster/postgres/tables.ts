/**
 * The tables of the cluster store. Times and revisions are microseconds of the server's clock. A log is called `members`
 * or `state/<name>`.
 *
 * - `cluster_head`: one row per log: its last revision, and the one before the first entry that is kept (`floor`). Every
 *   change of a log locks it first. Of the members also: the last generation, and when they were swept.
 * - `cluster_log`: the entries. `cluster_entry`: the keys of states; deleted ones have no json.
 * - `cluster_tomb`: deleted keys by revision. `cluster_bound`: what is deleted with a generation.
 * - `cluster_member`; `cluster_gone`: joins that were given up. `cluster_request`: writes whose answer was lost. A minute.
 */
import type { SqlPart } from '../../../core/migrate.ts'
import { BUSY_TABLE } from '../../../core/sql-function-snippets.ts'
import { LOG_FUNCTIONS } from './functions-log.ts'
import { MEMBER_FUNCTIONS } from './functions-members.ts'
import { STATE_FUNCTIONS } from './functions-state.ts'

const LOG = 'cluster text COLLATE "C" NOT NULL, log text COLLATE "C" NOT NULL'

export const CLUSTER_PART: SqlPart = {
  name: 'cluster',
  call: 'store.migrate()',
  migrations: [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.cluster_head (
           ${LOG},
           revision bigint NOT NULL DEFAULT 0,
           floor bigint NOT NULL DEFAULT 0,
           entries int NOT NULL DEFAULT 0,
           keep int NOT NULL DEFAULT 1000,
           generation bigint NOT NULL DEFAULT 0,
           swept_us bigint,
           run bigint,
           next_due_us bigint NOT NULL DEFAULT 9223372036854775807,
           PRIMARY KEY (cluster, log)
         ) WITH (fillfactor = 50, ${BUSY_TABLE})`,
        `CREATE TABLE {schema}.cluster_log (
           ${LOG},
           revision bigint NOT NULL,
           previous bigint NOT NULL,
           request text NOT NULL,
           changes text NOT NULL,
           PRIMARY KEY (cluster, log, revision)
         ) WITH (${BUSY_TABLE})`,
        `CREATE TABLE {schema}.cluster_entry (
           ${LOG},
           key text COLLATE "C" NOT NULL,
           version bigint NOT NULL,
           json text,
           instance text COLLATE "C",
           generation bigint,
           PRIMARY KEY (cluster, log, key)
         ) WITH (fillfactor = 70, ${BUSY_TABLE})`,
        `CREATE TABLE {schema}.cluster_tomb (
           ${LOG}, version bigint NOT NULL, key text COLLATE "C" NOT NULL, PRIMARY KEY (cluster, log, version, key)
         ) WITH (${BUSY_TABLE})`,
        `CREATE TABLE {schema}.cluster_bound (
           cluster text COLLATE "C" NOT NULL, instance text COLLATE "C" NOT NULL, generation bigint NOT NULL,
           log text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, PRIMARY KEY (cluster, instance, generation, log, key)
         ) WITH (${BUSY_TABLE})`,
        `CREATE TABLE {schema}.cluster_member (
           cluster text COLLATE "C" NOT NULL,
           instance text COLLATE "C" NOT NULL,
           generation bigint NOT NULL,
           status text NOT NULL,
           joined_at bigint NOT NULL,
           sequence bigint NOT NULL,
           suspect_ms bigint NOT NULL,
           dead_ms bigint NOT NULL,
           join_id text NOT NULL,
           json text NOT NULL,
           due_us bigint NOT NULL,
           PRIMARY KEY (cluster, instance)
         ) WITH (fillfactor = 50, ${BUSY_TABLE})`,
        `CREATE TABLE {schema}.cluster_request (
           cluster text COLLATE "C" NOT NULL, request text NOT NULL, attempt int NOT NULL, revision bigint NOT NULL,
           until_us bigint NOT NULL, PRIMARY KEY (cluster, request)
         )`,
        `CREATE TABLE {schema}.cluster_gone (
           cluster text COLLATE "C" NOT NULL, join_id text NOT NULL, until_us bigint NOT NULL, PRIMARY KEY (cluster, join_id)
         )`,
        ...LOG_FUNCTIONS,
        ...STATE_FUNCTIONS,
        ...MEMBER_FUNCTIONS,
      ],
    },
  ],
}
