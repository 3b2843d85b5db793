/**
 * A statement of a handler that fails with the SQLSTATE of a lost connection, on a connection that works: code in the database
 * raised it, or it is about another server. The attempt counts, and nothing waits for a database that is available.
 */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { type SqlTransaction, silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { defineSaga, migrateParticipant, participant, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { tccParticipant } from 'concordat/saga/tcc'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- internal
import { sqlUnavailable } from '../../core/sql-unavailable.ts'
import { closeEmbedded, embedded, FAST, openEmbedded } from '../saga/support/world.ts'
import { serverError } from '../support/refusing-sql.ts'
import { until } from '../support/until.ts'

const sql = embedded()
beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

const raise = (code: string): string => `DO $$ BEGIN RAISE EXCEPTION 'legacy' USING ERRCODE = '${code}'; END $$`
const STATEMENTS = [
  ...['08000', '08001', '08006', '57P01', '57P03', '53100', '53300', '25006'].map(
    (code) => [`a RAISE of ${code}`, code, [raise(code)]] as const,
  ),
  ['a write after SET TRANSACTION READ ONLY', '25006', ['SET TRANSACTION READ ONLY', 'CREATE TABLE never (n int)']],
] as const

test.each(STATEMENTS)(
  '%s in a transaction that is rolled back does not mark the database as down',
  async (_, code, texts) => {
    const error: unknown = await sql
      .transaction(async (tx) => {
        for (const text of texts) await tx.query(text)
      })
      .catch((thrown: unknown) => thrown)
    expect([(error as { code?: string }).code, sqlUnavailable(error)]).toEqual([code, undefined])
  },
)

test('nor does an error of the same statement wrapped by a library', async () => {
  const error: unknown = await sql
    .transaction(async (tx) => {
      await tx.query(raise('08000')).catch((cause: unknown) => {
        throw new Error('Failed query', { cause })
      })
    })
    .catch((thrown: unknown) => thrown)
  expect(sqlUnavailable(error)).toBeUndefined()
})

test('an error of another database called by a handler still marks that one as down', async () => {
  const error: unknown = await sql
    .transaction(async (tx) => {
      await tx.query('SELECT 1')
      throw serverError('57P01', 'of another connection')
    })
    .catch((thrown: unknown) => thrown)
  expect(sqlUnavailable(error)).toBe('lost')
})

type Handler = (input: { readonly n: number }, context: { readonly tx: SqlTransaction }) => unknown
const commands = defineChannel('away.commands', { payload: z.object({ n: z.number() }) })

describe.each(['participant', "participant with effects: 'tx'", 'shared participant', 'tccParticipant'])(
  'a %s',
  (kind) => {
    test('reports such a failed call, and continues with later commands', { timeout: 60_000 }, async () => {
      const schema = `away_${kind.replaceAll(/\W/g, '')}`
      const outbox = createOutbox({ sql, service: 'shop', schema })
      const calls: number[] = []
      const handler: Handler = async ({ n }, { tx }) => {
        calls.push(n)
        for (const text of STATEMENTS[n]?.[2] ?? []) await tx.query(text)
        return 'done'
      }
      const options = { group: 'away', sql, outbox, schema, maxAttempts: 2, backoff: FAST } as const
      const sharesTransactions = kind === 'shared participant'
      const effects = kind === 'participant' ? 'anywhere' : 'tx'
      const side =
        kind === 'tccParticipant'
          ? tccParticipant(commands, options, { try: handler, confirm: () => {}, cancel: () => {} })
          : participant(
              commands,
              { ...options, effects, sharesTransactions, ...(sharesTransactions && { concurrency: 8 }) },
              { invoke: handler, compensate: () => {} },
            )
      const request = ({ input }: { readonly input: { readonly n: number } }) => input
      const base = defineSaga('s', { version: 1, input: z.object({ n: z.number() }) })
      const retry = { maxAttempts: 1 }
      const saga =
        kind === 'tccParticipant'
          ? base.tcc('x', { to: commands, request, retry })
          : base.command('x', { to: commands, request, compensate: true, retry })
      const coordinator = createCoordinator({ service: 'shop', sql, outbox, schema, sagas: [saga], pollMs: 50 })
      await outbox.migrate()
      await coordinator.migrate()
      await migrateParticipant(sql, schema)
      const binder = createBinder({
        service: 'shop',
        transport: memoryTransport(),
        bindings: [side, ...coordinator.bindings],
        sends: [...coordinator.channels, sagaReplies('shop')],
        logger: silentLogger,
      })
      const relay = createRelay({ outbox, publisher: binder, idlePollMs: 20 })
      await binder.start()
      await relay.start()
      await coordinator.run()
      onTestFinished(async () => {
        await relay.close()
        await binder.close()
        await coordinator.close()
      })
      const start = (n: number) => coordinator.start(saga as never, { id: `${n}`, input: { n } as never })
      for (const [n, [, code]] of STATEMENTS.entries()) {
        const outcome = await (await start(n)).outcome({ timeoutMs: 20_000 })
        expect(outcome).toMatchObject({ status: 'compensated', failure: { code } })
        expect(calls.filter((each) => each === n).length).toBeLessThanOrEqual(sharesTransactions ? 4 : 2)
      }
      expect(await (await start(99)).outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed' })
    })
  },
)

test.each(STATEMENTS)('a sink with an inbox counts the attempt of %s', async (_what, _code, texts) => {
  const channel = defineChannel('away.messages', { payload: z.number(), groups: ['g'] })
  const inbox = createInbox({ sql, schema: 'away_inbox' })
  await inbox.migrate()
  let calls = 0
  const binder = createBinder({
    service: 'test',
    transport: memoryTransport(),
    bindings: [
      sink(channel, { group: 'g', inbox, maxAttempts: 2, backoff: FAST }, async (_n, { tx }) => {
        calls++
        for (const text of texts) await tx.query(text)
      }),
    ],
    sends: [channel],
    logger: silentLogger,
  })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.send(channel, 1)
  await until('it is a dead letter', () => binder.binding('away.messages.g').status().deadLettered === 1)
  expect(calls).toBe(2)
})
