/**
 * MariaDB and MySQL as the resource of an `xaParticipant`, on the driver `mysql2`.
 *
 * @module
 */
export { MysqlUnanswered } from './bounded-pool.ts'
export type { MysqlCallbackPool, MysqlConnection, MysqlPool, MysqlResult } from './driver.ts'
export { XA_TABLE_DDL } from './gate-table.ts'
export type { MysqlTransaction } from './handler-transaction.ts'
export { type MysqlResourceOptions, type MysqlXaResource, mysqlResource } from './resource.ts'
