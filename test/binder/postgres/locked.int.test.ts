import { createBinder, defineChannel, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { postgresTransport } from 'concordat/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { createDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { gate, until } from '../../support/until.ts'

const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }), groups: ['g'] })

/** Time after which the test expects the error, plus a margin for a loaded machine. */
const LIMIT_MS = 10_000 + 5_000
/** Statements time out and are repeated in between. */
const REQUEST_MS = 11_000
const LOCKED_MS = 25_000

describeWith(['postgres'], 'the log on PostgreSQL', () => {
  it('is down while another transaction has its table locked, though the session is renewed', async () => {
    const database = await createDatabase(10)
    const locked = gate()
    const unlocked = gate()
    const got: number[] = []
    const binder = createBinder({
      service: 'test',
      transport: postgresTransport({ sql: database.sql, requestTimeoutMs: REQUEST_MS }),
      sends: [numbers],
      bindings: [sink(numbers, { group: 'g' }, ({ n }) => void got.push(n))],
      logger: silentLogger,
    })
    onTestFinished(async () => {
      unlocked.open()
      await binder.close()
      await database.drop()
    })
    await binder.start()
    await binder.ready()
    await binder.send(numbers, { n: 1 })
    await until('the first is handled', () => got.length === 1)
    expect(binder.health().status).toBe('up')

    const other = database.sql.transaction(async (tx) => {
      await tx.query('LOCK TABLE concordat.transport_log IN ACCESS EXCLUSIVE MODE')
      locked.open()
      await unlocked.opened
    })
    await locked.opened
    const lockedAt = performance.now()
    void binder.send(numbers, { n: 2 }).catch(() => {})
    await until('it is down', () => binder.health().transport.status === 'down', LIMIT_MS)
    const ups: number[] = []
    await until(
      'the lock is released',
      () => {
        const lockedMs = performance.now() - lockedAt
        if (binder.health().transport.status === 'up') ups.push(lockedMs)
        return lockedMs >= LOCKED_MS
      },
      2 * LOCKED_MS,
    )
    expect(ups).toEqual([])
    unlocked.open()
    await other

    await binder.send(numbers, { n: 3 })
    await until('the last is handled', () => got.includes(3), LIMIT_MS)
    await until('it is up', () => binder.health().status === 'up', LIMIT_MS)
  })
})
