import { createBinder, defineChannel } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { defineSaga, participant } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, expect, test } from 'vitest'
import { z } from 'zod'
import { closeEmbedded, embedded } from '../support/world.ts'

afterAll(closeEmbedded)

const noted = defineSaga('noted', { version: 1, input: z.object({}) }).step('note', {
  invoke: () => 'done',
  compensate: 'none',
})
const MISSING = { code: 'core.tables_missing', retryable: false }

test('a coordinator reports that its migrate() was not called', async () => {
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'orders', schema: 'nowhere' })
  const coordinator = createCoordinator({ service: 'orders', sql, outbox, sagas: [noted], schema: 'nowhere' })
  const says = { ...MISSING, message: expect.stringContaining('coordinator.migrate()') }
  await expect(coordinator.run()).rejects.toMatchObject(says)
  await expect(coordinator.start(noted, { id: 'a', input: {} })).rejects.toMatchObject(says)
  await expect(coordinator.list()).rejects.toMatchObject(says)
  await coordinator.close()
})

test('a binder with a participant does not start before migrateParticipant()', async () => {
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'stock', schema: 'nowhere' })
  const commands = defineChannel('stock.commands', { payload: z.object({}) })
  const handlers = { invoke: () => 'done', compensate: () => {} }
  const side = participant(commands, { group: 'stock', sql, outbox, schema: 'nowhere' }, handlers)
  const binder = createBinder({ service: 'stock', transport: memoryTransport(), bindings: [side] })
  const says = { ...MISSING, message: expect.stringContaining('migrateParticipant(sql, schema)') }
  await expect(binder.start()).rejects.toMatchObject(says)
})
