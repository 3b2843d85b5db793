/** Stores for the transactions of a Seata server. */
import pg from 'pg'
import type { PostgresBed } from '../../postgres-bed.ts'

export interface Store {
  /** Properties of the server. */
  readonly settings: Readonly<Record<string, string>>
  readonly env: Readonly<Record<string, string>>
}

/** Default store: a file that is written without fsync, and row locks in memory. */
export const FILE_STORE: Store = { settings: { 'seata.store.mode': 'file' }, env: {} }

/** Tables for `store.mode=db`, with Seata's names and types. */
const TABLES = `
  CREATE TABLE global_table (
    xid varchar(128) PRIMARY KEY, transaction_id bigint, status smallint NOT NULL, application_id varchar(32),
    transaction_service_group varchar(32), transaction_name varchar(128), timeout int, begin_time bigint,
    application_data varchar(2000), gmt_create timestamp(0), gmt_modified timestamp(0));
  CREATE INDEX ON global_table (status, gmt_modified);
  CREATE INDEX ON global_table (transaction_id);
  CREATE TABLE branch_table (
    branch_id bigint PRIMARY KEY, xid varchar(128) NOT NULL, transaction_id bigint, resource_group_id varchar(32),
    resource_id varchar(256), branch_type varchar(8), status smallint, client_id varchar(64),
    application_data varchar(2000), gmt_create timestamp(6), gmt_modified timestamp(6));
  CREATE INDEX ON branch_table (xid);
  CREATE TABLE lock_table (
    row_key varchar(128) PRIMARY KEY, xid varchar(128), transaction_id bigint, branch_id bigint NOT NULL,
    resource_id varchar(256), table_name varchar(32), pk varchar(36), status smallint NOT NULL DEFAULT 0,
    gmt_create timestamp(0), gmt_modified timestamp(0));
  CREATE INDEX ON lock_table (branch_id);
  CREATE INDEX ON lock_table (xid);
  CREATE INDEX ON lock_table (status);
  CREATE TABLE distributed_lock (lock_key varchar(20) PRIMARY KEY, lock_value varchar(20) NOT NULL, expire bigint NOT NULL);
  INSERT INTO distributed_lock
    SELECT name, ' ', 0 FROM unnest('{AsyncCommitting,RetryCommitting,RetryRollbacking,TxTimeoutCheck}'::text[]) name`

/** A database of its own on the server that the accounts are on: as durable as ours. */
export async function databaseStore(postgres: PostgresBed, name: string): Promise<Store> {
  const connectionString = await postgres.database(name)
  const client = new pg.Client({ connectionString })
  await client.connect()
  await client.query(TABLES)
  await client.end()
  const { username, password } = new URL(connectionString)
  const settings = {
    'seata.store.mode': 'db',
    'seata.store.db.datasource': 'hikari',
    'seata.store.db.db-type': 'postgresql',
    'seata.store.db.driver-class-name': 'org.postgresql.Driver',
    'seata.store.db.min-conn': '10',
    'seata.store.db.max-conn': '100',
  }
  const env = {
    SEATA_STORE_DB_URL: jdbcUrl(connectionString),
    SEATA_STORE_DB_USER: decodeURIComponent(username),
    SEATA_STORE_DB_PASSWORD: decodeURIComponent(password),
  }
  return { settings, env }
}

/** JDBC address without user and password. */
export function jdbcUrl(connectionString: string): string {
  const { host, pathname } = new URL(connectionString)
  return `jdbc:postgresql://${host}${pathname}`
}
