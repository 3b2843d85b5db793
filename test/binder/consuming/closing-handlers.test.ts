/** Handlers that run while their binder, or a part that they use, closes: as in every deployment. */
import {
  BinderError,
  createBinder,
  defineChannel,
  responder,
  SendError,
  sink,
  sinkBatch,
  TransportError,
} from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { LockError } from 'concordat/locks'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { SagaError } from 'concordat/saga'
import { ServiceClosed } from 'concordat/service'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { keeper, NO_PAUSE, running } from '../support/run.ts'

const orders = defineChannel('orders', { payload: z.object({ n: z.number() }), groups: ['shop'] })
const bills = defineChannel('bills', { payload: z.object({ n: z.number() }), groups: ['keeper'] })
const asked = defineChannel('asked', { payload: z.object({}), groups: ['prices'] })
const told = defineChannel('told', { payload: z.object({ cents: z.number() }) })

const sent = new SendError(
  'bills',
  'm-1',
  new TransportError({ transport: 'memory', kind: 'closed', message: 'closed' }),
)

describe('a handler that runs when its binder closes', () => {
  it('still sends and asks', async () => {
    const broker = memoryBroker()
    const prices = responder(asked, told, { group: 'prices' }, () => ({ cents: 5 }))
    await running({ service: 'prices', transport: memoryTransport({ broker }), bindings: [prices] })
    const kept = keeper(bills)
    await running({ service: 'keeper', transport: memoryTransport({ broker }), bindings: [kept.binding] })
    const [begun, closing] = [gate(), gate()]
    const shop = await running({
      service: 'shop',
      transport: memoryTransport({ broker }),
      sends: [orders, bills, asked],
      replies: [told],
      bindings: [
        sink(orders, { group: 'shop', maxAttempts: 1 }, async ({ n }) => {
          begun.open()
          await closing.opened
          const { cents } = await shop.request(asked, {}, { reply: told })
          await shop.send(bills, { n: n + cents })
          await shop.sendBatch(bills, [{ n: 100 }])
        }),
      ],
    })
    await shop.send(orders, { n: 1 })
    await begun.opened
    const closed = shop.close()
    closing.open()
    await closed
    await until('both bills came', () => kept.got.length === 2)
    expect(kept.got.map(({ payload }) => payload.n)).toEqual([6, 100])
    await expect(shop.send(bills, { n: 1 })).rejects.toMatchObject({ code: 'binder.closed' })
  })
})

describe.for([
  ['binder', () => new BinderError('binder.closed', { state: 'closing' })],
  ['transport', () => sent],
  ['coordinator', () => new SagaError('saga.closed')],
  ['service', () => new ServiceClosed('shop')],
  ['lock client', () => new LockError('locks.closed')],
] as const)('a handler that fails because a %s is closed', ([, error]) => {
  it.for(['one by one', 'in batches'] as const)('leaves its message to another process, %s', async (how) => {
    const broker = memoryBroker()
    const calls: number[] = []
    const failing = { group: 'shop', maxAttempts: 1, backoff: NO_PAUSE } as const
    const fail = (): never => {
      calls.push(1)
      throw error()
    }
    const binding =
      how === 'one by one'
        ? sink(orders, failing, fail)
        : sinkBatch(orders, { ...failing, batch: { maxSize: 2, maxWaitMs: 1 } }, fail)
    const transport = memoryTransport({ broker })
    const first = createBinder({ service: 'shop', transport, bindings: [binding], logger: silentLogger })
    await first.start()
    await first.send(orders, { n: 1 })
    await until('it was called', () => calls.length > 0)
    await first.close()
    const { got, binding: next } = keeper(orders, 'shop')
    await running({ service: 'shop', transport: memoryTransport({ broker }), bindings: [next] })
    await until('the message came to the other', () => got.length === 1)
    expect(first.bindings()[0]).toMatchObject({ deadLettered: 0 })
  })
})
