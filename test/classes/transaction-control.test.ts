/** Statements that would end the transaction which a function is lent: they are not run, and the failure is final. */
import { defineChannel, type SinkBinding, sink } from 'concordat/binder'
import { type SqlTransaction, silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { defineSaga, migrateParticipant, participant } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { tccParticipant } from 'concordat/saga/tcc'
import { undoParticipant } from 'concordat/saga/undo'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { closeEmbedded, embedded, FAST, openEmbedded, setupWorld } from '../saga/support/world.ts'

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

test.each(['ROLLBACK', '/* x */ rollback', 'SELECT 1; COMMIT', 'ROLLBACK AND CHAIN', 'ABORT'])(
  '%s of a transactional step fails its saga after one call',
  async (text) => {
    let calls = 0
    const saga = defineSaga('s', { version: 1, input: z.object({}) }).step('x', {
      transactional: true,
      invoke: async ({ tx }) => {
        calls++
        await tx.query(text)
      },
      compensate: 'none',
      retry: { maxAttempts: 3, ...FAST },
    })
    const world = await setupWorld({ sagas: [saga], sql: embedded() })
    try {
      await world.start()
      const run = await world.coordinator.start(saga, { id: '1', input: {} })
      const outcome = await run.outcome({ timeoutMs: 20_000 })
      expect(outcome).toMatchObject({ status: 'compensated', failure: { code: 'core.sql_transaction_control' } })
      expect(calls).toBe(1)
    } finally {
      await world.close()
    }
  },
)

describe('each function that is lent a transaction:', () => {
  const payload = z.object({})
  const input = z.object({})
  const calls = { retry: FAST, compensationRetry: FAST, request: () => ({}) }
  /** Called by the function under test. */
  type Ending = (tx: SqlTransaction) => Promise<void>
  const options = { group: 'g' } as const

  test.each<[kind: string, binding: (channel: ReturnType<typeof channelOf>, end: Ending) => SinkBinding]>([
    [
      'participant',
      (channel, end) => participant(channel, options, { invoke: (_, { tx }) => end(tx), compensate: () => undefined }),
    ],
    [
      'participant that shares transactions',
      (channel, end) =>
        participant(
          channel,
          { ...options, sharesTransactions: true, concurrency: 4 },
          { invoke: (_, { tx }) => end(tx), compensate: () => undefined },
        ),
    ],
    [
      'tccParticipant',
      (channel, end) =>
        tccParticipant(channel, options, {
          try: (_, { tx }) => end(tx),
          confirm: () => undefined,
          cancel: () => undefined,
        }),
    ],
    ['undoParticipant', (channel, end) => undoParticipant(channel, options, (_, { tx }) => end(tx))],
  ])('%s', async (kind, binding) => {
    const schema = uniqueName('control')
    const sql = embedded()
    const channel = channelOf(uniqueName('commands'))
    const codes: unknown[] = []
    const end: Ending = async (tx) => {
      await tx.query(`INSERT INTO ${schema}.effect VALUES (1)`)
      await tx.query('COMMIT').catch((error: { code: string }) => {
        codes.push(error.code)
        throw error
      })
    }
    const builder = defineSaga('s', { version: 1, input })
    const saga = kind.startsWith('participant')
      ? builder.command('x', { ...calls, to: channel, compensate: 'none' })
      : builder.tcc('x', { ...calls, to: channel })
    const service = createService({
      name: 'shop',
      schema,
      sql,
      transport: memoryTransport(),
      sagas: [saga],
      logger: silentLogger,
      bindings: [binding(channel, end)],
    })
    onTestFinished(() => service.close())
    await migrateParticipant(sql, schema)
    await sql.query(`CREATE TABLE ${schema}.effect (n int)`)
    await service.start()
    const outcome = await (await service.run(saga, { id: '1', input: {} })).outcome({ timeoutMs: 20_000 })
    expect(outcome).toMatchObject({ status: 'compensated', failure: { code: 'core.sql_transaction_control' } })
    expect(codes).toEqual(['core.sql_transaction_control'])
    expect((await sql.query(`SELECT FROM ${schema}.effect`)).rowCount).toBe(0)
  })

  test('branch of a global transaction', async () => {
    const schema = uniqueName('control')
    const sql = embedded()
    const channel = channelOf(uniqueName('commands'))
    const branch = defineBranch('x', { to: channel })
    const payment = defineGlobalTransaction('payment', { input, branches: [branch] })
    const service = createService({
      name: 'shop',
      schema,
      sql,
      transport: memoryTransport(),
      sagas: [payment],
      logger: silentLogger,
      bindings: [
        tccParticipant(channel, options, {
          try: async (_, { tx }) => void (await tx.query('ROLLBACK')),
          confirm: () => undefined,
          cancel: () => undefined,
        }),
      ],
    })
    onTestFinished(() => service.close())
    await migrateParticipant(sql, schema)
    await service.start()
    const paid = service.globalTransaction(payment, { id: '1', input: {} }, (global) => global.call(branch, {}))
    await expect(paid).rejects.toThrow('core.sql_transaction_control')
  })

  test('sink with an inbox', async () => {
    const schema = uniqueName('control')
    const channel = channelOf(uniqueName('messages'))
    const codes: unknown[] = []
    const seen = Promise.withResolvers<void>()
    const service = createService({
      name: 'shop',
      schema,
      sql: embedded(),
      transport: memoryTransport(),
      logger: silentLogger,
      sends: [channel],
      bindings: [
        sink(channel, { ...options, once: true, maxAttempts: 1 }, async (_, { tx }) => {
          const error = await tx.query('COMMIT').catch((thrown: { code: string }) => thrown)
          codes.push((error as { code: string }).code)
          seen.resolve()
        }),
      ],
    })
    onTestFinished(() => service.close())
    await service.start()
    await service.send(channel, {})
    await seen.promise
    expect(codes).toEqual(['core.sql_transaction_control'])
  })

  function channelOf(name: string) {
    return defineChannel(name, { payload, groups: ['g'] })
  }
})
