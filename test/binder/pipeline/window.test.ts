import { PGlite } from '@electric-sql/pglite'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MortalClient } from '../../saga/support/mortal.ts'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'
import { sold, world } from './support/world.ts'

let database: PGlite
let sql: SqlClient
beforeAll(async () => {
  database = freshPglite()
  await database.waitReady
  sql = pgliteClient(database)
}, 180_000)
afterAll(() => database.close(), 60_000)

const apple = (cents: number) => ({ sku: 'apple', cents })

test('a window closes with the number, by key', async () => {
  await using t = await world({ sql, limits: { count: 3 } })
  for (let n = 1; n <= 7; n++) await t.binder.send(sold, apple(n))
  await t.binder.send(sold, { sku: 'pear', cents: 50 })
  await until('all are handled', () => t.binder.binding('sold.totals').status().handled === 8)
  await t.untilCounted(6)
  expect(t.totals().map(({ sku, count, cents }) => [sku, count, cents])).toEqual([
    ['apple', 3, 6],
    ['apple', 3, 15],
  ])
  expect(await t.open()).toBe(2)
})

test('a message that comes again is counted once', async () => {
  await using t = await world({ sql, limits: { count: 2 } })
  for (const id of ['a', 'a', 'b', 'a', 'b', 'c', 'c', 'd']) await t.binder.send(sold, apple(1), { id })
  await t.untilCounted(4)
  expect(t.totals().map(({ count }) => count)).toEqual([2, 2])
  expect(await t.open()).toBe(0)
})

test('a window closes at the end of the interval without a further message', async () => {
  await using t = await world({ sql, limits: { everyMs: 150 } })
  for (let n = 0; n < 10; n++) await t.binder.send(sold, apple(1))
  await t.untilCounted(10)
  for (const { startsAt, endsAt } of t.totals()) {
    expect(startsAt % 150).toBe(0)
    expect(endsAt - startsAt).toBe(150)
  }
  expect(new Set(t.totals().map(({ startsAt }) => startsAt)).size).toBe(t.totals().length)
  expect(await t.open()).toBe(0)
})

test('a full window closes early, and its timer has no effect', async () => {
  await using t = await world({ sql, limits: { count: 2, everyMs: 300 } })
  for (let n = 0; n < 5; n++) await t.binder.send(sold, apple(1))
  await t.untilCounted(5)
  await until('the timers have come', () => t.binder.binding('totals.window.timers.totals').status().handled >= 3)
  expect(t.counted()).toBe(5)
  expect(await t.open()).toBe(0)
})

describe('dies at every statement', { timeout: 180_000 }, () => {
  test.each(['before', 'after'] as const)('%s the database did it, and counts each message once', async (when) => {
    let dieAt = 1
    for (let steps = Infinity; dieAt <= steps; dieAt++) {
      const handlers = new MortalClient(sql, dieAt, when, true)
      await using t = await world({ sql, handlers, limits: { count: 3, everyMs: 100 } })
      for (let n = 1; n <= 4; n++) await t.binder.send(sold, apple(n), { id: `m${n}` })
      for (let n = 1; n <= 4; n++) await t.binder.send(sold, apple(n), { id: `m${n}` })
      await t.untilCounted(4)
      await until('all windows are closed', async () => (await t.open()) === 0)
      expect(t.counted(), `step ${dieAt}`).toBe(4)
      expect(
        t.totals().reduce((sum, { cents }) => sum + cents, 0),
        `step ${dieAt}`,
      ).toBe(10)
      // Steps of the first messages differ with the interval they fall in: as many as the fewest.
      steps = Math.min(steps, handlers.steps)
    }
    expect(dieAt).toBeGreaterThan(15)
  })
})
