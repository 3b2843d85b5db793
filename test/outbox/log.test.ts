import { type BindingStatus, createBinder, defineChannel, processor, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import { defineSaga, participant, Refusal } from 'concordat/saga'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const Payload = z.object({ n: z.number() })
let count = 0

async function ended(status: () => BindingStatus): Promise<BindingStatus> {
  await until('the message came to an end', () => status().handled + status().deadLettered > 0)
  return status()
}

describe('an outbox whose messages are in the transport on the same database', () => {
  it('writes them to the log in the transaction: no row of its own, no relay, also to an unprovisioned channel', async () => {
    const schema = `direct${++count}`
    const declared = defineChannel('declared', { payload: Payload, key: ({ n }) => String(n), groups: ['g'] })
    const fresh = defineChannel('fresh', { payload: Payload, partitions: 2, groups: ['later'] })
    const transport = postgresTransport({ sql, schema })
    const got: number[] = []
    const binder = createBinder({
      service: 'shop',
      transport,
      bindings: [sink(declared, { group: 'g' }, ({ n }) => void got.push(n))],
    })
    onTestFinished(() => binder.close())
    await binder.start()
    const outbox = createOutbox({ sql, service: 'shop', schema, transport })
    await outbox.migrate()
    await sql.transaction(async (tx) => {
      await outbox.add(tx, declared, { n: 1 })
      await outbox.add(tx, fresh, { n: 2 })
    })
    const failed = sql.transaction(async (tx) => {
      await outbox.add(tx, declared, { n: 3 })
      throw new Error('rolled back')
    })
    await expect(failed).rejects.toThrow('rolled back')
    await until('the committed one came', () => got.length > 0)
    expect(got).toEqual([1])
    expect((await outbox.stats()).pending).toBe(0)
    const later: number[] = []
    const reader = createBinder({
      service: 'reader',
      transport: postgresTransport({ sql, schema }),
      bindings: [sink(fresh, { group: 'later' }, ({ n }) => void later.push(n))],
    })
    onTestFinished(() => reader.close())
    await reader.start()
    await until('the other one waits for its group', () => later.length > 0)
    expect(later).toEqual([2])
  })

  it('on another database or another transport works as before', async () => {
    const schema = `direct${++count}`
    const other = pgliteClient(database)
    const transport = postgresTransport({ sql: other, schema })
    const outbox = createOutbox({ sql, service: 'shop', schema, transport })
    await outbox.migrate()
    await sql.transaction((tx) => outbox.add(tx, defineChannel('any', { payload: Payload }), { n: 1 }))
    expect((await outbox.stats()).pending).toBe(1)
  })

  it('refuses an output to a transactional channel elsewhere: the binder would refuse it from the relay', async () => {
    const input = defineChannel('input', { payload: Payload })
    const output = defineChannel('output', { payload: Payload, transactional: true })
    const copy = processor(input, output, { group: 'g', once: true, maxAttempts: 1 }, (payload) => payload)
    const shop = createService({
      name: 'shop',
      schema: `direct${++count}`,
      sql,
      transport: memoryTransport(),
      sends: [input],
      bindings: [copy],
      logger: silentLogger,
    })
    onTestFinished(() => shop.close())
    await shop.start()
    await shop.send(input, { n: 1 })
    const { handled, deadLettered } = await ended(() => shop.binder.binding('input.g').status())
    expect({ handled, deadLettered, ...(await shop.outbox?.stats()) }).toMatchObject({ deadLettered: 1, pending: 0 })
  })

  it('is detected by a service: commands, replies and outputs of a saga leave with their transactions', async () => {
    const schema = `direct${++count}`
    const commands = defineChannel('charge', { payload: Payload })
    const noted = defineChannel('noted', { payload: Payload, groups: ['g'] })
    const charged: number[] = []
    const charge = defineSaga('greet', { version: 1, input: Payload })
      .command('charge', { to: commands, request: ({ input }) => input, compensate: true })
      .step('refuse', {
        pivot: true,
        invoke: ({ input }) => {
          if (input.n > 1) throw new Refusal('shop.too_much', 'too much')
        },
      })
    const notes: number[] = []
    const shop = createService({
      name: 'shop',
      sql,
      schema,
      transport: postgresTransport({ sql, schema }),
      sagas: [charge],
      bindings: [
        participant(
          commands,
          { group: 'payments' },
          {
            invoke: ({ n }) => {
              charged.push(n)
              return { n }
            },
            compensate: ({ n }) => void charged.push(-n),
          },
        ),
        sink(noted, { group: 'g', once: true }, ({ n }) => void notes.push(n)),
      ],
      sends: [noted],
    })
    onTestFinished(() => shop.close())
    await shop.start()
    const first = await shop.run(charge, { id: 's-1', input: { n: 1 } })
    expect((await first.outcome()).status).toBe('completed')
    const second = await shop.transaction(async (tx) => {
      await tx.send(noted, { n: 7 })
      return tx.start(charge, { id: 's-2', input: { n: 2 } })
    })
    expect((await second.outcome()).status).toBe('compensated')
    expect(charged).toEqual([1, 2, -2])
    await until('the note came', () => notes.length === 1)
    expect((await shop.outbox?.stats())?.pending).toBe(0)
    const { rows } = await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM "${schema}".transport_log`)
    expect(rows[0]?.n).toBeGreaterThan(0)
  })
})
