import {
  type Binder,
  type BinderOptions,
  createBinder,
  defineChannel,
  RequestRefused,
  responder,
  sink,
  TerminalError,
} from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { gate, until } from '../../support/until.ts'
import { keeper, NO_PAUSE, running } from '../support/run.ts'

const asked = defineChannel('prices.asked', { payload: z.object({ sku: z.string() }), key: ({ sku }) => sku })
const told = defineChannel('prices.told', { payload: z.object({ cents: z.number() }), groups: ['never-read'] })
const group = 'prices'

function broker(): (options?: Partial<BinderOptions>) => Promise<Binder> {
  const shared = memoryBroker()
  return (options) => running({ transport: memoryTransport({ broker: shared }), ...options })
}

const answering = responder(asked, told, { group, backoff: NO_PAUSE }, ({ sku }) => ({ cents: sku.length }))

describe('a request', () => {
  it('resolves with the reply', async () => {
    const start = broker()
    await start({ service: 'prices', bindings: [answering] })
    const shop = await start({ service: 'shop', replies: [told] })
    expect(await shop.request(asked, { sku: 'kiwi' }, { reply: told })).toEqual({ cents: 4 })
  })

  it('gets its own reply among many, in each instance of a service', async () => {
    const start = broker()
    await start({ service: 'prices', bindings: [answering] })
    const shops = await Promise.all([1, 2].map(() => start({ service: 'shop', replies: [told] })))
    const replies = await Promise.all(
      shops.flatMap((shop) =>
        Array.from({ length: 50 }, (_, i) => shop.request(asked, { sku: 'x'.repeat(i) }, { reply: told })),
      ),
    )
    expect(replies.map(({ cents }) => cents)).toEqual([...Array(50).keys(), ...Array(50).keys()])
  })

  it('fails with the code and the message of a refusing responder; nothing is dead-lettered', async () => {
    const calls: number[] = []
    const refusing = responder(asked, told, { group }, (_request, { attempt }) => {
      calls.push(attempt)
      throw new RequestRefused('no_such_sku', 'we do not sell kiwis')
    })
    const start = broker()
    const prices = await start({ service: 'prices', bindings: [refusing] })
    const shop = await start({ replies: [told] })
    await expect(shop.request(asked, { sku: 'kiwi' }, { reply: told })).rejects.toMatchObject({
      code: 'binder.request_failed',
      reason: 'no_such_sku',
      responder: 'prices',
      retryable: false,
      message: '"prices" answered a request on "prices.asked" with no_such_sku: we do not sell kiwis',
    })
    await until('it is settled', () => prices.binding('prices.asked.prices').status().handled === 1)
    expect(calls).toEqual([1])
    expect(prices.binding('prices.asked.prices').status().deadLettered).toBe(0)
  })

  it('fails when the responder fails permanently, which is dead-lettered as any message', async () => {
    const failing = responder(asked, told, { group, backoff: NO_PAUSE, maxAttempts: 2 }, () => {
      throw new Error('disk full')
    })
    const start = broker()
    const prices = await start({ service: 'prices', bindings: [failing] })
    const shop = await start({ replies: [told] })
    await expect(shop.request(asked, { sku: 'kiwi' }, { reply: told })).rejects.toMatchObject({
      reason: 'failed',
      retryable: true,
    })
    await until('it is dead-lettered', () => prices.binding('prices.asked.prices').status().deadLettered === 1)
  })

  it('fails at once when the responder cannot read it', async () => {
    const start = broker()
    await start({ service: 'prices', bindings: [answering] })
    const shop = await start({ replies: [told] })
    const other = defineChannel('prices.asked', { payload: z.object({ product: z.string() }) })
    await expect(shop.request(other, { product: 'kiwi' }, { reply: told })).rejects.toMatchObject({
      code: 'binder.request_failed',
      reason: 'core.schema',
      retryable: false,
    })
  })

  it('fails when the reply does not fit its channel', async () => {
    const start = broker()
    const other = defineChannel('prices.told', { payload: z.string() })
    await start({ service: 'prices', bindings: [responder(asked, other, { group }, () => 'four')] })
    const shop = await start({ replies: [told] })
    await expect(shop.request(asked, { sku: 'kiwi' }, { reply: told })).rejects.toMatchObject({ code: 'core.schema' })
  })

  it('times out without a reply, and drops and counts a late one', async () => {
    const clock = new FakeClock()
    const late = gate()
    const slow = responder(asked, told, { group }, async () => {
      await late.opened
      return { cents: 1 }
    })
    const start = broker()
    const prices = await start({ service: 'prices', bindings: [slow] })
    const shop = await start({ service: 'shop', replies: [told], clock })
    const reply = shop.request(asked, { sku: 'kiwi' }, { reply: told, timeoutMs: 5_000 })
    const outcome = reply.catch((error: unknown) => error)
    await until('it is asked', () => prices.binding('prices.asked.prices').status().running === 1)
    await clock.advance(5_000)
    expect(await outcome).toMatchObject({ code: 'binder.request_timeout', retryable: true, timeoutMs: 5_000 })
    late.open()
    await until('the reply was dropped', () => shop.binding('prices.told.shop').status().discarded === 1)
  })

  it('ends with the reason of its signal', async () => {
    const start = broker()
    const shop = await start({ replies: [told] })
    const stop = new AbortController()
    const reply = shop.request(asked, { sku: 'kiwi' }, { reply: told, signal: stop.signal })
    const reason = new Error('the customer left')
    stop.abort(reason)
    await expect(reply).rejects.toBe(reason)
    await expect(shop.request(asked, { sku: 'k' }, { reply: told, signal: stop.signal })).rejects.toBe(reason)
  })

  it('ends when the binder closes', async () => {
    const shop = await broker()({ replies: [told] })
    const outcome = shop.request(asked, { sku: 'kiwi' }, { reply: told }).catch((error: unknown) => error)
    await shop.close()
    expect(await outcome).toMatchObject({ code: 'binder.closed' })
  })

  it('is sent only once replies can come', async () => {
    const shared = memoryBroker()
    const { got, binding } = keeper(asked, 'prices')
    const prices = await running({
      service: 'prices',
      transport: memoryTransport({ broker: shared }),
      bindings: [binding],
    })
    const shop = createBinder({ service: 'shop', transport: memoryTransport({ broker: shared }), replies: [told] })
    await shop.start()
    await shop.binding('prices.told.shop').stop()
    const outcome = shop.request(asked, { sku: 'kiwi' }, { reply: told }).catch((error: unknown) => error)
    await prices.send(asked, { sku: 'other' })
    await until('the other came', () => got.length === 1)
    await shop.binding('prices.told.shop').start()
    await until('the request came', () => got.length === 2)
    expect(got.map(({ payload }) => payload.sku)).toEqual(['other', 'kiwi'])
    await shop.close()
    expect(await outcome).toMatchObject({ code: 'binder.closed' })
  })

  it('is sent and answered while one part of the replies is blocked', async () => {
    const shared = memoryBroker()
    await running({ service: 'prices', transport: memoryTransport({ broker: shared }), bindings: [answering] })
    const transport = memoryTransport({ broker: shared })
    const subscribe = transport.subscribe.bind(transport)
    const reason = new Error('partition 3 cannot be read')
    transport.subscribe = async (spec, receiver) => {
      const subscription = await subscribe(spec, receiver)
      receiver.stalled?.({ reason, isPassing: false })
      return subscription
    }
    const shop = createBinder({ service: 'shop', transport, replies: [told] })
    onTestFinished(() => shop.close())
    await shop.start()
    expect(shop.binding('prices.told.shop').status()).toMatchObject({ state: 'connecting', error: reason.message })
    expect(await shop.request(asked, { sku: 'kiwi' }, { reply: told, timeoutMs: 2_000 })).toEqual({ cents: 4 })
  })

  it('has id, key and headers of its own, and is retryable with the same id', async () => {
    const seen: unknown[] = []
    const looking = responder(asked, told, { group }, (_request, { id, key, headers }) => {
      seen.push([id, key, headers['tenant']])
      return { cents: 1 }
    })
    const start = broker()
    await start({ service: 'prices', bindings: [looking] })
    const shop = await start({ replies: [told] })
    await shop.request(asked, { sku: 'kiwi' }, { reply: told, id: 'q-1', key: 'k', headers: { tenant: 'north' } })
    expect(seen).toEqual([['q-1', 'k', 'north']])
  })

  it('needs names that leave its replies a destination', () => {
    const longest = defineChannel('t'.repeat(195), { payload: z.object({ cents: z.number() }) })
    const create = (service: string): Binder =>
      createBinder({ service, transport: memoryTransport(), replies: [told, longest] })
    expect(create('shop').bindings()).toHaveLength(2)
    expect(() => create('shops')).toThrow(/createBinder\.replies\[1\].* at most 200 characters/)
  })

  it('is refused where it is wrong', async () => {
    const shop = await broker()({ replies: [told] })
    const unlisted = defineChannel('unlisted', { payload: z.string() })
    await expect(shop.request(asked, { sku: 'k' }, { reply: unlisted })).rejects.toThrow(
      'request.reply: expected one of createBinder({ replies }): prices.told, got "unlisted"',
    )
    await expect(shop.request(asked, { sku: 'k' }, { reply: told, timeoutMs: 0 })).rejects.toThrow('request.timeoutMs')
    await expect(shop.request(asked, { sku: 'k' }, { reply: told, tiemoutMs: 1 } as never)).rejects.toThrow(
      'request("prices.asked").tiemoutMs: expected one of reply, timeoutMs',
    )
    await expect(shop.request(asked, { sku: 'k' }, { reply: told, timeout: 1 } as never)).rejects.toThrow(
      'Did you mean "timeoutMs"?',
    )
    const idle = createBinder({ service: 's', transport: memoryTransport(), replies: [told] })
    await expect(idle.request(asked, { sku: 'k' }, { reply: told })).rejects.toMatchObject({ code: 'binder.closed' })
    expect(() => createBinder({ service: 's', transport: memoryTransport(), replies: [told, told] })).toThrow(
      'createBinder.replies: expected each channel once',
    )
  })
})

describe('a responder', () => {
  it('handles messages that expect no answer', async () => {
    const prices = await broker()({ service: 'prices', bindings: [answering] })
    await prices.send(asked, { sku: 'kiwi' })
    await until('it was handled', () => prices.binding('prices.asked.prices').status().handled === 1)
  })

  it('sends no answer to another channel than that of its replies', async () => {
    const start = broker()
    const { got, binding } = keeper(defineChannel('secrets', { payload: z.unknown() }))
    const prices = await start({ service: 'prices', bindings: [answering, binding] })
    await prices.send(asked, { sku: 'kiwi' }, { headers: { 'request-reply-to': 'secrets', 'request-id': 'i/1' } })
    await until('it is dead-lettered', () => prices.binding('prices.asked.prices').status().deadLettered === 1)
    expect(got).toEqual([])
  })

  it('makes no destination for the 101st invented name, and still answers the known ones', async () => {
    const start = broker()
    const memory = memoryBroker()
    const transport = memoryTransport({ broker: memory })
    const made = new Set<string>()
    const provision = transport.provision.bind(transport)
    transport.provision = (specs) => {
      for (const { name } of specs) made.add(name)
      return provision(specs)
    }
    const choosy = responder(asked, told, { group, backoff: NO_PAUSE }, ({ sku }) => {
      if (sku === 'none') throw new RequestRefused('no', 'none')
      return { cents: sku.length }
    })
    const prices = await start({ service: 'prices', transport, bindings: [choosy] })
    const shop = await start({ service: 'shop', transport: memoryTransport({ broker: memory }), replies: [told] })
    expect(await shop.request(asked, { sku: 'kiwi' }, { reply: told })).toEqual({ cents: 4 })
    for (let n = 0; n < 200; n++) {
      const sku = n % 2 === 0 ? 'kiwi' : 'none'
      const headers = { 'request-reply-to': `prices.told.made-up-${n}`, 'request-id': `i/${n}` }
      await prices.send(asked, { sku }, { headers })
    }
    await until('all are settled', () => {
      const { handled, deadLettered } = prices.binding('prices.asked.prices').status()
      return handled + deadLettered >= 150
    })
    expect([...made].filter((name) => name.startsWith('prices.told.'))).toHaveLength(100)
    expect(await shop.request(asked, { sku: 'fig' }, { reply: told })).toEqual({ cents: 3 })
  })

  it('answers a repeated request again under the same id', async () => {
    const start = broker()
    const ids: string[] = []
    const listening = sink(
      { ...told, name: 'prices.told.shop' },
      { group: 'tap' },
      (_reply, { id }) => void ids.push(id),
    )
    const prices = await start({ service: 'prices', bindings: [answering, listening] })
    const shop = await start({ service: 'shop', replies: [told] })
    for (let i = 0; i < 2; i++) await shop.request(asked, { sku: 'kiwi' }, { reply: told, id: 'q-1' })
    await until('both came', () => ids.length === 2)
    expect(new Set(ids).size).toBe(1)
    expect(prices.health().status).toBe('up')
  })

  it('fails terminally for a terminal error', async () => {
    const start = broker()
    const never = responder(asked, told, { group }, () => {
      throw new TerminalError('never')
    })
    await start({ service: 'prices', bindings: [never] })
    const shop = await start({ replies: [told] })
    await expect(shop.request(asked, { sku: 'kiwi' }, { reply: told })).rejects.toMatchObject({
      reason: 'binder.terminal',
      retryable: false,
    })
  })
})
