/** A statement in a transaction of the caller runs in that transaction, or not at all. */
import { setTimeout as pause } from 'node:timers/promises'
import { defineChannel, encodeMessage } from 'concordat/binder'
import { type SqlTransaction, silentLogger } from 'concordat/core'
import { createFence } from 'concordat/locks'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createPlainDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { LIBRARIES, type Library } from './libraries.ts'

const Order = z.object({ orderId: z.string() })
const placed = defineChannel('orders.placed', { payload: Order, key: (order) => order.orderId })
const placeOrder = defineSaga('place-order', { version: 1, input: Order }).step('confirm', {
  pivot: true,
  invoke: () => {},
})

const ROUNDS = 60

/** A transaction of another library. */
export function tests(): void {
  let database: TestDatabase
  let calls: Readonly<Record<string, (tx: SqlTransaction, orderId: string) => Promise<unknown>>>
  beforeAll(async () => {
    database = await createPlainDatabase()
    const { sql } = database
    await sql.query('CREATE TABLE orders (order_id text PRIMARY KEY, by text)')
    const outbox = createOutbox({ sql, service: 'orders' })
    const coordinator = createCoordinator({ service: 'orders', sql, outbox, sagas: [placeOrder], logger: silentLogger })
    const fence = createFence({ sql })
    await outbox.migrate()
    await coordinator.migrate()
    await fence.migrate()
    calls = {
      'outbox.add': (tx, orderId) => outbox.add(tx, placed, { orderId }),
      'outbox.addEncoded': async (tx, orderId) => {
        const messages = await Promise.all([1, 2].map(async () => encodeMessage(placed, { orderId }, 'orders')))
        await outbox.addEncoded(tx, messages)
      },
      'coordinator.start': (tx, id) => coordinator.start(tx, placeOrder, { id, input: { orderId: id } }),
      'fence.check': (tx, orderId) => fence.check(tx, orderId, 1),
      'an INSERT of the caller': (tx, orderId) =>
        tx.query(`INSERT INTO orders VALUES ($1, 'caller')`, [`${orderId}-x`]),
    }
  })
  afterAll(() => database.drop())

  /** Everything that is stored for these orders. */
  const stored = async (like: string) => {
    const { rows } = await database.sql.query(
      `SELECT (SELECT count(*)::int FROM orders WHERE order_id LIKE $1) AS orders,
         (SELECT count(*)::int FROM concordat.outbox WHERE aggregateid LIKE $1) AS messages,
         (SELECT count(*)::int FROM concordat.saga WHERE id LIKE $1) AS sagas,
         (SELECT count(*)::int FROM concordat.lock_fence WHERE resource LIKE $1) AS fences`,
      [like],
    )
    return rows[0]
  }
  const nothing = { orders: 0, messages: 0, sagas: 0, fences: 0 }

  describe.for(Object.entries(LIBRARIES))('%s', ([name, open]) => {
    let library: Library
    beforeAll(() => {
      library = open(database.url, 1)
    })
    afterAll(() => library.close())

    test('keeps no effects of calls beside a function that throws', { timeout: 60_000 }, async () => {
      for (const [call, work] of Object.entries(calls)) {
        const ends: Promise<unknown>[] = []
        for (let round = 0; round < ROUNDS; round++) {
          const id = `${name}-race-${call}-${round}`
          const placing = library.place(id, (tx) => {
            const several = async (): Promise<void> => {
              for (let n = 0; n < 4; n++) await work(tx, `${id}-${n}`)
            }
            const beside = several()
            ends.push(beside.catch(() => {}))
            const declined = async (): Promise<void> => {
              if (round % 6 > 0) await pause(Math.random() * (round % 6))
              throw new Error('declined')
            }
            return Promise.all([beside, declined()])
          })
          await expect(placing, call).rejects.toThrow('declined')
        }
        await Promise.all(ends)
        expect(await stored(`${name}-race-${call}-%`), call).toEqual(nothing)
      }
    })

    test('takes no part in the next transaction on its connection', async () => {
      for (const [call, work] of Object.entries(calls)) {
        for (const isUsed of [true, false]) {
          const id = `${name}-next-${call}-${isUsed}`
          const kept: SqlTransaction[] = []
          const declined = library.place(`${id}-a`, async (tx) => {
            kept.push(tx)
            if (isUsed) await tx.query('SELECT 1')
            throw new Error('declined')
          })
          await expect(declined, call).rejects.toThrow('declined')
          await library.place(`${id}-b`, async () => {
            await expect(work(kept[0] as SqlTransaction, `${id}-late`), call).rejects.toThrow()
          })
          expect(await stored(`${id}-late%`), call).toEqual(nothing)
          expect(await stored(`${id}-b`), call).toEqual({ ...nothing, orders: 1 })
        }
      }
    })

    test('loses effects after a savepoint on a rollback to it, and keeps the rest', async () => {
      for (const [call, work] of Object.entries(calls)) {
        const id = `${name}-savepoint-${call}`
        await library.place(id, async (tx) => {
          await work(tx, `${id}-before`)
          await tx.query('SAVEPOINT nested')
          await work(tx, `${id}-gone`)
          await tx.query('ROLLBACK TO SAVEPOINT nested')
          await work(tx, `${id}-after`)
        })
        expect(await stored(`${id}-gone%`), call).toEqual(nothing)
        expect(await stored(`${id}-before%`), call).not.toEqual(nothing)
        expect(await stored(`${id}-after%`), call).not.toEqual(nothing)
      }
    })
  })
}
