/** Members of this folder's packages that the tests use. The package itself cannot be imported here: this folder is another package. */
export { EntitySchema as MikroSchema, MikroORM } from '@mikro-orm/postgresql'
export { PrismaPg } from '@prisma/adapter-pg'
export { eq, sql } from 'drizzle-orm'
export { drizzle } from 'drizzle-orm/node-postgres'
export { pgTable, text } from 'drizzle-orm/pg-core'
export { drizzle as drizzleOnPostgresJs } from 'drizzle-orm/postgres-js'
export { default as knexOf } from 'knex'
// Prisma recognizes its pools by their class, and so needs the copy of `pg` beside it.
export { default as pgOfPrisma } from 'pg'
export { default as postgres } from 'postgres'
export { DataSource, EntitySchema } from 'typeorm'
export { PrismaClient } from './prisma/generated/client.ts'
