/**
 * The tables of the lock store. Times are microseconds of the server's clock.
 *
 * - `lock_key`: one row per key: the last granted token, whatever the mode, and the exclusive holder. Every step that may admit
 *   or remove a holder locks this row first. Its columns except the key are in no index, so updates are HOT.
 * - `lock_holder`: readers and the holders of permits. `lock_waiter`: the queue, in the order of `place`.
 * - `lock_client`: a waiting client of the store: until when it counts as alive, whether it receives NOTIFY, and its server
 *   process: when that is gone, so is the client, long before its time is over.
 * - `lock_dead`: values that are refused; with `mark` if an operator ended their lease.
 * - `lock_audit`: forced releases. `lock_upkeep`: one row; a new key gets no token at or below `floor`, because rows of long
 *   unused keys are deleted.
 * - `lock_guard`: always empty; a row that is inserted and deleted again is checked when its transaction commits.
 */
import type { SqlPart } from '../../core/migrate.ts'
import { BUSY_TABLE } from '../../core/sql-function-snippets.ts'
import { FUNCTIONS } from './functions.ts'
import { GUARD_FUNCTIONS } from './functions-commit-guard.ts'
import { OPERATOR_FUNCTIONS } from './functions-operator.ts'

export const LOCK_STORE_PART: SqlPart = {
  name: 'lock-store',
  call: 'locks.migrate()',
  migrations: [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.lock_key (
           key text COLLATE "C" PRIMARY KEY,
           token bigint NOT NULL,
           value text,
           owner text,
           since_us bigint NOT NULL DEFAULT 0,
           frees_us bigint NOT NULL DEFAULT 0,
           hold_ms bigint NOT NULL DEFAULT 0,
           delay_ms int NOT NULL DEFAULT 0
         ) WITH (fillfactor = 70, ${BUSY_TABLE})`,
        `CREATE TABLE {schema}.lock_holder (
           key text COLLATE "C" NOT NULL,
           value text NOT NULL,
           token bigint NOT NULL,
           owner text NOT NULL,
           most bigint NOT NULL,
           since_us bigint NOT NULL,
           frees_us bigint NOT NULL,
           hold_ms bigint NOT NULL,
           delay_ms int NOT NULL,
           PRIMARY KEY (key, value)
         ) WITH (fillfactor = 70, ${BUSY_TABLE})`,
        `CREATE TABLE {schema}.lock_waiter (
           key text COLLATE "C" NOT NULL,
           place bigint GENERATED ALWAYS AS IDENTITY,
           value text NOT NULL,
           client text NOT NULL,
           home text NOT NULL,
           owner text NOT NULL,
           shared boolean NOT NULL,
           most bigint NOT NULL,
           kept_us bigint NOT NULL,
           ttl_ms bigint NOT NULL,
           delay_ms int NOT NULL,
           floor bigint NOT NULL,
           hand_over boolean NOT NULL,
           PRIMARY KEY (key, place),
           UNIQUE (key, value)
         ) WITH (fillfactor = 70, ${BUSY_TABLE})`,
        `CREATE TABLE {schema}.lock_client (
           client text PRIMARY KEY, live_us bigint NOT NULL, hears boolean NOT NULL, backend int
         ) WITH (fillfactor = 50, ${BUSY_TABLE})`,
        `CREATE TABLE {schema}.lock_dead (value text PRIMARY KEY, until_us bigint NOT NULL, mark json) WITH (${BUSY_TABLE})`,
        `CREATE TABLE {schema}.lock_audit (
           key text COLLATE "C" NOT NULL,
           entry bigint GENERATED ALWAYS AS IDENTITY,
           at_us bigint NOT NULL,
           token bigint NOT NULL,
           mark json NOT NULL,
           ended json NOT NULL,
           PRIMARY KEY (key, entry)
         )`,
        `CREATE TABLE {schema}.lock_upkeep (
           one boolean PRIMARY KEY DEFAULT true CHECK (one), floor bigint NOT NULL, swept_us bigint NOT NULL, keys_us bigint NOT NULL
         ) WITH (fillfactor = 50)`,
        `INSERT INTO {schema}.lock_upkeep (floor, swept_us, keys_us) VALUES (0, 0, 0)`,
        `CREATE UNLOGGED TABLE {schema}.lock_guard (key text COLLATE "C" NOT NULL, token bigint NOT NULL) WITH (${BUSY_TABLE})`,
        ...FUNCTIONS,
        ...OPERATOR_FUNCTIONS,
        ...GUARD_FUNCTIONS,
      ],
    },
  ],
}
