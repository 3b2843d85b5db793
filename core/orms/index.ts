/**
 * Transactions of other libraries as a `SqlTransaction`: `outbox.add(knexTransaction(trx), ...)` inside them. No library is
 * imported. For the other direction, `pgConnection` of `concordat/core/pg` passes the transaction of a handler to a library.
 *
 * @module
 */
export { drizzleTransaction } from './drizzle.ts'
export { knexTransaction } from './knex.ts'
export { kyselyClient, kyselyTransaction } from './kysely.ts'
export { mikroOrmTransaction } from './mikro-orm.ts'
export { postgresTransaction } from './postgres-js.ts'
export { prismaTransaction } from './prisma.ts'
export { typeormTransaction } from './typeorm.ts'
