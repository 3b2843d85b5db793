import type { SqlExecutor } from 'concordat/core'
import { createOutbox, createRelay } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- not exported: the doctor and the parts ask it
import { sequencesBehind } from '../../core/check-sql-sequences.ts'
import { closeEmbedded, embedded, openEmbedded } from '../saga/support/world.ts'

const schema = 'cut_over'
const sql = embedded()
const outbox = createOutbox({ sql, service: 'orders', schema })
const saga = defineSaga('one', { version: 1, input: z.object({}) }).step('a', { invoke: () => 1, compensate: 'none' })
const coordinator = () => createCoordinator({ service: 'orders', sql, outbox, schema, sagas: [saga] })

beforeAll(async () => {
  await openEmbedded()
  await outbox.migrate()
  await coordinator().migrate()
}, 120_000)
afterAll(closeEmbedded)

test('sequences of empty tables and of rows that they numbered are not behind', async () => {
  await sql.query(`INSERT INTO ${schema}.saga_event (saga, id, kind) VALUES ('one', 'x', 'started')`)
  expect(await sequencesBehind(sql, schema)).toEqual([])
})

test('rows added while the sequences are checked do not count as copied', async () => {
  let added = false
  const racing: SqlExecutor = {
    query: async (text, parameters) => {
      const result = await sql.query<never>(text, parameters)
      if (!added) await sql.query(`INSERT INTO ${schema}.saga_event (saga, id, kind) VALUES ('one', 'x', 'started')`)
      added = true
      return result
    },
  }
  expect(await sequencesBehind(racing, schema)).toEqual([])
  expect(added).toBe(true)
})

test('a coordinator refuses to start on events that were copied without their sequence, until it is set', async () => {
  await sql.query(
    `INSERT INTO ${schema}.saga_event (seq, saga, id, kind) OVERRIDING SYSTEM VALUE VALUES (1005, 'one', 'x', 'started')`,
  )
  const refusing = coordinator()
  await expect(refusing.run()).rejects.toMatchObject({ code: 'core.sequence_behind', message: /saga_event.*1005/s })
  await refusing.close()
  const [behind] = await sequencesBehind(sql, schema)
  await sql.query(behind?.remedy ?? '')
  const running = coordinator()
  await running.run()
  await running.close()
})

test('a relay refuses to start on an outbox that was copied without its sequence', async () => {
  await sql.query(
    `INSERT INTO ${schema}.outbox (partition, seq, id, aggregatetype, type, source, content_type, time)
     VALUES (0, 1005, 'm', 'orders', 'orders', 'x', 'text/plain', 0)`,
  )
  const publisher = { publish: async () => [] } as never
  const relay = createRelay({ outbox, publisher })
  await expect(relay.start()).rejects.toMatchObject({ code: 'core.sequence_behind' })
  await relay.close()
})
