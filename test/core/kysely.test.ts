import { defineChannel } from 'concordat/binder'
import { kyselyClient, kyselyTransaction } from 'concordat/core/orms'
import { createOutbox } from 'concordat/outbox'
import { CamelCasePlugin, type Generated, Kysely, PGliteDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { sqlConformance } from '../conformance/sql.ts'
import { freshPglite } from '../support/pglite.ts'

interface Database {
  readonly order: { readonly orderId: string; readonly state: string; readonly n: Generated<number> }
}

const db = new Kysely<Database>({
  dialect: new PGliteDialect({ pglite: freshPglite() }),
  plugins: [new CamelCasePlugin()],
})
const orderPlaced = defineChannel('orders.placed', {
  payload: z.object({ orderId: z.string() }),
  key: (o) => o.orderId,
})
const outbox = createOutbox({ sql: kyselyClient(db), service: 'orders' })

beforeAll(async () => {
  await db.schema
    .createTable('order')
    .addColumn('orderId', 'text')
    .addColumn('state', 'text')
    .addColumn('n', 'serial')
    .execute()
  await outbox.migrate()
}, 180_000)
afterAll(() => db.destroy())

sqlConformance(() => kyselyClient(db))

describe("inside the caller's own transaction", () => {
  const place = (orderId: string, fail?: Error): Promise<void> =>
    db.transaction().execute(async (trx) => {
      await trx.insertInto('order').values({ orderId, state: 'placed' }).execute()
      await outbox.add(kyselyTransaction(trx), orderPlaced, { orderId })
      if (fail !== undefined) throw fail
    })
  const orders = async (orderId: string): Promise<number> =>
    (await db.selectFrom('order').where('orderId', '=', orderId).select('state').execute()).length

  test('an outbox message commits with it', async () => {
    const before = (await outbox.stats()).pending
    await place('o-1')
    expect(await orders('o-1')).toBe(1)
    expect((await outbox.stats()).pending).toBe(before + 1)
  })

  test('a write in the own transaction of the caller is rolled back with it', async () => {
    const before = (await outbox.stats()).pending
    await expect(place('o-2', new Error('no stock'))).rejects.toThrow('no stock')
    expect(await orders('o-2')).toBe(0)
    expect((await outbox.stats()).pending).toBe(before)
  })

  test('a Kysely that is no open transaction is refused', () => {
    expect(() => kyselyTransaction(db)).toThrow('kyselyTransaction: expected the transaction that db.transaction()')
  })
})

test('plugins of the caller leave our columns alone', async () => {
  const { rows } = await kyselyClient(db).query<{ snake_case: number }>('SELECT 1 AS snake_case')
  expect(rows).toEqual([{ snake_case: 1 }])
})

test('kyselyClient takes a Kysely of any database type', () => {
  expectTypeOf<Kysely<Database>>().toExtend<Parameters<typeof kyselyClient>[0]>()
})
