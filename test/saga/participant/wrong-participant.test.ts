import { type Binder, createBinder, type Headers, type SinkBinding } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import { defineSaga, migrateParticipant, participant, type Saga, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { tccParticipant } from 'concordat/saga/tcc'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { CoordinatorOptions, Operation } from '../../support/inside/saga.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { closeEmbedded, embedded, FAST, openEmbedded, stockCommands } from '../support/world.ts'

const schema = 'wrong_participant'
const sql = embedded()
const outbox = createOutbox({ sql, service: 'stock', schema, partitions: 1 })
const closing: Array<() => Promise<void>> = []
const calls: string[] = []
let ids = 0
let id = ''

beforeAll(async () => {
  await openEmbedded()
  await outbox.migrate()
  await migrateParticipant(sql, schema)
}, 120_000)
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
  calls.splice(0)
})
afterAll(closeEmbedded)

const options = { group: 'stock', sql, outbox, schema, backoff: FAST }
const call = (what: string) => () => void calls.push(what)
const plain = participant(stockCommands, options, { invoke: call('invoke'), compensate: call('compensate') })
const tcc = tccParticipant(stockCommands, options, {
  try: call('try'),
  confirm: call('confirm'),
  cancel: call('cancel'),
})

const forTcc: Headers = { 'saga-kind': 'tcc' }

describe('a command for the other kind of participant', () => {
  const answers = async (binding: SinkBinding, operation: Operation, kind: Headers = {}, attempt = 1) => {
    await deliver(binding, { sku: 'apple', n: 1 }, { ...commandHeaders(id, operation, attempt), ...kind })
    const replies = await takeReplies(sql, schema)
    return replies.map(({ status, final, code }) =>
      [status, ...(final === true ? ['final'] : []), ...(code === undefined ? [] : [code])].join(' '),
    )
  }
  const fresh = () => void (id = `s${++ids}`)

  test.each([
    ['participant', plain, forTcc],
    ['tccParticipant', tcc, {}],
  ] as const)(
    'is answered by a %s, which does nothing: the first call is refused, a later one fails permanently',
    async (_, side, kind) => {
      for (const operation of ['invoke', 'confirm', 'compensate'] as const) {
        fresh()
        const no = operation === 'invoke' ? 'refused saga.wrong_participant' : 'failed final saga.wrong_participant'
        expect(await answers(side, operation, kind)).toEqual([no])
      }
      expect(calls).toEqual([])
    },
  )

  test('is answered also when its payload cannot be read', async () => {
    for (const [side, kind] of [
      [plain, forTcc],
      [tcc, {}],
    ] as const) {
      fresh()
      const headers = { ...commandHeaders(id, 'confirm'), ...kind }
      await side.unreadable?.(new Error('not JSON'), { headers, log: { warn() {}, error() {} } } as never)
      expect((await takeReplies(sql, schema)).map(({ code }) => code)).toEqual(['saga.wrong_participant'])
    }
  })

  test.each(['constructor', '__proto__', 'later'])('is answered with the kind that it names, also %s', async (kind) => {
    fresh()
    await deliver(plain, { sku: 'apple', n: 1 }, { ...commandHeaders(id, 'invoke'), 'saga-kind': kind })
    const [reply] = await takeReplies(sql, schema)
    expect(reply?.message).toContain(`a participant of the kind "${kind}"`)
  })

  test('stays refused when it is repeated to the right one, whose effect would never be cancelled', async () => {
    fresh()
    expect(await answers(plain, 'invoke', forTcc)).toEqual(['refused saga.wrong_participant'])
    expect(await answers(tcc, 'invoke', forTcc)).toEqual(['refused saga.wrong_participant'])
    fresh()
    expect(await answers(tcc, 'invoke')).toEqual(['refused saga.wrong_participant'])
    expect(await answers(plain, 'invoke')).toEqual(['refused saga.wrong_participant'])
    expect(calls).toEqual([])
  })

  test('is not refused when the right one did it before: it is answered so again', async () => {
    fresh()
    expect(await answers(tcc, 'invoke', forTcc)).toEqual(['ok'])
    expect(await answers(plain, 'invoke', forTcc)).toEqual(['ok'])
  })

  test('is not refused when the right one may have done it before: it fails permanently, and is undone', async () => {
    fresh()
    const failing = tccParticipant(
      stockCommands,
      { ...options, maxAttempts: 1 },
      {
        try: () => {
          throw new Error('after a hold at the bank')
        },
        confirm: call('confirm'),
        cancel: call('cancel'),
      },
    )
    expect(await answers(failing, 'invoke', forTcc)).toEqual(['failed Error'])
    expect(await answers(plain, 'invoke', forTcc, 2)).toEqual(['failed final saga.wrong_participant'])
    expect(await answers(tcc, 'compensate', forTcc)).toEqual(['ok'])
    expect(calls).toEqual(['cancel'])
  })

  test('is answered with the kinds that exist, and with all that could take it', async () => {
    fresh()
    await deliver(plain, { sku: 'apple', n: 1 }, { ...commandHeaders(id, 'invoke'), ...forTcc })
    await deliver(plain, { sku: 'apple', n: 1 }, { ...commandHeaders(id, 'confirm') })
    await deliver(plain, { sku: 'apple', n: 1 }, { ...commandHeaders(id, 'confirm'), 'saga-kind': 'later' })
    const has = '"stock.commands" has participant: change one of them'
    expect((await takeReplies(sql, schema)).map(({ message }) => message)).toEqual([
      `order/reserve asks for tccParticipant, xaParticipant or undoParticipant, and ${has}`,
      `order/reserve asks for "confirm", which participant does not know, and ${has}`,
      `order/reserve asks for a participant of the kind "later", and ${has}`,
    ])
  })

  test('is not refused when it was sent before with an unknown outcome', async () => {
    fresh()
    expect(await answers(plain, 'invoke', forTcc, 2)).toEqual(['failed final saga.wrong_participant'])
  })
})

describe('a saga', () => {
  const input = z.object({})

  /** World whose participant can be exchanged while it runs. */
  async function setup(saga: Saga, more: Partial<CoordinatorOptions> = {}) {
    const own = `wrong_saga_${++ids}`
    const ownOutbox = createOutbox({ sql, service: 'orders', schema: own, partitions: 1 })
    const coordinator = createCoordinator({
      service: 'orders',
      sql,
      outbox: ownOutbox,
      schema: own,
      sagas: [saga],
      pollMs: 50,
      ...more,
    })
    await ownOutbox.migrate()
    await coordinator.migrate()
    const transport = { broker: memoryBroker() }
    const orders = createBinder({
      service: 'orders',
      transport: memoryTransport(transport),
      bindings: coordinator.bindings,
      sends: coordinator.channels,
    })
    const replies = createBinder({
      service: 'stock',
      transport: memoryTransport(transport),
      sends: [sagaReplies('orders')],
    })
    const relays = [
      createRelay({ outbox: ownOutbox, publisher: orders, idlePollMs: 20 }),
      createRelay({ outbox, publisher: replies, idlePollMs: 20 }),
    ]
    let side: Binder | undefined
    const has = async (binding: SinkBinding): Promise<void> => {
      await side?.close()
      side = createBinder({ service: 'stock', transport: memoryTransport(transport), bindings: [binding] })
      await side.start()
    }
    for (const part of [orders, replies, ...relays]) await part.start()
    await coordinator.run()
    for (const part of [coordinator, orders, replies, ...relays]) closing.push(() => part.close())
    closing.push(async () => side?.close())
    return { coordinator, has }
  }

  test('whose confirmation reaches a plain participant is stuck, is reported, and continues once that is fixed', async () => {
    const [isTried, isFixed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const stuck: string[] = []
    const saga = defineSaga('reserves', { version: 1, input })
      .tcc('there', { to: stockCommands, request: () => ({ sku: 'a', n: 1 }), confirmRetry: FAST })
      .step('check', {
        compensate: 'none',
        invoke: async () => {
          isTried.resolve()
          await isFixed.promise
        },
      })
    const { coordinator, has } = await setup(saga, { onStuck: ({ failure }) => void stuck.push(failure.code) })
    await has(tcc)
    const run = await coordinator.start(saga, { id: 's', input: {} })
    await isTried.promise
    await has(plain)
    isFixed.resolve()
    expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({
      status: 'stuck',
      failure: { step: 'there', code: 'saga.wrong_participant' },
    })
    expect(stuck).toEqual(['saga.wrong_participant'])
    expect(calls).toEqual(['try'])
    await has(tcc)
    await coordinator.retry(run, { by: 'ann', reason: 'the participant is the right one again' })
    expect((await run.outcome({ timeoutMs: 20_000 })).status).toBe('completed')
    expect(calls).toEqual(['try', 'confirm'])
  })

  test('whose command reaches a TCC participant turns back with the reason', async () => {
    const saga = defineSaga('commands', { version: 1, input }).command('there', {
      to: stockCommands,
      request: () => ({ sku: 'a', n: 1 }),
      compensate: true,
    })
    const { coordinator, has } = await setup(saga)
    await has(tcc)
    const run = await coordinator.start(saga, { id: 's', input: {} })
    expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({
      status: 'compensated',
      failure: { step: 'there', code: 'saga.wrong_participant' },
    })
    expect(calls).toEqual([])
  })
})
