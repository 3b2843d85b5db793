// oxlint-disable no-restricted-imports -- inside of the participant: the statements of its barrier
/** Owner of a step for a participant: its saga's service and birth, beside the key. */
import type { Headers, SinkBinding } from 'concordat/binder'
import type { SqlTransaction } from 'concordat/core'
import { defineSaga, participant, Refusal, SAGA_HEADERS } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { Barrier } from '../../../saga/participant/barrier.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { runningWorlds } from '../support/running-world.ts'
import { type StockCommand, setupWorld, stockCommands } from '../support/world.ts'

const Input = z.object({ n: z.number() })
const within = { timeoutMs: 15_000 }
const setup = runningWorlds()
const id = 'o-1'

function ledger() {
  const calls: string[] = []
  const handlers = {
    invoke: ({ n }: StockCommand) => {
      calls.push(`do ${n}`)
      return { done: n }
    },
    compensate: ({ n }: StockCommand) => void calls.push(`undo ${n}`),
  }
  return { calls, handlers }
}

/** Participant alone: nothing runs but the delivered commands. */
async function alone(more: Partial<Parameters<typeof setupWorld>[0]> = {}) {
  const { calls, handlers } = ledger()
  const saga = defineSaga('order', { version: 1, input: Input }).step('a', { invoke: () => 1, compensate: 'none' })
  const world = await setupWorld({ sagas: [saga], handlers, ...more })
  const send = (n: number, headers: Headers): Promise<void> => deliver(world.participant, { sku: 's', n }, headers)
  const replies = () => takeReplies(world.sql, world.stockSchema)
  return { world, calls, send, replies }
}

const of = (service: string, birth?: string, operation: 'invoke' | 'compensate' = 'invoke'): Headers => ({
  ...commandHeaders(id, operation),
  [SAGA_HEADERS.replyTo]: `${service}.saga-replies`,
  ...(birth !== undefined && { 'saga-birth': birth }),
})

test('keeping no answers costs no statement', async () => {
  const barrier = new Barrier('stock')
  const tx = { query: () => Promise.reject(new Error('a statement')) } as unknown as SqlTransaction
  await barrier.enterAll(tx, [])
  await barrier.keepAll(tx, [])
})

describe('two services whose sagas have one name and id', () => {
  test('have their effects both, each answered with its own', async () => {
    const { calls, send, replies } = await alone()
    await send(500, of('eu', 'b1'))
    await send(99_900, of('us', 'b2'))
    await send(99_900, of('us', 'b2'))
    await send(500, of('eu', 'b1'))
    expect(calls).toEqual(['do 500', 'do 99900'])
    expect((await replies()).map(({ result }) => result)).toEqual([500, 99_900, 99_900, 500].map((done) => ({ done })))
  })

  test('undo their own, and refuse late commands of their own only', async () => {
    const { calls, send, replies } = await alone()
    await send(1, of('eu', 'b1'))
    await send(2, of('us', 'b2', 'compensate'))
    await send(2, of('us', 'b2'))
    await send(1, of('eu', 'b1'))
    await send(1, of('eu', 'b1', 'compensate'))
    expect(calls).toEqual(['do 1', 'undo 1'])
    expect((await replies()).map(({ status }) => status)).toEqual(['ok', 'ok', 'refused', 'ok', 'ok'])
  })
})

describe('a service that gets another name while its sagas are open', () => {
  test('has no effect twice, and undoes its effects under the old one', async () => {
    const { calls, send, replies } = await alone()
    await send(1, of('eu', 'b1'))
    await send(1, of('europe', 'b1'))
    await send(1, of('europe', 'b1', 'compensate'))
    expect(calls).toEqual(['do 1', 'undo 1'])
    expect((await replies()).map(({ status }) => status)).toEqual(['ok', 'ok', 'ok'])
  })
})

describe('sagas without a birth', () => {
  test('are distinguished by their reply channels', async () => {
    const { calls, send } = await alone()
    for (const service of ['eu', 'us', 'eu']) await send(1, of(service))
    // The saga may be the same, with a coordinator that now sends its birth time.
    await send(2, of('eu', 'b1'))
    await send(1, of('us', undefined, 'compensate'))
    expect(calls).toEqual(['do 1', 'do 1', 'undo 1'])
  })
})

describe('an id that is started again', () => {
  test('after its saga was deleted here and there has effects of its own', async () => {
    const { calls, handlers } = ledger()
    const saga = defineSaga('buy', { version: 1, input: Input }).command('charge', {
      to: stockCommands,
      request: ({ input }) => ({ sku: 's', n: input.n }),
      reply: z.object({ done: z.number() }),
      compensate: true,
    })
    const { coordinator, sql, stockSchema } = await setup({ sagas: [saga], handlers })
    for (const n of [500, 700]) {
      const run = await coordinator.start(saga, { id, input: { n } })
      expect(await run.outcome(within)).toMatchObject({ status: 'completed', results: { charge: { done: n } } })
      expect(await coordinator.purge({ olderThanMs: 0 })).toBe(1)
      await sql.query(`DELETE FROM ${stockSchema}.saga_barrier`)
    }
    expect(calls).toEqual(['do 500', 'do 700'])
  })

  test('after its saga was undone is not refused; a late command of the old one still is', async () => {
    const { calls, send, replies } = await alone()
    await send(1, of('eu', 'b1', 'compensate'))
    await send(2, of('eu', 'b2'))
    await send(1, of('eu', 'b1'))
    await send(2, of('eu', 'b2', 'compensate'))
    expect(calls).toEqual(['do 2', 'undo 2'])
    expect((await replies()).map(({ status, birth }) => `${status} ${birth}`)).toEqual([
      'ok b1',
      'ok b2',
      'refused b1',
      'ok b2',
    ])
  })

  test('does not take the late answer of the old one for its own', async () => {
    const saga = defineSaga('order', { version: 1, input: Input }).command('reserve', {
      to: stockCommands,
      request: ({ input }) => ({ sku: 's', n: input.n }),
      compensate: true,
    })
    const { coordinator, stock } = await setup({ sagas: [saga] })
    stock().pause()
    const run = await coordinator.start(saga, { id, input: { n: 1 } })
    const replies = coordinator.bindings[0] as SinkBinding
    const reply = { saga: 'order', sagaId: id, step: 'reserve', operation: 'invoke', status: 'ok', result: 'old' }
    await deliver(replies, { ...reply, birth: 'another' }, {}, 1)
    expect((await run.report()).status).toBe('running')
    await deliver(replies, reply, {}, 1) // by a participant that does not repeat it
    expect((await run.outcome(within)).results).toEqual({ reserve: 'old' })
  })
})

describe('a row that a participant forgets in the middle of a command', () => {
  test('is entered again: there is no effect without a row', async () => {
    const { world, calls } = await alone()
    const table = `${world.stockSchema}.saga_barrier`
    await deliver(world.participant, { sku: 's', n: 1 }, of('eu', 'b1'))
    let purged = false
    const forgetful: typeof world.sql = {
      ...world.sql,
      transaction: (work) =>
        world.sql.transaction((tx) =>
          work({
            ...tx,
            query: async (text, parameters) => {
              // Between the check that it exists and its reading.
              if (!purged && text.trimStart().startsWith('SELECT') && text.includes('saga_barrier')) {
                purged = true
                await tx.query(`DELETE FROM ${table}`)
              }
              return tx.query(text, parameters)
            },
          }),
        ),
    }
    const side = participant(
      stockCommands,
      { group: 'stock', sql: forgetful, outbox: world.stockOutbox, schema: world.stockSchema.slice(1, -1) },
      { invoke: () => void calls.push('again'), compensate: () => {} },
    )
    await deliver(side, { sku: 's', n: 1 }, of('eu', 'b1'))
    expect(purged).toBe(true)
    expect(calls).toEqual(['do 1', 'again'])
    expect((await world.sql.query(`SELECT status FROM ${table}`)).rows).toEqual([{ status: 'ok' }])
  })
})

describe('an operator’s retry of a refused command', () => {
  const note = { by: 'ann', reason: 'restocked' }

  test.each([
    ['refused', () => new Refusal('stock.empty', 'sold out')],
    ['given up for good', () => Object.assign(new Error('no such shelf'), { retryable: false })],
  ])('after the pivot has the handler called again when it was %s', async (_, error) => {
    const calls: string[] = []
    const saga = defineSaga('ship', { version: 1, input: Input })
      .step('pay', { pivot: true, invoke: () => 'paid' })
      .command('send', { to: stockCommands, request: ({ input }) => ({ sku: 's', n: input.n }) })
    const world = await setup({
      sagas: [saga],
      handlers: {
        invoke: () => {
          calls.push('ask')
          if (calls.length < 3) throw error()
          return 'sent'
        },
        compensate: () => {},
      },
    })
    const { coordinator } = world
    const run = await coordinator.start(saga, { id, input: { n: 1 } })
    expect((await run.outcome(within)).status).toBe('stuck')
    await coordinator.retry(run, note)
    expect((await run.outcome(within)).status).toBe('stuck')
    expect(calls).toHaveLength(2)
    await coordinator.retry(run, note)
    expect(await run.outcome(within)).toMatchObject({ status: 'completed', results: { send: 'sent' } })
    expect(calls).toHaveLength(3)
  })

  test('calls it once, for any number of copies', async () => {
    const calls: string[] = []
    const handlers = {
      invoke: () => {
        calls.push('ask')
        if (calls.length === 1) throw new Refusal('stock.empty', 'sold out')
      },
      compensate: () => {},
    }
    const { send, replies } = await alone({ handlers })
    const round = (n: number): Headers => ({ ...of('eu', 'b1'), 'saga-round': n })
    await send(1, of('eu', 'b1'))
    await send(1, of('eu', 'b1'))
    await send(1, round(1))
    await send(1, round(1))
    await send(1, of('eu', 'b1'))
    expect(calls).toHaveLength(2)
    expect((await replies()).map(({ status }) => status)).toEqual(['refused', 'refused', 'ok', 'ok', 'ok'])
  })
})
