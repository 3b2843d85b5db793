import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { message, until } from './support/messages.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'
import { setupOutboxOn } from './support/setup.ts'

/** Longer than a row takes to be passed over while its destination is away. */
const OPEN_MS = 7_000

describeWith(['postgres'], 'a transaction that stays open while another destination is away', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())

  test('leaves before the one that waited for it, and both at once', async () => {
    await using t = await setupOutboxOn(database.sql, { partitions: 1 })
    t.publisher.verdict = ({ destination }) => (destination === 'away' ? 'unavailable' : undefined)
    await t.sql.query('CREATE TABLE account (id int PRIMARY KEY, n int)')
    await t.sql.query('INSERT INTO account VALUES (1, 0)')
    let n = 0
    const away = (): Promise<unknown> =>
      t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message(`a${++n}`, 'x', { destination: 'away' })]))
    const transfer = (id: string, openMs: number): Promise<unknown> =>
      t.sql.transaction(async (tx) => {
        await tx.query('UPDATE account SET n = n + 1 WHERE id = 1')
        await t.outbox.addEncoded(tx, [message(id, 'account-1', { destination: 'here' })])
        await new Promise((resolve) => setTimeout(resolve, openMs))
      })
    await away()
    await t.relay().start()
    const trickle = setInterval(() => void away(), 100)
    try {
      await until(() => t.publisher.calls.length > 0, 'it has met the outage')
      const [first, second] = [transfer('first', OPEN_MS), transfer('second', 0)]
      await Promise.all([first, second])
      await until(() => t.publisher.ids.filter((id) => !id.startsWith('a')).length === 2, 'both have left', 5_000)
      expect(t.publisher.ids.filter((id) => !id.startsWith('a'))).toEqual(['first', 'second'])
    } finally {
      clearInterval(trickle)
    }
  })
})
