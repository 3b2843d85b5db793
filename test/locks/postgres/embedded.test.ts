import type { PGlite } from '@electric-sql/pglite'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresLocks } from 'concordat/postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inLine } from '../../conformance/locks-kit.ts'
import { expectWithin } from '../../support/expect-within.ts'
import { freshPglite } from '../../support/pglite.ts'

describe('locks on a database in the process', () => {
  let database: PGlite
  beforeAll(async () => {
    database = freshPglite()
    await postgresLocks({ sql: pgliteClient(database) }).migrate()
  }, 120_000)
  afterAll(() => database.close())

  /** Counts statements, and which of them NOTIFY. */
  function counted(): { readonly sql: SqlClient; readonly seen: string[] } {
    const inner = pgliteClient(database)
    const seen: string[] = []
    const query: SqlClient['query'] = (text, parameters) => {
      seen.push(text)
      return inner.query(text, parameters)
    }
    return { sql: { ...inner, query }, seen }
  }

  it('wait for no lease of a process that is gone, but for its lock delay', async () => {
    const before = postgresLocks({ sql: pgliteClient(database) })
    await before.acquire('plain', { ttlMs: 60_000 })
    await before.acquire('shared', { ttlMs: 60_000, mode: 'shared' })
    await before.acquire('delayed', { ttlMs: 60_000, lockDelayMs: 60_000 })
    // The process was killed; another one opens the same folder.
    const after = postgresLocks({ sql: pgliteClient(database) })
    const begun = performance.now()
    await (await after.acquire('plain')).release()
    await (await after.acquire('shared')).release()
    await expectWithin(performance.now() - begun, 5_000)
    expect(await after.tryAcquire('delayed')).toBeUndefined()
    const [holder] = (await after.inspect('delayed'))?.holders ?? []
    expect(holder?.expiresInMs).toBe(0)
    await after.close()
    await before.close()
  })

  it('are handed on by one statement, without polls or notifications', async () => {
    const { sql, seen } = counted()
    const contenders = Array.from({ length: 5 }, () => postgresLocks({ sql, heartbeatMs: 20_000 }))
    const [first] = contenders as [(typeof contenders)[0]]
    const held = await first.acquire('line', { ttlMs: 60_000 })
    const served: number[] = []
    const line = contenders.map((locks, n) => locks.using('line', { ttlMs: 60_000 }, () => void served.push(n)))
    await inLine(first, 'line', 5)
    seen.length = 0
    await held.release()
    await Promise.all(line)
    expect(served.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4])
    expect(seen.filter((text) => !text.includes('lock_release'))).toEqual([])
    expect(seen).toHaveLength(6)
    for (const locks of contenders) await locks.close()
  })

  it('never wait permanently when they are requested inside a transaction of the same database', async () => {
    const sql = pgliteClient(database)
    const locks = postgresLocks({ sql })
    const asked = sql.transaction(() => locks.tryAcquire('inside'))
    await expect(asked).rejects.toMatchObject({ code: 'core.sql_own_transaction' })
    expect(locks.health().status).not.toBe('down')
    await locks.close()
  })
})
