import { expect, test } from 'vitest'
import {
  fillShelves,
  migrateShelves,
  release,
  reserve,
  shelfTables,
} from '../../../../examples/order-payment/stock/shelves.ts'
import { folder } from '../support/command.ts'
import { useDatabase } from '../support/database.ts'

const database = useDatabase()

async function setup(stock: Record<string, number>) {
  const { sql } = database
  const schema = database.newSchema()
  const tables = shelfTables(schema)
  await migrateShelves(sql, schema)
  await using place = await folder()
  const file = await place.file('stock.json', JSON.stringify(stock))
  await fillShelves(sql, tables, file)
  await fillShelves(sql, tables, file)
  return {
    reserve: (key: string, items: ReadonlyArray<{ sku: string; quantity: number }>) =>
      sql.transaction((tx) => reserve(tx, tables, key, { orderId: key, items: [...items] })),
    release: (key: string) => sql.transaction((tx) => release(tx, tables, key)),
    left: async () =>
      Object.fromEntries(
        (
          await sql.query<{ sku: string; n: string }>(
            `SELECT sku, available::text AS n FROM ${tables.shelf} ORDER BY sku`,
          )
        ).rows.map(({ sku, n }) => [sku, Number(n)]),
      ),
  }
}

const APPLES = { sku: 'apple', quantity: 3 }
const PEARS = { sku: 'pear', quantity: 2 }

test('an order gets all its units', async () => {
  const shelves = await setup({ apple: 3, pear: 5 })
  await shelves.reserve('k', [APPLES, PEARS])
  expect(await shelves.left()).toEqual({ apple: 0, pear: 3 })
})

test.each([
  ['too few of one', { apple: 9, pear: 1 }],
  ['one nobody knows', { apple: 9 }],
])('or none of them: %s', async (_, stock) => {
  const shelves = await setup(stock)
  await expect(shelves.reserve('k', [APPLES, PEARS])).rejects.toMatchObject({ code: 'stock.out_of_stock' })
  expect(await shelves.left()).toEqual(stock)
})

test('a release puts the reservation back, once, and nothing without one', async () => {
  const shelves = await setup({ apple: 4, pear: 4 })
  await shelves.release('k')
  await shelves.reserve('k', [APPLES, PEARS])
  await shelves.release('k')
  await shelves.release('k')
  expect(await shelves.left()).toEqual({ apple: 4, pear: 4 })
})
