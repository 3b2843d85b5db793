import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { sold, world } from './support/world.ts'

describeWith(['postgres'], 'windows on PostgreSQL', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase(20)
  })
  afterAll(() => database.drop())

  test('three instances count each message once, and no interval of a key is closed twice', async () => {
    const { sql } = database
    await using t = await world({ sql, limits: { everyMs: 25 }, instances: 3, concurrency: 4 })
    const skus = ['apple', 'pear', 'fig']
    const all = Array.from({ length: 900 }, (_, n) => ({ sku: skus[n % 3] as string, cents: 1, id: `m${n}` }))
    for (let n = 0; n < all.length; n += 30) {
      const some = all.slice(n, n + 30)
      for (const { id, ...payload } of [...some, ...some]) await t.binder.send(sold, payload, { id })
    }
    await t.untilCounted(900)
    await until('all windows are closed', async () => (await t.open()) === 0)
    expect(t.counted()).toBe(900)
    const intervals = t.totals().map(({ sku, startsAt }) => `${sku} ${startsAt}`)
    expect(intervals.length).toBeGreaterThan(3)
    expect(new Set(intervals).size).toBe(intervals.length)
  })

  test('an instance that is gone leaves its windows and timers to the others', async () => {
    const { sql } = database
    await using t = await world({ sql, limits: { count: 10, everyMs: 400 }, instances: 3, concurrency: 4 })
    for (let n = 0; n < 25; n++) await t.binder.send(sold, { sku: `s${n % 2}`, cents: n }, { id: `m${n}` })
    await until('a window is open', async () => (await t.open()) > 0)
    await t.others[0]?.close()
    await t.untilCounted(25)
    expect(t.counted()).toBe(25)
    expect(t.totals().reduce((sum, { cents }) => sum + cents, 0)).toBe(300)
  })
  test('a message that is slow to be written is never added to an interval closed before the write', async () => {
    const { sql } = database
    await using t = await world({ sql, limits: { everyMs: 200, key: () => 'all' }, instances: 2, concurrency: 4 })
    // The client reads the time before it writes the row; in between an interval ends.
    await sql.query(`CREATE FUNCTION "${t.schema}".slow() RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN PERFORM pg_sleep(0.15 + random() * 0.2); RETURN new; END $$`)
    await sql.query(`CREATE TRIGGER slow BEFORE INSERT ON "${t.schema}".pipeline_window
      FOR EACH ROW EXECUTE FUNCTION "${t.schema}".slow()`)
    for (let n = 0; n < 16; n++) await t.binder.send(sold, { sku: `s${n}`, cents: 1 })
    await t.untilCounted(16)
    const starts = t.totals().map(({ startsAt }) => startsAt)
    expect(new Set(starts).size).toBe(starts.length)
    expect(t.counted()).toBe(16)
  })
})
