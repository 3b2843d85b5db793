import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { IdleTime, SaidListener } from '../outbox/support/idle.ts'
import { uniqueName } from '../outbox/support/messages.ts'
import { freshPglite } from '../support/pglite.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const SECONDS = 20
const saga = defineSaga('order', { version: 1, input: z.object({}) }).step('pay', { invoke: () => {}, pivot: true })

/** Statements per second of an idle service with outbox, relay, inbox and coordinator. */
async function statementsPerSecond(listener?: SaidListener): Promise<number> {
  const time = new IdleTime(sql)
  const { clock } = time
  await using service = createService({
    name: 'idle',
    schema: uniqueName('idle'),
    sql: time.sql,
    transport: memoryTransport(),
    sagas: [saga],
    listener,
    parts: { relay: { clock }, coordinator: { clock } },
  })
  await service.start()
  await time.pass(70_000)
  const count = await time.pass(SECONDS * 1_000)
  return count / SECONDS
}

test('an idle service with a listener asks its database at most three times a second', async () => {
  const perSecond = await statementsPerSecond(new SaidListener(7))
  expect(perSecond).toBeGreaterThan(1)
  expect(perSecond).toBeLessThanOrEqual(3)
})

test('an idle service without a listener asks its database at most eight times a second', async () => {
  expect(await statementsPerSecond()).toBeLessThanOrEqual(8)
})
