import { createBinder, defineChannel, sink } from 'concordat/binder'
import { type SqlClient, silentLogger } from 'concordat/core'
import { postgresTransport } from 'concordat/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { createDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { gate, until } from '../../support/until.ts'

const PARTITIONS = 4
const LEASE_MS = 1_000
const numbers = defineChannel('numbers', {
  payload: z.object({ n: z.number() }),
  key: ({ n }) => `k${n}`,
  partitions: PARTITIONS,
})

describeWith(['postgres'], 'the session of a process', () => {
  it('does not end because a claim hangs: what the process holds goes on', async () => {
    const database = await createDatabase(20)
    const claims = { hang: false, hanging: 0, released: gate() }
    const hanging: SqlClient = {
      ...database.sql,
      query: async (text, parameters) => {
        if (claims.hang && text.includes('transport_claim')) {
          claims.hanging++
          await claims.released.opened
        }
        return database.sql.query(text, parameters)
      },
    }
    const got = new Map<string, Set<number>>()
    const binderOf = async (service: string, sql: SqlClient) => {
      const mine = new Set<number>()
      got.set(service, mine)
      const binder = createBinder({
        service,
        transport: postgresTransport({ sql, leaseMs: LEASE_MS }),
        sends: [numbers],
        bindings: [sink(numbers, { group: 'g' }, ({ n }) => void mine.add(n))],
        logger: silentLogger,
      })
      onTestFinished(() => binder.close())
      await binder.start()
      await binder.ready()
      return binder
    }
    onTestFinished(() => database.drop())
    const binder = await binderOf('test', hanging)
    const other = await binderOf('other', database.sql)
    onTestFinished(() => claims.released.open())
    const handledBy = (service: string): number => got.get(service)?.size ?? 0
    let n = 0
    await until('each has a share', async () => {
      await binder.send(numbers, { n: n++ })
      return handledBy('other') > 0 && handledBy('test') > 0
    })

    claims.hang = true
    await other.close()
    await until('the claim hangs', () => claims.hanging > 0)
    const hangsFrom = performance.now()
    let later = handledBy('test')
    await until('more than the lease has passed', async () => {
      const lasts = performance.now() - hangsFrom
      if (lasts < 2 * LEASE_MS) later = handledBy('test')
      await binder.send(numbers, { n: n++ })
      return lasts > 4 * LEASE_MS
    })
    expect(handledBy('test'), 'messages of its own share, after the lease').toBeGreaterThan(later)
    expect(claims.hanging, 'one at a time').toBe(1)

    claims.released.open()
    await until('everything is handled', () => handledBy('test') + handledBy('other') >= n)
  }, 60_000)

  it('does not end because one renewal is never answered', async () => {
    const database = await createDatabase(20)
    onTestFinished(() => database.drop())
    const renewals = { hang: false, hanging: 0, released: gate() }
    const sql: SqlClient = {
      ...database.sql,
      query: async (text, parameters) => {
        if (renewals.hang && /INSERT INTO \S*transport_session/.test(text)) {
          renewals.hang = false
          renewals.hanging++
          await renewals.released.opened
        }
        return database.sql.query(text, parameters)
      },
    }
    const got: number[] = []
    const binder = createBinder({
      service: 'test',
      transport: postgresTransport({ sql, leaseMs: LEASE_MS }),
      sends: [numbers],
      bindings: [sink(numbers, { group: 'g' }, ({ n }) => void got.push(n))],
      logger: silentLogger,
    })
    onTestFinished(() => binder.close())
    onTestFinished(() => renewals.released.open())
    await binder.start()
    await binder.ready()
    renewals.hang = true
    await until('it hangs', () => renewals.hanging === 1)
    const hangsFrom = performance.now()
    for (let n = 0; performance.now() - hangsFrom < 4 * LEASE_MS; n++) {
      await binder.send(numbers, { n })
      await until('it is handled', () => got.length === n + 1, 3 * LEASE_MS)
    }
  }, 60_000)
})
