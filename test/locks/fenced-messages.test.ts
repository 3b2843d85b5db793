import { PGlite } from '@electric-sql/pglite'
import { type Binder, createBinder, defineChannel, sink } from 'concordat/binder'
import { hasCode, type SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { createElection } from 'concordat/election'
import { createFence, leaseFromHeaders, leaseHeaders } from 'concordat/locks'
import { memoryLockServer, memoryLocks, memoryTransport } from 'concordat/memory'
import { createInbox } from 'concordat/outbox'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../support/until.ts'

const writes = defineChannel('ledger.write', { payload: z.object({ text: z.string() }), partitions: 1 })

let sql: SqlClient
const open: AsyncDisposable[] = []
beforeAll(async () => {
  sql = pgliteClient(await PGlite.create())
  await createFence({ sql }).migrate()
  await createInbox({ sql }).migrate()
  await sql.query('CREATE TABLE ledger (resource text, text text, token bigint)')
})
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]()
})
afterAll(() => sql.query('DROP TABLE ledger'))

/** Sink that writes the messages of a lock's holder to `resource`. */
async function setup(
  resource: string,
): Promise<{ binder: Binder; lines: () => Promise<string[]>; calls: () => number }> {
  const fence = createFence({ sql })
  let calls = 0
  const apply = sink(
    writes,
    { group: resource, inbox: createInbox({ sql }), retryable: (error) => !hasCode(error, 'locks.fence_rejected') },
    async ({ text }, { tx, headers }) => {
      calls++
      const lease = leaseFromHeaders(headers)
      if (lease === undefined) throw new Error('not sent under a lock')
      await fence.check(tx, resource, lease.token)
      await tx.query('INSERT INTO ledger VALUES ($1, $2, $3::bigint)', [resource, text, String(lease.token)])
    },
  )
  const binder = createBinder({
    service: 'test',
    transport: memoryTransport(),
    bindings: [apply],
    headers: () => leaseHeaders(),
  })
  open.push(binder)
  await binder.start()
  const lines = async (): Promise<string[]> => {
    const found = await sql.query<{ text: string }>('SELECT text FROM ledger WHERE resource = $1', [resource])
    return found.rows.map(({ text }) => text)
  }
  return { binder, lines, calls: () => calls }
}

describe('a message carries the token of its sender to a fenced sink', () => {
  it('and the sink refuses a stale holder: one call, no effect, a dead letter', async () => {
    const { binder, lines, calls } = await setup('lock')
    const server = memoryLockServer()
    const [stale, young] = [memoryLocks({ server }), memoryLocks({ server })]
    open.push(stale, young)
    const late = stale.using('r', { ttlMs: 100, maxHoldMs: 0 }, async () => {
      await young.using('r', {}, () => binder.send(writes, { text: 'young' }))
      await until('it is written', async () => (await lines()).length === 1)
      await binder.send(writes, { text: 'stale' })
    })
    await expect(late).rejects.toMatchObject({ code: 'locks.lost' })
    await until('it is a dead letter', () => binder.bindings()[0]?.deadLettered === 1)
    expect(calls()).toBe(2)
    expect(await lines()).toEqual(['young'])
  })

  it('and the sink refuses a leader of an earlier term', async () => {
    const { binder, lines } = await setup('term')
    const server = memoryLockServer()
    const late = gate()
    const terms: number[] = []
    const candidate = (instance: string, work: () => Promise<unknown>) => {
      const locks = memoryLocks({ server })
      const election = createElection({
        locks,
        role: 'writer',
        instance,
        stopGraceMs: 0,
        onGranted: async (term) => {
          terms.push(term.term)
          await work()
        },
      })
      open.push(locks, election)
      election.start()
      return election
    }
    const first = candidate('first', async () => {
      await binder.send(writes, { text: 'first' })
      await late.opened
      await binder.send(writes, { text: 'late' })
    })
    await until('it is written', async () => (await lines()).length === 1)
    candidate('second', () => binder.send(writes, { text: 'second' }))
    await first.resign()
    await until('it is written', async () => (await lines()).length === 2)
    late.open()
    await until('it is a dead letter', () => binder.bindings()[0]?.deadLettered === 1)
    expect(await lines()).toEqual(['first', 'second'])
    const written = await sql.query<{ token: string }>(`SELECT token::text FROM ledger WHERE resource = 'term'`)
    expect(written.rows.map(({ token }) => Number(token))).toEqual(terms)
  })
})
