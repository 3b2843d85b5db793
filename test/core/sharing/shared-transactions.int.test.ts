import { systemClock } from 'concordat/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { uniqueName } from '../../outbox/support/messages.ts'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { sharingOn, type Work, xidOf } from '../../support/sharing.ts'

describeWith(['postgres'], 'shared transactions on a server', () => {
  let database: TestDatabase
  let table: string
  beforeAll(async () => {
    database = await createDatabase(6)
    table = uniqueName('row')
    await database.sql.query(`CREATE TABLE ${table} (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)`)
    await database.sql.query(`INSERT INTO ${table} SELECT i FROM generate_series(0, 99) i`)
  })
  afterAll(() => database.drop())

  const adding = (id: number, xids: string[] = []): Work => {
    return async (tx) => {
      await tx.query(`UPDATE ${table} SET n = n + 1 WHERE id = $1`, [id])
      xids.push(await xidOf(tx))
    }
  }
  const valueOf = async (id: number): Promise<number | undefined> =>
    (await database.sql.query<{ n: number }>(`SELECT n FROM ${table} WHERE id = $1`, [id])).rows[0]?.n

  test('many that are ready together are few commits', async () => {
    const { run } = await sharingOn(database.sql)
    const xids: string[] = []
    await Promise.all(Array.from({ length: 20 }, (_, i) => run(adding(i, xids))))
    expect(xids).toHaveLength(20)
    expect(new Set(xids).size).toBe(2)
  })

  test('a row that another session has locked delays the commands that need it, and no others', async () => {
    const { run } = await sharingOn(database.sql)
    const before = await valueOf(31)
    const unlock = Promise.withResolvers<void>()
    const locked = Promise.withResolvers<void>()
    const stranger = database.sql.transaction(async (tx) => {
      await tx.query(`SELECT 1 FROM ${table} WHERE id = 30 FOR UPDATE`)
      locked.resolve()
      await unlock.promise
    })
    await locked.promise
    const wanting = run(adding(30))
    await Promise.all([run(adding(31)), run(adding(32)), run(adding(33))])
    expect(await valueOf(31)).toBe((before ?? 0) + 1)
    unlock.resolve()
    await Promise.all([stranger, wanting])
    expect(await valueOf(30)).toBe(1)
  })

  test('two that need the same rows in another order both end, without a deadlock of a second', async () => {
    const [left, right] = [await sharingOn(database.sql), await sharingOn(database.sql)]
    const met = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    /** Work whose first calls each hold their row before either continues. */
    const meeting = (id: number, mine: number, other: number): Work => {
      return async (tx) => {
        await adding(id)(tx)
        met[mine]?.resolve()
        await met[other]?.promise
      }
    }
    // A third of each side, so that each transaction has two.
    const runs = [
      left.run(meeting(40, 0, 1)),
      left.run(adding(50)),
      left.run(adding(41)),
      left.run(adding(51)),
      right.run(meeting(41, 1, 0)),
      right.run(adding(52)),
      right.run(adding(40)),
      right.run(adding(53)),
    ]
    await Promise.all(runs)
    expect([await valueOf(40), await valueOf(41)]).toEqual([2, 2])
  })

  test('pieces that wait for one another do not wait forever', async () => {
    const { run } = await sharingOn(database.sql, systemClock)
    let underWay = 0
    const all = Promise.withResolvers<void>()
    const together: Work = async () => {
      underWay++
      if (underWay === 5) all.resolve()
      await all.promise
    }
    // Each waits for all five, and six connections are there for them.
    await Promise.all(Array.from({ length: 5 }, () => run(together)))
    expect(underWay).toBeGreaterThanOrEqual(5)
  })
})
