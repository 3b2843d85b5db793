/**
 * Transactions of other libraries as a `SqlTransaction`: `outbox.add(knexTransaction(trx), ...)` in theirs. No library is imported. The
 * other way round, `pgConnection` of `concordat/core/pg` gives the transaction of a handler to a library.
 *
 * @module
 */
export { type DrizzleSql, type DrizzleTransaction, drizzleTransaction } from './drizzle.ts'
export { type KnexTransaction, knexTransaction } from './knex.ts'
export { type MikroOrmTransaction, mikroOrmTransaction } from './mikro-orm.ts'
export { type PostgresJsTransaction, postgresTransaction } from './postgres-js.ts'
export { type PrismaTransaction, prismaTransaction } from './prisma.ts'
export { type TypeormTransaction, typeormTransaction } from './typeorm.ts'
