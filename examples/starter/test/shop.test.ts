import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openShop, type Shop } from '../src/shop.ts'

let shop: Shop

beforeEach(async () => {
  shop = await openShop({ apple: 5 })
}, 60_000)
afterEach(() => shop.close(), 60_000)

/** Waits until the condition holds, because messages take a moment to arrive. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(20)
}

test('an order for goods in stock completes, and is shipped once', { timeout: 60_000 }, async () => {
  const order = { id: 'o-1', sku: 'apple', quantity: 3 }
  expect(await shop.order(order)).toBe('completed')
  // A caller that got no answer places the same order again.
  expect(await shop.order(order)).toBe('completed')
  await until(async () => (await shop.shipments()).length > 0)
  expect(await shop.shipments()).toEqual(['o-1'])
})

test('an order for more goods than are left is compensated, and reserves nothing', { timeout: 60_000 }, async () => {
  expect(await shop.order({ id: 'o-1', sku: 'apple', quantity: 6 })).toBe('compensated: stock.sold_out')
  expect(await shop.order({ id: 'o-2', sku: 'apple', quantity: 5 })).toBe('completed')
})
