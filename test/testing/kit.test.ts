import { createBinder, defineChannel, processor, several, sink, source, TerminalError } from 'concordat/binder'
import { SECOND } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createTestKit, type TestKit } from 'concordat/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { expectWithin } from '../support/expect-within.ts'

const Order = z.object({ orderId: z.string(), cents: z.number().int() })
const Receipt = z.object({ orderId: z.string(), paid: z.boolean() })
const orders = defineChannel('orders', { payload: Order, key: ({ orderId }) => orderId })
const receipts = defineChannel('receipts', { payload: Receipt, key: ({ orderId }) => orderId })

let kit: TestKit | undefined
afterEach(async () => {
  await kit?.close()
  kit = undefined
})

async function open(...bindings: Parameters<typeof createTestKit>[0]['bindings']): Promise<TestKit> {
  kit = await createTestKit({ bindings })
  return kit
}

const charge = processor(orders, receipts, { group: 'payments' }, ({ orderId, cents }) => ({
  orderId,
  paid: cents < 1_000,
}))

describe('test kit', () => {
  it('runs declared handlers and returns their outputs, typed and decoded', async () => {
    const { outputs } = await play(charge)
    expect(outputs.map(({ payload, key }) => [payload, key])).toEqual([
      [{ orderId: 'a', paid: true }, 'a'],
      [{ orderId: 'b', paid: false }, 'b'],
    ])
  })

  it('is deterministic: ids, times and outputs are the same each time', async () => {
    const [first, second] = [await play(charge), await play(charge)]
    expect(second).toEqual(first)
    expect(first.ids).toEqual(['message-1', 'message-2'])
    expect(first.times).toEqual([Date.UTC(2026, 0, 1), Date.UTC(2026, 0, 1)])
  })

  async function play(binding: typeof charge) {
    const kit = await createTestKit({ bindings: [binding] })
    const ids = [
      (await kit.send(orders, { orderId: 'a', cents: 5 })).id,
      (await kit.send(orders, { orderId: 'b', cents: 5_000 })).id,
    ]
    await kit.settled()
    const outputs = (await kit.outputs(receipts)).map(({ payload, id, key }) => ({ payload, id, key }))
    const times = ids.map(() => kit.clock.now())
    await kit.close()
    return { ids, outputs, times }
  }

  it('skips the pauses between attempts, and shows the dead letter with its failure', async () => {
    const attempts: number[] = []
    const kit = await open(
      sink(
        orders,
        { group: 'g', maxAttempts: 4, backoff: { initialMs: 3_600_000, maxMs: 3_600_000 } },
        (_, { attempt }) => {
          attempts.push(attempt)
          throw Object.assign(new Error('no stock'), { code: 'stock.low' })
        },
      ),
    )
    const { id } = await kit.send(orders, { orderId: 'a', cents: 1 }, { headers: { tenant: 'acme' } })
    const begun = performance.now()
    await kit.settled()
    await expectWithin(performance.now() - begun, 3_600_000)
    expect(attempts).toEqual([1, 2, 3, 4])
    expect(kit.deadLetters(orders, 'g')).toEqual([
      expect.objectContaining({
        id,
        attempts: 4,
        headers: { tenant: 'acme' },
        error: expect.objectContaining({ message: 'no stock', code: 'stock.low' }),
      }),
    ])
    expect(kit.clock.now()).toBeGreaterThan(Date.UTC(2026, 0, 1, 2))
  })

  it('comes back with a lost acknowledgement: the handler runs again, redelivered, and its output has its id', async () => {
    const seen: unknown[] = []
    const kit = await open(
      processor(orders, receipts, { group: 'g' }, ({ orderId }, { id, redelivered }) => {
        seen.push([id, redelivered])
        return { orderId, paid: true }
      }),
    )
    kit.loseNextAck(orders)
    await kit.send(orders, { orderId: 'a', cents: 1 })
    await kit.settled()
    expect(seen).toEqual([
      ['message-1', false],
      ['message-1', true],
    ])
    const outputs = await kit.outputs(receipts)
    expect(outputs).toHaveLength(2)
    expect(new Set(outputs.map(({ id }) => id)).size).toBe(1)
  })

  it('sends a message or an output a second time under its id', async () => {
    const ids: string[] = []
    const kit = await open(
      charge,
      sink(receipts, { group: 'mail' }, (_, { id }) => void ids.push(id)),
    )
    const { id } = await kit.send(orders, { orderId: 'a', cents: 1 })
    await kit.settled()
    await kit.duplicate(id)
    await kit.duplicate(ids[0] ?? '')
    await kit.settled()
    expect(ids).toHaveLength(3)
    expect(new Set(ids).size).toBe(1)
    await expect(kit.duplicate('nobody')).rejects.toThrow(/duplicate.id: expected the id of a message/)
  })

  it('shuffles sent messages, the same for each seed, and keeps the order of each key', async () => {
    const payloads = Array.from({ length: 20 }, (_, n) => ({ orderId: `o${n % 4}`, cents: n }))
    const handled: number[] = []
    const kit = await open(sink(orders, { group: 'g' }, ({ cents }) => void handled.push(cents)))
    const order = await kit.sendShuffled(orders, payloads, 7)
    await kit.settled()
    expect(order).not.toEqual(payloads)
    expect(handled.toSorted((a, b) => a - b)).toEqual(payloads.map(({ cents }) => cents))
    for (const key of ['o0', 'o1', 'o2', 'o3']) {
      const own = order.filter(({ orderId }) => orderId === key).map(({ cents }) => cents)
      expect(own).toEqual(own.toSorted((a, b) => a - b))
      expect(handled.filter((n) => own.includes(n))).toEqual(own)
    }
    const other = await open(sink(orders, { group: 'g' }, () => {}))
    expect(await other.sendShuffled(orders, payloads, 7)).toEqual(order)
    expect(await other.sendShuffled(orders, payloads, 8)).not.toEqual(order)
    await kit.close()
  })

  it('fails the next publish: the output is sent again, under its id, until it is confirmed', async () => {
    const kit = await open(charge)
    kit.failNextPublish(receipts)
    kit.failNextPublish(receipts, 'unconfirmed')
    await kit.send(orders, { orderId: 'a', cents: 1 })
    await kit.settled()
    const outputs = await kit.outputs(receipts)
    expect(outputs).toHaveLength(2)
    expect(new Set(outputs.map(({ id }) => id)).size).toBe(1)
    kit.failNextPublish(orders)
    await expect(kit.send(orders, { orderId: 'b', cents: 1 })).rejects.toMatchObject({ code: 'binder.send' })
  })

  it('loses the connection in the middle of a handler, and the message comes again', async () => {
    const gate = Promise.withResolvers<void>()
    const signals: AbortSignal[] = []
    const kit = await open(
      sink(orders, { group: 'g' }, async (_, { signal }) => {
        signals.push(signal)
        if (signals.length === 1) await gate.promise
      }),
    )
    await kit.send(orders, { orderId: 'a', cents: 1 })
    kit.disconnect()
    expect(signals[0]?.aborted).toBe(true)
    expect(kit.binder.health().status).toBe('down')
    await expect(kit.send(orders, { orderId: 'b', cents: 1 })).rejects.toMatchObject({ code: 'binder.send' })
    kit.reconnect()
    gate.resolve()
    await kit.settled()
    expect(signals).toHaveLength(2)
    expect(kit.binder.health().status).toBe('up')
  })

  it('runs polls as time is advanced, and not before', async () => {
    let n = 0
    const kit = await open(
      source(orders, { everyMs: 10 * SECOND }, () => ({ orderId: `o${++n}`, cents: n })),
      charge,
    )
    await kit.settled()
    expect(n).toBe(1)
    await kit.advance(35 * SECOND)
    expect(n).toBe(4)
    expect((await kit.outputs(receipts)).map(({ payload }) => payload.orderId)).toEqual(['o1', 'o2', 'o3', 'o4'])
    expect(kit.clock.now()).toBe(Date.UTC(2026, 0, 1, 0, 0, 35))
  })

  it('keeps delayed messages until their time', async () => {
    const handled: number[] = []
    const kit = await open(sink(orders, { group: 'g' }, ({ cents }) => void handled.push(cents)))
    await kit.send(orders, { orderId: 'a', cents: 1 }, { delayMs: 60 * SECOND })
    await kit.settled()
    await kit.advance(59 * SECOND)
    expect(handled).toEqual([])
    await kit.advance(1 * SECOND)
    expect(handled).toEqual([1])
  })

  it('leaves a paused binding alone, and continues when it is resumed', async () => {
    const handled: number[] = []
    const kit = await open(
      sink(orders, { group: 'g', name: 'shop' }, ({ cents }) => void handled.push(cents)),
      source(receipts, { everyMs: SECOND }, () => undefined),
    )
    kit.binder.binding('shop').pause()
    await kit.send(orders, { orderId: 'a', cents: 1 })
    await kit.settled()
    expect(handled).toEqual([])
    kit.binder.binding('shop').resume()
    await kit.settled()
    expect(handled).toEqual([1])
  })

  it('passes several outputs, none, and terminal errors on as a binder does', async () => {
    const split = processor(orders, receipts, { group: 'g' }, ({ orderId, cents }) => {
      if (cents < 0) throw new TerminalError('negative')
      if (cents === 0) return undefined
      return several([
        { orderId, paid: false },
        { orderId, paid: true },
      ])
    })
    const kit = await open(split)
    for (const cents of [-1, 0, 1]) await kit.send(orders, { orderId: 'a', cents })
    await kit.settled()
    expect((await kit.outputs(receipts)).map(({ payload }) => payload.paid)).toEqual([false, true])
    expect(kit.deadLetters(orders, 'g')).toMatchObject([{ attempts: 1, error: { code: 'binder.terminal' } }])
  })

  it('names the handler that does not end', async () => {
    const never = Promise.withResolvers<void>()
    kit = await createTestKit({ bindings: [sink(orders, { group: 'g' }, () => never.promise)], patienceMs: 50 })
    await kit.send(orders, { orderId: 'a', cents: 1 })
    await expect(kit.settled()).rejects.toThrow(/still running after 50 ms: handler of "orders"/)
    never.resolve()
  })

  it('refuses whatever a binder refuses, and unknown options', async () => {
    await expect(createTestKit({ bindings: [sink(orders, { group: 'g', maxAttempts: 0 }, () => {})] })).rejects.toThrow(
      /maxAttempts: expected a whole number >= 1/,
    )
    await expect(createTestKit({ bindings: [], servce: 'x' } as never)).rejects.toThrow(/Did you mean "service"/)
    await expect(createTestKit({ bindings: charge } as never)).rejects.toThrow(/createTestKit.bindings/)
    await expect(createTestKit({ bindings: [charge], startAt: -1 })).rejects.toThrow(RangeError)
  })

  it('leaves the bindings as they are: the same work in a binder', async () => {
    await open(charge)
    const binder = createBinder({ service: 's', transport: memoryTransport(), bindings: [charge] })
    await binder.start()
    await binder.send(orders, { orderId: 'a', cents: 1 })
    await binder.close()
    expect(binder.bindings()[0]?.handled).toBe(1)
  })
})
