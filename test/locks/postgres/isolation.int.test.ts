import { expect, it } from 'vitest'
import { leftovers, locksDatabase } from '../../support/locks/postgres-table.ts'
import { describeWith } from '../../support/servers/index.ts'

describeWith(['postgres'], 'locks on a database with another default isolation or access mode', () => {
  it.for(['repeatable read', 'serializable'])('%s: no holders overlap, no waiter is forgotten', async (isolation) => {
    const database = await locksDatabase()
    try {
      await database.sql.query(
        `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''${isolation}''', current_database()); END $$`,
      )
      const contenders = Array.from({ length: 3 }, () => database.contender())
      let inside = 0
      const tokens: number[] = []
      const worker = async (index: number): Promise<void> => {
        for (let round = 0; round < 8; round++)
          await contenders[index % contenders.length]?.using('k', { waitMs: 60_000 }, async (lease) => {
            expect(++inside).toBe(1)
            tokens.push(lease.token)
            await new Promise((resolve) => setImmediate(resolve))
            inside -= 1
          })
      }
      await Promise.all(Array.from({ length: 6 }, (_, index) => worker(index)))
      expect(tokens).toHaveLength(48)
      expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b))
      expect(await leftovers(database.sql)).toEqual([])
      for (const locks of contenders) await locks.close()
    } finally {
      await database.drop()
    }
  })
})
