/**
 * A process is frozen, or its machine loses the network, in the middle of a handler. The server ends the handler's transaction after a
 * while, so the member that has the message now does not wait for it. Each place where a handler gets a transaction is a case.
 */
import { type Binding, createBinder, defineChannel, sink, sinkBatch } from 'concordat/binder'
import { type SqlClient, type SqlTransaction, silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox } from 'concordat/outbox'
import { defineSaga, localTarget, migrateParticipant, participant } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { xaParticipant } from 'concordat/saga/xa'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { askTarget, commandHeaders, deliver } from '../saga/support/delivery.ts'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const Payload = z.object({ n: z.number() })
const channel = defineChannel('orders', { payload: Payload, groups: ['g'] })

describe('the transaction of a handler whose process sends nothing more', () => {
  const database = freshPglite()
  // Like a client that another process could share.
  const { exclusive: _, ...sql } = pgliteClient(database)
  const inbox = createInbox({ sql })
  const outbox = createOutbox({ sql, service: 'shop' })
  beforeAll(async () => {
    await database.waitReady
    await inbox.migrate()
    await outbox.migrate()
  }, 180_000)
  afterAll(() => database.close())

  const limits: string[] = []
  const note = async (tx: Pick<SqlTransaction, 'query'>): Promise<void> => {
    const { rows } = await tx.query<{ ms: string }>(
      `SELECT current_setting('idle_in_transaction_session_timeout') AS ms`,
    )
    limits.push(rows[0]?.ms ?? '')
  }
  const start = async (bindings: readonly Binding[]) => {
    limits.length = 0
    const binder = createBinder({
      service: 'shop',
      transport: memoryTransport(),
      bindings,
      sends: [channel],
      logger: silentLogger,
    })
    onTestFinished(() => binder.close())
    await binder.start()
    return binder
  }

  test.each<readonly [what: string, binding: Binding, expected: string]>([
    ['alone', sink(channel, { group: 'g', inbox }, (_item, { tx }) => note(tx)), '1min'],
    ['beside others', sink(channel, { group: 'g', inbox, concurrency: 4 }, (_item, { tx }) => note(tx)), '1min'],
    ['in a batch', sinkBatch(channel, { group: 'g', inbox }, (_items, { tx }) => note(tx)), '1min'],
    [
      'alone, where handlers take their time',
      sink(channel, { group: 'g', inbox, slowAfterMs: 150_000 }, (_item, { tx }) => note(tx)),
      '5min',
    ],
  ])('with an inbox is ended by the server, for a message that is handled %s', async (_what, binding, expected) => {
    const binder = await start([binding])
    await Promise.all(Array.from({ length: 8 }, (_item, n) => binder.send(channel, { n }, { key: `k${n}` })))
    await until('all are handled', () => binder.bindings()[0]?.handled === 8)
    expect(new Set(limits)).toEqual(new Set([expected]))
  })

  test('of a participant is ended by the server', async () => {
    await migrateParticipant(sql)
    limits.length = 0
    const options = { group: 'stock', sql, outbox }
    const work = participant(channel, options, { invoke: (_request, { tx }) => note(tx), compensate: () => {} })
    await deliver(work, { n: 1 }, commandHeaders('s-1', 'invoke'))
    expect(limits).toEqual(['1min'])
  })

  test.each(['binding', 'localTarget'] as const)(
    'of an XA participant (%s) is ended by the server, as are those around it',
    async (way) => {
      await migrateParticipant(sql)
      limits.length = 0
      const given: unknown[] = []
      const limited: SqlClient['transaction'] = (work, its) => {
        given.push(its?.idleMs)
        return sql.transaction(work, its)
      }
      // PGlite has no prepared transactions, so a commit takes their place.
      const preparing: SqlClient = {
        ...sql,
        query: (text, parameters) =>
          sql.query(text.replace(/^.*max_prepared_transactions.*$/, 'SELECT 1 AS most'), parameters),
        transaction: limited,
        prepare: (_, work, its) => limited(work, its),
      }
      const options = { group: 'stock', slowAfterMs: 150_000 }
      const handler = (_request: unknown, { tx }: { readonly tx: SqlTransaction }) => note(tx)
      const headers = { ...commandHeaders(`xa-${way}`, 'invoke'), 'saga-kind': 'tcc' }
      if (way === 'binding') {
        await deliver(xaParticipant(channel, { ...options, sql: preparing, outbox }, handler), { n: 1 }, headers)
      } else {
        const answer = await askTarget(
          localTarget(channel, xaParticipant(channel, options, handler), { sql: preparing }),
          { n: 1 },
          headers,
        )
        expect(answer).toMatchObject({ reply: { status: 'ok' } })
      }
      expect(limits).toEqual(['5min'])
      expect(new Set(given)).toEqual(new Set([300_000]))
    },
  )

  test.each([false, true])(
    'of a step and of a participant in the process is ended by the server, transactions shared: %s',
    async (sharesTransactions) => {
      await migrateParticipant(sql)
      limits.length = 0
      const work = participant(
        channel,
        { group: 'stock' },
        { invoke: (_request, { tx }) => note(tx), compensate: () => {} },
      )
      const saga = defineSaga(`limited-${sharesTransactions}`, { version: 1, input: Payload })
        .command('asked', { to: localTarget(channel, work, { sql }), request: ({ input }) => input, compensate: true })
        .step('quick', { transactional: true, invoke: ({ tx }) => note(tx), compensate: () => {} })
        .step('slow', { transactional: true, timeoutMs: 150_000, invoke: ({ tx }) => note(tx), compensate: () => {} })
      const options = { service: 'shop', sql, outbox, sagas: [saga], sharesTransactions, logger: silentLogger }
      const coordinator = createCoordinator(options)
      onTestFinished(() => coordinator.close())
      await coordinator.migrate()
      await coordinator.run()
      const run = await coordinator.start(saga, { id: 's-1', input: { n: 1 } })
      expect(await run.outcome()).toMatchObject({ status: 'completed' })
      expect(limits).toEqual(['1min', '1min', '5min'])
    },
  )
})
