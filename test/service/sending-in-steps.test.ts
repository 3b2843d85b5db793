import { defineChannel, sink } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { postgresTransport } from 'concordat/postgres'
import { defineSaga, localTarget, migrateParticipant, participant, Refusal } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { tccParticipant } from 'concordat/saga/tcc'
import { createService, type Service, type ServiceOptions } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import type { SendingTransaction } from '../support/inside/outbox.ts'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const Order = z.object({ id: z.string() })
type Order = z.infer<typeof Order>
const confirmed = defineChannel('orders.confirmed', { payload: Order, key: ({ id }) => id, partitions: 1 })
const commands = defineChannel('stock.commands', { payload: Order })
const FAST = { initialMs: 1, maxMs: 2 }

interface Shop extends AsyncDisposable {
  readonly service: Service
  readonly received: readonly string[]
  readonly schema: string
}

/** Service that keeps the messages to `confirmed`. */
async function open(options: Partial<ServiceOptions>): Promise<Shop> {
  const received: string[] = []
  const schema = uniqueName('shop')
  const service: Service = createService({
    name: 'shop',
    schema,
    sql,
    transport: memoryTransport(),
    // A single lane from the outbox to the sink: the last message sent arrives last.
    parts: { outbox: { partitions: 1 } },
    ...options,
    sends: [confirmed],
    bindings: [...(options.bindings ?? []), sink(confirmed, { group: 'all' }, ({ id }) => void received.push(id))],
  })
  await service.start()
  return { service, received, schema, [Symbol.asyncDispose]: () => service.close() }
}

/** A message that is sent after all others of the shop, and comes after them. */
async function marker({ service, received }: Shop): Promise<void> {
  await service.transaction((tx) => tx.send(confirmed, { id: 'last' } as never))
  await until('the last one came', () => received.includes('last'))
}

async function nested(tx: SendingTransaction, work: () => Promise<unknown>): Promise<void> {
  await tx.query('SAVEPOINT inner_work')
  await work().catch(() => undefined)
  await tx.query('ROLLBACK TO SAVEPOINT inner_work')
}

describe.each([
  ['an outbox with a relay', () => memoryTransport()],
  ['the log of PostgreSQL', () => postgresTransport({ sql })],
])('tx.send of a transactional step, over %s', (_, transport) => {
  test('leaves once, for any number of attempts', async () => {
    let attempts = 0
    const saga = defineSaga('place-order', { version: 1, input: Order }).step('confirm', {
      pivot: true,
      transactional: true,
      retry: { maxAttempts: 5, ...FAST },
      invoke: async ({ input, tx, attempt }) => {
        attempts = attempt
        await tx.send(confirmed, { id: `attempt-${attempt}-of-${input.id}` })
        if (attempt < 3) throw new Error('not yet')
      },
    })
    await using shop = await open({ sagas: [saga], transport: transport() })
    const run = await shop.service.run(saga, { id: 'o-1', input: { id: 'o-1' } })
    expect(await run.outcome()).toMatchObject({ status: 'completed' })
    await marker(shop)
    expect(attempts).toBe(3)
    expect(shop.received).toEqual(['attempt-3-of-o-1', 'last'])
  })

  test('leaves not when the step is refused', async () => {
    const saga = defineSaga('place-order', { version: 1, input: Order }).step('reserve', {
      transactional: true,
      invoke: async ({ input, tx }) => {
        await tx.send(confirmed, input)
        throw new Refusal('stock.sold_out', 'none are left')
      },
      compensate: 'none',
    })
    await using shop = await open({ sagas: [saga], transport: transport() })
    const run = await shop.service.run(saga, { id: 'o-1', input: { id: 'o-1' } })
    expect(await run.outcome()).toMatchObject({ status: 'compensated' })
    await marker(shop)
    expect(shop.received).toEqual(['last'])
  })

  test('leaves from a compensation, too', async () => {
    const saga = defineSaga('place-order', { version: 1, input: Order })
      .step('reserve', {
        transactional: true,
        invoke: ({ tx }) => tx.send(confirmed, { id: 'done' }),
        compensate: async ({ tx }) => void (await tx.send(confirmed, { id: 'undone' })),
      })
      .step('charge', {
        invoke: () => {
          throw new Refusal('card.declined', 'no')
        },
        compensate: 'none',
      })
    await using shop = await open({ sagas: [saga], transport: transport() })
    const run = await shop.service.run(saga, { id: 'o-1', input: { id: 'o-1' } })
    expect(await run.outcome()).toMatchObject({ status: 'compensated' })
    await marker(shop)
    expect(shop.received).toEqual(['done', 'undone', 'last'])
  })

  test('sends nothing of work rolled back to a savepoint', async () => {
    const saga = defineSaga('place-order', { version: 1, input: Order }).step('confirm', {
      pivot: true,
      transactional: true,
      invoke: async ({ tx }) => {
        await tx.send(confirmed, { id: 'before' })
        await nested(tx, () => tx.send(confirmed, { id: 'inside' }))
        await tx.send(confirmed, { id: 'after' })
      },
    })
    await using shop = await open({ sagas: [saga], transport: transport() })
    const run = await shop.service.run(saga, { id: 'o-1', input: { id: 'o-1' } })
    expect(await run.outcome()).toMatchObject({ status: 'completed' })
    await marker(shop)
    expect(shop.received.toSorted()).toEqual(['after', 'before', 'last'])
  })

  test('sends of steps that share a transaction only messages of completed ones', async () => {
    const saga = defineSaga('place-order', { version: 1, input: Order }).step('reserve', {
      transactional: true,
      invoke: async ({ input, tx }) => {
        await tx.send(confirmed, input)
        if (Number(input.id) % 3 === 0) throw new Refusal('stock.sold_out', 'none are left')
      },
      compensate: 'none',
    })
    await using shop = await open({ sagas: [saga], transport: transport() })
    const ids = Array.from({ length: 20 }, (__, i) => String(i + 1))
    const runs = await Promise.all(ids.map((id) => shop.service.run(saga, { id, input: { id } })))
    await Promise.all(runs.map((run) => run.outcome()))
    await marker(shop)
    expect(shop.received.toSorted()).toEqual([...ids.filter((id) => Number(id) % 3 !== 0), 'last'].toSorted())
  })
})

describe('tx.send of a participant', () => {
  const saga = defineSaga('place-order', { version: 1, input: Order }).command('reserve', {
    to: commands,
    request: ({ input }) => input,
    compensate: true,
  })

  test.each(['tx', 'anywhere'] as const)('leaves with the effect, once (effects: %s)', async (effects) => {
    let calls = 0
    const invoke = async ({ id }: Order, { tx }: { readonly tx: SendingTransaction }): Promise<void> => {
      calls++
      await nested(tx, () => tx.send(confirmed, { id: 'inside' }))
      await tx.send(confirmed, { id: `call-${calls}-for-${id}` })
      if (calls < 2) throw new Error('not yet')
    }
    const stock = participant(
      commands,
      { group: 'stock', effects, maxAttempts: 3, backoff: FAST, sharesTransactions: true, concurrency: 4 },
      { invoke, compensate: () => {} },
    )
    await using shop = await open({ sagas: [saga], bindings: [stock] })
    const run = await shop.service.run(saga, { id: 'o-1', input: { id: 'o-1' } })
    expect(await run.outcome()).toMatchObject({ status: 'completed' })
    await marker(shop)
    expect(shop.received).toEqual(['call-2-for-o-1', 'last'])
  })

  test('leaves not when it refuses', async () => {
    const stock = participant(
      commands,
      { group: 'stock', effects: 'tx' },
      {
        invoke: async (order, { tx }) => {
          await tx.send(confirmed, order)
          throw new Refusal('stock.sold_out', 'none are left')
        },
        compensate: () => {},
      },
    )
    await using shop = await open({ sagas: [saga], bindings: [stock] })
    const run = await shop.service.run(saga, { id: 'o-1', input: { id: 'o-1' } })
    expect(await run.outcome()).toMatchObject({ status: 'compensated' })
    await marker(shop)
    expect(shop.received).toEqual(['last'])
  })

  test('leaves from each function of a TCC participant', async () => {
    const send = async (what: string, { tx }: { readonly tx: SendingTransaction }): Promise<void> =>
      void (await tx.send(confirmed, { id: what }))
    const stock = tccParticipant(
      commands,
      { group: 'stock', effects: 'tx' },
      {
        try: (_, context) => send('tried', context),
        confirm: (_, context) => send('confirmed', context),
        cancel: (_, context) => send('cancelled', context),
      },
    )
    const reserving = defineSaga('reserve', { version: 1, input: Order }).tcc('reserve', {
      to: commands,
      request: ({ input }) => input,
    })
    await using shop = await open({ sagas: [reserving], bindings: [stock] })
    const run = await shop.service.run(reserving, { id: 'o-1', input: { id: 'o-1' } })
    expect(await run.outcome()).toMatchObject({ status: 'completed' })
    await marker(shop)
    expect(shop.received).toEqual(['tried', 'confirmed', 'last'])
  })
})

describe('without an outbox that takes messages', () => {
  const sending = defineSaga('send', { version: 1, input: Order }).step('send', {
    transactional: true,
    invoke: ({ input, tx }) => tx.send(confirmed, input),
    compensate: 'none',
  })

  test('a step that sends fails permanently, with the name of the missing option', async () => {
    const schema = uniqueName('bare')
    const outbox = { addEncoded: async () => {} }
    const coordinator = createCoordinator({ service: 'shop', sql, schema, outbox, sagas: [sending] })
    await coordinator.migrate()
    await coordinator.run()
    const run = await coordinator.start(sending, { id: 'o-1', input: { id: 'o-1' } })
    expect(await run.outcome()).toMatchObject({
      status: 'compensated',
      failure: {
        code: 'outbox.transaction_without_outbox',
        message: expect.stringContaining('createCoordinator({ outbox })') as unknown,
      },
    })
    await coordinator.close()
  })

  test('a participant that is called directly and sends fails permanently, too', async () => {
    const schema = uniqueName('asked')
    await migrateParticipant(sql, schema)
    let error: unknown
    const stock = participant(
      commands,
      { group: 'stock' },
      {
        invoke: (order, { tx }) =>
          tx.send(confirmed, order).catch((thrown: unknown) => {
            error = thrown
            throw thrown
          }),
        compensate: () => {},
      },
    )
    const saga = defineSaga('ask', { version: 1, input: Order }).command('reserve', {
      to: localTarget(commands, stock, { sql, schema }),
      request: ({ input }) => input,
      compensate: true,
    })
    await using shop = await open({ sagas: [saga] })
    const run = await shop.service.run(saga, { id: 'o-1', input: { id: 'o-1' } })
    expect(await run.outcome()).toMatchObject({ status: 'compensated' })
    expect(error).toMatchObject({ code: 'outbox.transaction_without_outbox' })
  })
})
