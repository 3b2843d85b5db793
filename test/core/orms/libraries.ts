/** The libraries whose transactions are joined, each on the same database. */

import type { SqlTransaction } from 'concordat/core'
import {
  drizzleTransaction,
  knexTransaction,
  kyselyTransaction,
  mikroOrmTransaction,
  postgresTransaction,
  prismaTransaction,
  typeormTransaction,
} from 'concordat/core/orms'
import { pgTransaction } from 'concordat/core/pg'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import {
  DataSource,
  drizzle,
  drizzleOnPostgresJs,
  EntitySchema,
  knexOf,
  MikroORM,
  MikroSchema,
  PrismaClient,
  PrismaPg,
  pgOfPrisma,
  pgTable,
  postgres,
  sql,
  text,
} from './installed/packages.ts'

export const orders = pgTable('orders', { orderId: text('order_id').primaryKey(), by: text('by') })

export const OrderEntity = new EntitySchema<{ orderId: string; by: string }>({
  name: 'orders',
  columns: { orderId: { type: 'text', primary: true, name: 'order_id' }, by: { type: 'text' } },
})

const MikroOrder = new MikroSchema<{ orderId: string; by: string }>({
  name: 'MikroOrder',
  tableName: 'orders',
  properties: { orderId: { type: 'text', primary: true, fieldName: 'order_id' }, by: { type: 'text' } },
})

/** A table with two columns, as Kysely types it. */
export interface Tables {
  readonly orders: { readonly order_id: string; readonly by: string }
}

export interface Library {
  /** Stores the order by the library and calls `work` in the same transaction. */
  place(orderId: string, work: (tx: SqlTransaction) => Promise<unknown>): Promise<unknown>
  /** Returns a value that is not a transaction. */
  wrong(): unknown
  /** Error of a statement after the end. */
  readonly ended: string
  close(): unknown
}

/** @param max connections of its pool */
type Open = (url: string, max?: number) => Library

export const LIBRARIES: Readonly<Record<string, Open>> = {
  pg: (url, max = 2) => {
    const pool = new pg.Pool({ connectionString: url, max })
    return {
      ended: 'core.sql_transaction_missing',
      place: async (orderId, work) => {
        const client = await pool.connect()
        try {
          await client.query('BEGIN')
          await client.query('INSERT INTO orders VALUES ($1, $2)', [orderId, 'pg'])
          await work(pgTransaction(client))
          await client.query('COMMIT')
        } catch (error) {
          await client.query('ROLLBACK')
          throw error
        } finally {
          client.release()
        }
      },
      wrong: () => pgTransaction(pool as never),
      close: () => pool.end(),
    }
  },
  Drizzle: (url, max = 2) => {
    const pool = new pg.Pool({ connectionString: url, max })
    const db = drizzle(pool)
    return {
      ended: 'core.sql_transaction_missing',
      place: (orderId, work) =>
        db.transaction(async (tx) => {
          await tx.insert(orders).values({ orderId, by: 'drizzle' })
          await work(drizzleTransaction(tx, sql))
        }),
      wrong: () => drizzleTransaction(db as never, sql),
      close: () => pool.end(),
    }
  },
  'Drizzle on postgres.js': (url, max = 2) => {
    const client = postgres(url, { max })
    const db = drizzleOnPostgresJs(client)
    return {
      ended: 'core.sql_transaction_ended',
      place: (orderId, work) =>
        db.transaction(async (tx) => {
          await tx.insert(orders).values({ orderId, by: 'drizzle' })
          await work(drizzleTransaction(tx, sql))
        }),
      wrong: () => drizzleTransaction(client as never, sql),
      close: () => client.end(),
    }
  },
  Kysely: (url, max = 2) => {
    const db = new Kysely<Tables>({
      dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max }) }),
    })
    return {
      ended: '',
      place: (orderId, work) =>
        db.transaction().execute(async (trx) => {
          await trx.insertInto('orders').values({ order_id: orderId, by: 'kysely' }).execute()
          await work(kyselyTransaction(trx))
        }),
      wrong: () => kyselyTransaction(db),
      close: () => db.destroy(),
    }
  },
  Knex: (url, max = 2) => {
    const knex = knexOf({ client: 'pg', connection: url, pool: { min: 0, max } })
    return {
      ended: 'core.sql_transaction_ended',
      place: (orderId, work) =>
        knex.transaction(async (trx) => {
          await trx('orders').insert({ order_id: orderId, by: 'knex' })
          await work(knexTransaction(trx))
        }),
      wrong: () => knexTransaction(knex as never),
      close: () => knex.destroy(),
    }
  },
  MikroORM: (url, max = 2) => {
    const opened = MikroORM.init({
      clientUrl: url,
      entities: [MikroOrder],
      discovery: { warnWhenNoEntities: false },
      pool: { min: 0, max },
    })
    return {
      ended: 'core.sql_transaction_missing',
      place: async (orderId, work) =>
        (await opened).em.fork().transactional(async (em) => {
          await em.insert(MikroOrder, { orderId, by: 'mikro-orm' })
          await work(mikroOrmTransaction(em))
        }),
      wrong: () => mikroOrmTransaction({ getTransactionContext: () => undefined }),
      close: async () => (await opened).close(),
    }
  },
  'postgres.js': (url, max = 2) => {
    const db = postgres(url, { max })
    return {
      ended: 'core.sql_transaction_ended',
      place: (orderId, work) =>
        db.begin(async (tx) => {
          await tx`INSERT INTO orders VALUES (${orderId}, 'postgres.js')`
          await work(postgresTransaction(tx))
        }),
      wrong: () => postgresTransaction(db as never),
      close: () => db.end(),
    }
  },
  Prisma: (url, max = 2) => {
    const pool = new pgOfPrisma.Pool({ connectionString: url, max })
    const prisma = new PrismaClient({ adapter: new PrismaPg(pool) })
    return {
      ended: 'core.sql_transaction_ended',
      place: (orderId, work) =>
        prisma.$transaction(async (tx) => {
          await tx.order.create({ data: { orderId, by: 'prisma' } })
          await work(prismaTransaction(tx))
        }),
      wrong: () => prismaTransaction(prisma as never),
      close: async () => {
        await prisma.$disconnect()
        await pool.end()
      },
    }
  },
  TypeORM: (url, max = 2) => {
    const source = new DataSource({ type: 'postgres', url, entities: [OrderEntity], poolSize: max })
    const opened = source.initialize()
    return {
      ended: 'core.sql_transaction_ended',
      place: async (orderId, work) =>
        (await opened).transaction(async (manager) => {
          await manager.insert(OrderEntity, { orderId, by: 'typeorm' })
          await work(typeormTransaction(manager))
        }),
      wrong: () => typeormTransaction(source.manager),
      close: () => source.destroy(),
    }
  },
}
