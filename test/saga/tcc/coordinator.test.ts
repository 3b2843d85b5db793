import { createBinder } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createRelay } from 'concordat/outbox'
import { defineSaga, Refusal, sagaReplies } from 'concordat/saga'
import { type TccHandlers, tccParticipant } from 'concordat/saga/tcc'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  closeEmbedded,
  FAST,
  openEmbedded,
  type StockCommand,
  setupWorld,
  stockCommands,
  type World,
} from '../support/world.ts'

const within = { timeoutMs: 30_000 }
const retry = { maxAttempts: 2, ...FAST }
const by = { by: 'ann', reason: 'test' }
const Input = z.object({ refuse: z.boolean() })
const closing: Array<() => Promise<void>> = []

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** Records the calls, in order. */
function ledger() {
  const calls: string[] = []
  /** Calls of `what` still to fail. */
  const failing = new Map<string, number>()
  const call = (what: string): void => {
    calls.push(what)
    const left = failing.get(what) ?? 0
    failing.set(what, left - 1)
    if (left > 0) throw new Error(`${what} does not work`)
  }
  return { calls, failing, call }
}

/** Reserves in the coordinator's process, then in the other service; then there is a step that may refuse. */
function sagaOf({ call }: ReturnType<typeof ledger>, pivot: boolean) {
  const base = defineSaga(pivot ? 'pivoted' : 'plain', { version: 1, input: Input })
    .tcc('here', {
      retry,
      confirmRetry: retry,
      compensationRetry: retry,
      try: async ({ tx, key }) => {
        await tx.query('INSERT INTO holds VALUES ($1, $2)', [key, 'held'])
        call('try here')
        return { held: 1 }
      },
      confirm: async ({ tx, key, result }) => {
        await tx.query('UPDATE holds SET what = $2 WHERE key = $1', [key, `confirmed ${result.held}`])
        call('confirm here')
      },
      cancel: async ({ tx, key, tried }) => {
        await tx.query('DELETE FROM holds WHERE key = $1', [key])
        call(`cancel here ${tried}`)
      },
    })
    .tcc('there', {
      to: stockCommands,
      request: () => ({ sku: 'a', n: 2 }),
      reply: z.object({ left: z.number() }),
      retry: FAST,
      confirmRetry: FAST,
      compensationRetry: FAST,
      timeoutMs: 5_000,
    })
  const check = ({ input }: { input: { refuse: boolean } }) => {
    if (input.refuse) throw new Refusal('no', 'no')
  }
  return pivot
    ? base.step('check', { pivot: true, transactional: true, invoke: check })
    : base.step('check', { compensate: 'none', transactional: true, invoke: check })
}

async function setup(pivot: boolean, handlers: Partial<TccHandlers<StockCommand>> = {}) {
  const book = ledger()
  const saga = sagaOf(book, pivot)
  const world = await setupWorld({ sagas: [saga] })
  await world.sql.query('CREATE TABLE IF NOT EXISTS holds (key text PRIMARY KEY, what text)')
  const { coordinator, outbox, stockOutbox, sql, stockSchema } = world
  const side = tccParticipant(
    stockCommands,
    {
      group: 'stock',
      sql,
      outbox: stockOutbox,
      schema: stockSchema.replaceAll('"', ''),
      backoff: FAST,
      maxAttempts: 1,
    },
    {
      try: () => {
        book.call('try there')
        return { left: 5 }
      },
      confirm: () => book.call('confirm there'),
      cancel: (_, { tried }) => book.call(`cancel there ${tried}`),
      ...handlers,
    },
  )
  const transport = { broker: memoryBroker() }
  const [orders, stock] = [
    createBinder({
      service: 'orders',
      transport: memoryTransport(transport),
      bindings: coordinator.bindings,
      sends: coordinator.channels,
    }),
    createBinder({
      service: 'stock',
      transport: memoryTransport(transport),
      bindings: [side],
      sends: [sagaReplies('orders')],
    }),
  ]
  const relays = [
    createRelay({ outbox, publisher: orders, idlePollMs: 20 }),
    createRelay({ outbox: stockOutbox, publisher: stock, idlePollMs: 20 }),
  ]
  for (const part of [orders, stock, ...relays]) await part.start()
  await coordinator.run()
  for (const part of [coordinator, orders, stock, ...relays]) closing.push(() => part.close())
  let n = 0
  const start = (refuse = false) => coordinator.start(saga, { id: `${stockSchema}-${++n}`, input: { refuse } })
  return { ...book, saga, coordinator, start, holds: () => holdsOf(world) }
}

async function holdsOf({ sql, stockSchema }: World): Promise<string[]> {
  const { rows } = await sql.query<{ what: string }>('SELECT what FROM holds WHERE strpos(key, $1) > 0', [stockSchema])
  return rows.map(({ what }) => what)
}

describe.each([true, false])('a saga that reserves, with a pivot: %s', (pivot) => {
  test('confirms both when it is decided', async () => {
    const { calls, start, holds } = await setup(pivot)
    const outcome = await (await start()).outcome(within)
    expect(outcome).toMatchObject({ status: 'completed', results: { here: { held: 1 }, there: { left: 5 } } })
    expect(calls.slice(0, 2)).toEqual(['try here', 'try there'])
    expect(calls.slice(2).toSorted()).toEqual(['confirm here', 'confirm there'])
    expect(await holds()).toEqual(['confirmed 1'])
    const kinds = outcome.timeline.map(({ kind, step = '' }) => `${kind} ${step}`)
    expect(kinds.indexOf('invoked check')).toBeLessThan(kinds.indexOf('confirming here'))
  })

  test('cancels both, the last first, when it turns back', async () => {
    const { calls, start, holds } = await setup(pivot)
    expect(await (await start(true)).outcome(within)).toMatchObject({ status: 'compensated', failure: { code: 'no' } })
    expect(calls).toEqual(['try here', 'try there', 'cancel there true', 'cancel here true'])
    expect(await holds()).toEqual([])
  })
})

describe('a try that fails', () => {
  test('in the process is cancelled for its effects elsewhere; it leaves nothing in the database', async () => {
    const { calls, failing, start, holds } = await setup(true)
    failing.set('try here', 9)
    expect((await (await start()).outcome(within)).status).toBe('compensated')
    expect(calls).toEqual(['try here', 'try here', 'cancel here false'])
    expect(await holds()).toEqual([])
  })

  test('in another service is cancelled there, though its transaction was rolled back', async () => {
    const { calls, failing, start } = await setup(true)
    failing.set('try there', 99)
    expect((await (await start()).outcome(within)).status).toBe('compensated')
    expect(calls.filter((call) => call.startsWith('cancel'))).toEqual(['cancel there false', 'cancel here true'])
  })
})

describe('a confirmation that fails', () => {
  test('is retried, then parked while the others continue, and freed by an operator', async () => {
    const { calls, failing, start, holds, coordinator } = await setup(true)
    failing.set('confirm here', 2)
    const run = await start()
    expect(await run.outcome(within)).toMatchObject({ status: 'stuck', failure: { step: 'here' } })
    expect(calls).toContain('confirm there')
    expect(await holds()).toEqual(['held'])
    await expect(coordinator.cancel(run, by)).rejects.toMatchObject({ code: 'saga.action_refused' })
    await coordinator.retry(run, by)
    expect((await run.outcome(within)).status).toBe('completed')
    expect(await holds()).toEqual(['confirmed 1'])
    expect(calls.filter((call) => call === 'confirm there')).toHaveLength(1)
  })

  test('can be taken as done, or the saga ended, by an operator', async () => {
    const { failing, start, coordinator } = await setup(false)
    failing.set('confirm here', 99)
    const [skipped, resolved] = [await start(), await start()]
    for (const run of [skipped, resolved]) expect((await run.outcome(within)).status).toBe('stuck')
    await coordinator.skip(skipped, by)
    await coordinator.resolve(resolved, { ...by, outcome: 'completed' })
    for (const run of [skipped, resolved]) expect((await run.outcome(within)).status).toBe('completed')
  })
})

describe('.tcc', () => {
  const base = defineSaga('s', { version: 1, input: Input })
  const local = { try: () => 1, confirm: () => {}, cancel: () => {} }

  test('stands before the pivot, and not in a sub-saga that can be undone', () => {
    const pivoted = base.step('p', { pivot: true, invoke: () => 1 }) as unknown as typeof base
    expect(() => pivoted.tcc('late', local)).toThrow(/after the pivot nothing is cancelled/)
    const child = base.tcc('a', local)
    const outer = defineSaga('o', { version: 1, input: Input })
    const options = { saga: child, input: () => ({ refuse: false }) }
    expect(() => outer.saga('child', { ...options, compensate: true })).toThrow(
      /cannot be undone once it has completed/,
    )
    expect(outer.saga('child', { ...options, compensate: 'none' }).steps).toHaveLength(1)
  })

  test('names missing or unknown parts', () => {
    expect(() => base.tcc('a', { ...local, cancel: undefined as never })).toThrow(
      /tcc\("a"\)\.cancel: expected a function/,
    )
    expect(() => base.tcc('a', { ...local, pivot: true } as never)).toThrow(/tcc\("a"\)\.pivot/)
    expect(() => base.tcc('a', { to: stockCommands } as never)).toThrow(/tcc\("a"\)\.request/)
  })
})
