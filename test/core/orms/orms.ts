import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { inspect, promisify } from 'node:util'
import { defineChannel, encodeMessage, sink } from 'concordat/binder'
import { type SqlTransaction, silentLogger } from 'concordat/core'
import { pgClient, pgConnection } from 'concordat/core/pg'
import { memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { createService } from 'concordat/service'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createPlainDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { until } from '../../support/until.ts'
import { DataSource, drizzle, eq, knexOf } from './installed/packages.ts'
import { LIBRARIES, type Library, OrderEntity, orders, type Tables } from './libraries.ts'

const Order = z.object({ orderId: z.string() })
const placed = defineChannel('orders.placed', { payload: Order, key: (order) => order.orderId })
const placeOrder = defineSaga('place-order', { version: 1, input: Order }).step('confirm', {
  pivot: true,
  invoke: () => {},
})

/** Transactions of other libraries. */
export function tests(): void {
  test('the types of the libraries fit those of the package', async () => {
    const tsc = resolve('node_modules/typescript/bin/tsc')
    const found = await promisify(execFile)(process.execPath, [tsc, '-p', import.meta.dirname]).catch(
      (error: { stdout: string }) => error,
    )
    expect(found.stdout).toBe('')
  })

  let database: TestDatabase
  beforeAll(async () => {
    database = await createPlainDatabase()
    await database.sql.query('CREATE TABLE orders (order_id text PRIMARY KEY, by text)')
  })
  afterAll(() => database.drop())

  describe('our outbox and our sagas in an ORM’s transaction', () => {
    const setup = () => {
      const { sql } = database
      const outbox = createOutbox({ sql, service: 'orders' })
      return { sql, outbox, coordinator: createCoordinator({ service: 'orders', sql, outbox, sagas: [placeOrder] }) }
    }
    beforeAll(async () => {
      const { outbox, coordinator } = setup()
      await outbox.migrate()
      await coordinator.migrate()
    })

    describe.for(Object.entries(LIBRARIES))('%s', ([name, open]) => {
      let library: Library
      let parts: ReturnType<typeof setup>
      beforeAll(() => {
        library = open(database.url)
        parts = setup()
      })
      afterAll(() => library.close())

      /** Does everything that a transaction may do here. */
      const work = (orderId: string) => async (tx: SqlTransaction) => {
        await parts.outbox.add(tx, placed, { orderId }, { headers: { note: '"quoted" ?', n: 1 } })
        const more = await Promise.all([1, 2].map(async () => encodeMessage(placed, { orderId }, 'orders')))
        await parts.outbox.addEncoded(tx, more)
        await parts.coordinator.start(tx, placeOrder, { id: orderId, input: { orderId } })
        const asked = [null, 7, new Uint8Array([0, 255]), ['a', 'b'], '{"a":1}']
        const { rows } = await tx.query(
          `SELECT $1::text AS nothing, $2::int + $2::int AS twice, $3::bytea AS bytes, $4::text[] AS list, $5::jsonb ? 'a' AS has`,
          asked,
        )
        const [row] = rows as ReadonlyArray<{ readonly bytes: Uint8Array }>
        expect({ ...row, bytes: [...(row?.bytes ?? [])] }).toEqual({
          nothing: null,
          twice: 14,
          bytes: [0, 255],
          list: ['a', 'b'],
          has: true,
        })
      }
      const stored = async (orderId: string) => {
        const { rows } = await parts.sql.query(
          `SELECT (SELECT count(*)::int FROM orders WHERE order_id = $1) AS orders,
             (SELECT count(*)::int FROM concordat.outbox WHERE aggregateid = $1) AS messages,
             (SELECT count(*)::int FROM concordat.saga WHERE id = $1) AS sagas`,
          [orderId],
        )
        return rows[0]
      }

      test('commit with it', async () => {
        await library.place(`${name}-1`, work(`${name}-1`))
        expect(await stored(`${name}-1`)).toEqual({ orders: 1, messages: 3, sagas: 1 })
      })

      test('roll back with it', async () => {
        const reason = new Error('no stock')
        const failing = library.place(`${name}-2`, async (tx) => {
          await work(`${name}-2`)(tx)
          throw reason
        })
        await expect(failing).rejects.toBe(reason)
        expect(await stored(`${name}-2`)).toEqual({ orders: 0, messages: 0, sagas: 0 })
      })

      test('rows, counts and big numbers are what `pg` makes of them', async () => {
        const counted: ReadonlyArray<readonly [text: string, rowCount: number, rows: number]> = [
          [`UPDATE orders SET by = 'RETURNING' WHERE order_id = $1`, 1, 0],
          [`WITH one AS (SELECT $1::text AS id) UPDATE orders SET by = 'x' FROM one WHERE order_id = one.id`, 1, 0],
          [`WITH gone AS (DELETE FROM orders WHERE order_id = $1 RETURNING *) SELECT * FROM gone`, 1, 1],
          [`INSERT INTO orders VALUES ($1, 'UPDATE') RETURNING by`, 1, 1],
          [`INSERT INTO orders VALUES ($1, 'y') ON CONFLICT DO NOTHING`, 0, 0],
          [`SELECT by AS "DELETE" FROM orders WHERE order_id = $1 FOR NO KEY UPDATE`, 1, 1],
        ]
        await library.place(`${name}-5`, async (tx) => {
          for (const [text, rowCount, length] of counted) {
            const found = await tx.query(text, [`${name}-5`])
            expect({ rowCount: found.rowCount, rows: found.rows.length }, text).toEqual({ rowCount, rows: length })
          }
          const big = await tx.query('SELECT 9007199254740993::bigint AS big, count(*) FROM orders WHERE false')
          expect(big.rows).toEqual([{ big: '9007199254740993', count: '0' }])
        })
      })

      test('an error of the server has its SQLSTATE', async () => {
        let found: unknown
        const failing = library.place(`${name}-3`, async (tx) => {
          await tx.query('INSERT INTO orders VALUES ($1)', [`${name}-3`]).catch((error: unknown) => {
            found = error
            throw error
          })
        })
        await expect(failing).rejects.toThrow()
        expect(found).toMatchObject({ code: '23505' })
      })

      test('an error has the whole message of the server', async () => {
        let found: unknown
        const failing = library.place(`${name}-6`, async (tx) => {
          await tx.query("SELECT 'a - b'::int + $1::int", [1]).catch((error: unknown) => {
            found = error
            throw error
          })
        })
        await expect(failing).rejects.toThrow()
        expect(String((found as Error).message)).toContain('invalid input syntax for type integer: "a - b"')
      })

      test('an error shows no values', async () => {
        const secret = `${name}-3-s3cret`
        let found: unknown
        const failing = library.place(`${name}-3`, async (tx) => {
          const values = [`${name}-3`, secret]
          await tx.query('INSERT INTO orders VALUES ($1, $2)', values).catch((error: unknown) => {
            found = error
            throw error
          })
        })
        await expect(failing).rejects.toThrow()
        expect(String((found as Error).message)).toContain('orders_pkey')
        expect([(found as Error).message, inspect(Object.entries(found as Error))].join(' ')).not.toContain('s3cret')
      })

      test('a value that is no transaction, or an ended one, is refused', async () => {
        expect(() => library.wrong()).toThrow(TypeError)
        const kept: SqlTransaction[] = []
        // Asks a member that was used inside again: calls after the end are not part of it.
        await library.place(`${name}-4`, async (tx) => {
          kept.push(tx)
          await tx.query('SELECT 1')
        })
        const late = kept[0]?.query('INSERT INTO orders VALUES ($1)', [`${name}-late`])
        await expect(late).rejects.toMatchObject(library.ended === '' ? {} : { code: library.ended })
        expect(await stored(`${name}-late`)).toMatchObject({ orders: 0 })
      })
    })
  })

  describe('an ORM in the transaction of our handler', () => {
    const source = new DataSource({ type: 'postgres', entities: [OrderEntity] })
    const knex = knexOf({ client: 'pg' })
    const inside: Readonly<Record<string, (tx: SqlTransaction, orderId: string) => Promise<unknown>>> = {
      drizzle: async (tx, orderId) => {
        const db = drizzle(pgConnection<pg.PoolClient>(tx))
        await db.insert(orders).values({ orderId, by: 'drizzle' })
        expect(await db.select().from(orders).where(eq(orders.orderId, orderId))).toEqual([{ orderId, by: 'drizzle' }])
      },
      kysely: async (tx, order_id) => {
        const pool = { options: {}, connect: async () => pgConnection<pg.PoolClient>(tx), end: async () => {} }
        const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
        await db.insertInto('orders').values({ order_id, by: 'kysely' }).execute()
        expect(await db.selectFrom('orders').selectAll().where('order_id', '=', order_id).execute()).toHaveLength(1)
      },
      knex: async (tx, order_id) => {
        const connection = pgConnection(tx)
        await knex('orders').insert({ order_id, by: 'knex' }).connection(connection)
        expect(await knex('orders').where({ order_id }).connection(connection)).toEqual([{ order_id, by: 'knex' }])
      },
      typeorm: async (tx, orderId) => {
        const query = source.createQueryBuilder().insert().into(OrderEntity).values({ orderId, by: 'typeorm' })
        await tx.query(...query.getQueryAndParameters())
      },
    }
    beforeAll(async () => {
      await (source as unknown as { buildMetadatas(): Promise<void> }).buildMetadatas()
    })
    afterAll(() => knex.destroy())

    test('commits once and rolls back with it, shared or not', async () => {
      const failed = new Set<string>()
      const names = Object.keys(inside)
      const service = createService({
        name: 'inside',
        schema: 'inside',
        sql: database.sql,
        transport: memoryTransport(),
        sends: [placed],
        bindings: names.map((name) =>
          sink(
            placed,
            { group: name, once: true, concurrency: 4, backoff: { initialMs: 1 } },
            async ({ orderId }, { tx }) => {
              const id = `${name}-${orderId}`
              await inside[name]?.(tx, id)
              if (!failed.has(id)) {
                failed.add(id)
                throw new Error('once more')
              }
            },
          ),
        ),
        logger: silentLogger,
      })
      await service.start()
      await service.ready()
      await service.transaction((tx) => inside['drizzle']?.(tx, 'own') ?? Promise.reject(new Error('missing')))
      const ids = Array.from({ length: 6 }, (_, index) => `in-${index}`)
      await Promise.all(ids.map((orderId) => service.send(placed, { orderId })))
      const count = async () => {
        const text = `SELECT by, count(*)::int AS n FROM orders WHERE order_id LIKE '%-in-%' GROUP BY by ORDER BY by`
        return (await database.sql.query(text)).rows
      }
      const done = names.toSorted().map((by) => ({ by, n: ids.length }))
      await until('all are stored', async () => JSON.stringify(await count()) === JSON.stringify(done))
      await service.close()
      expect(failed.size).toBe(names.length * ids.length)
    })

    test('a named statement whose table has changed fails once, not permanently', async () => {
      await database.sql.query('CREATE TABLE changing (n int)')
      const pool = new pg.Pool({ connectionString: database.url, max: 1 })
      const one = pgClient(pool)
      const read = () =>
        one.transaction(async (tx) =>
          pgConnection(tx).query({ name: 'changing', text: 'SELECT * FROM changing' } as never),
        )
      await read()
      await database.sql.query('ALTER TABLE changing ALTER n TYPE text')
      await expect(read()).rejects.toMatchObject({ code: '0A000' })
      await read()
      await pool.end()
    })

    test('a transaction of theirs in it, its end, and another client are refused', async () => {
      const kept: SqlTransaction[] = []
      await database.sql.transaction(async (tx) => {
        kept.push(tx)
        const db = drizzle(pgConnection<pg.PoolClient>(tx))
        const begun = db.transaction(async () => {}).catch((error: Error) => error.cause)
        expect(String(await begun)).toContain('pgConnection.query: expected no BEGIN and no COMMIT')
        for (const text of ['commit', '/* app */ COMMIT', "UPDATE orders SET by = ''; COMMIT", '-- end\nend'])
          await expect(pgConnection(tx).query(text), text).rejects.toThrow(TypeError)
        await pgConnection(tx).query(`SELECT 'a; commit' AS "b; commit"`)
      })
      await expect(pgConnection(kept[0] as SqlTransaction).query('SELECT 1')).rejects.toMatchObject({
        code: 'core.sql_transaction_ended',
      })
      const cursor = { text: 'SELECT 1', submit: () => {} }
      const streamed = database.sql.transaction(async (tx) => {
        await pgConnection(tx).query(cursor)
      })
      await expect(streamed).rejects.toThrow('a cursor or a stream')
      const foreign: SqlTransaction = { inTransaction: true, query: async () => ({ rows: [], rowCount: 0 }) }
      expect(() => pgConnection(foreign)).toThrow('pgConnection: expected the `tx` of a transaction on pgClient(pool)')
    })
  })
}
