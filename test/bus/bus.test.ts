import { createBinder } from 'concordat/binder'
import { createBus, defineEvent, onEvent } from 'concordat/bus'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Ping } from '../conformance/bus-kit.ts'
import { gate, until } from '../support/until.ts'
import { keepingLogger, world } from './kit.ts'

const counters = ({ bus }: { bus: { health(): { counters: object } } }) => bus.health().counters

describe('an event', () => {
  it('events of one sender wait for the one before; those of other senders do not', async () => {
    const { join } = world()
    const done = gate()
    const slow = (n: number): Promise<void> | void => (n === 1 ? done.opened : undefined)
    const [a, b, receiver] = await Promise.all([
      join({ service: 'a' }),
      join({ service: 'b' }),
      join({ service: 'orders', onPing: slow }),
    ])
    await a.bus.publish(Ping, { n: 1 }, { to: 'orders:**' })
    await a.bus.publish(Ping, { n: 2 }, { to: 'orders:**' })
    await b.bus.publish(Ping, { n: 3 }, { to: 'orders:**', ackTimeoutMs: 5_000 })
    expect(receiver.pings).toEqual([1, 3])
    done.open()
    await until('the second of a came', () => receiver.pings.includes(2))
  })

  it('whose handler hangs fails after handlerTimeoutMs, aborts its signal, and delays no other', async () => {
    const { join } = world()
    const hangs = (n: number): Promise<void> | void => (n === 1 ? new Promise(() => {}) : undefined)
    const one = await join({ instance: 'a', onPing: hangs, handlerTimeoutMs: 50 })
    const answer = await one.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 5_000 })
    expect(answer.failed[0]?.error).toMatchObject({ code: 'bus.handler_timeout', name: 'BusError' })
    expect(one.contexts[0]?.signal.aborted).toBe(true)
    expect((await one.bus.publish(Ping, { n: 2 }, { to: '**', ackTimeoutMs: 5_000 })).acked).toHaveLength(1)
  })

  it('reaches each of several handlers as it was sent, whatever another writes into it', async () => {
    const { join } = world()
    const Stock = defineEvent('stock', { payload: z.any() })
    const one = await join({ instance: 'a' })
    const seen: unknown[] = []
    for (const n of [1, 2])
      one.bus.on(Stock, (payload: { n: number }) => {
        seen.push({ ...payload })
        payload.n += n
      })
    await one.bus.publish(Stock, { n: 0 }, { to: '**', ackTimeoutMs: 5_000 })
    expect(seen).toEqual([{ n: 0 }, { n: 0 }])
  })

  it('to the sender itself is handled once, whether its echo or the confirm comes first', async () => {
    const { join } = world()
    const one = await join({ instance: 'a' })
    for (let n = 0; n < 20; n++) await one.bus.publish(Ping, { n }, { to: 'orders:*:a' })
    await until('all echoes came', () => (counters(one) as { duplicates: number }).duplicates === 20)
    await until('all were handled', () => one.pings.length === 20)
    expect(one.pings).toEqual(Array.from({ length: 20 }, (_, n) => n))
  })

  it('of an unknown type is ignored and counted', async () => {
    const { join } = world()
    const [sender, other] = await Promise.all([join({ instance: 'a' }), join({ instance: 'b' })])
    const Unknown = defineEvent('unknown', { payload: z.object({}) })
    const answer = await sender.bus.publish(Unknown, {}, { to: '**', ackTimeoutMs: 5_000 })
    expect(answer.ignored).toEqual([sender.bus.address, other.bus.address])
    expect(counters(other)).toMatchObject({ received: 1, ignored: 1, handled: 0 })
  })

  it('whose payload the receiver declares otherwise fails there', async () => {
    const { join } = world()
    const theirs = defineEvent('limit', { payload: z.object({ limit: z.string() }) })
    const ours = defineEvent('limit', { payload: z.object({ limit: z.number() }) })
    const [sender] = await Promise.all([
      join({ instance: 'a' }),
      join({ instance: 'b', on: [onEvent(theirs, () => {})] }),
    ])
    const answer = await sender.bus.publish(ours, { limit: 1 }, { to: 'orders:*:b', ackTimeoutMs: 5_000 })
    expect(answer.failed[0]?.error).toMatchObject({ code: 'core.schema' })
    expect(answer.failed[0]?.error.message).toContain('limit: ')
  })

  it('calls every handler of it, also when one fails, and is failed then', async () => {
    const { join } = world()
    const { bus, pings } = await join({ instance: 'a' })
    bus.on(Ping, () => {
      throw new Error('first')
    })
    const calls: number[] = []
    const stop = bus.on(Ping, ({ n }) => void calls.push(n))
    const answer = await bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 5_000 })
    stop()
    await bus.publish(Ping, { n: 2 }, { to: '**', ackTimeoutMs: 5_000 })
    expect(answer.failed[0]?.error.message).toBe('first')
    expect([pings, calls]).toEqual([[1, 2], [1]])
  })

  it('error in an acknowledgement is cut, and a thrown thing that is no error has a message', async () => {
    const { join } = world()
    const long = new Error('x'.repeat(100_000))
    const text = 'just text' as unknown as Error
    const { bus } = await join({
      instance: 'a',
      onPing: (n) => {
        throw n === 1 ? long : text
      },
    })
    const answers = [1, 2].map((n) => bus.publish(Ping, { n }, { to: '**', ackTimeoutMs: 5_000 }))
    const messages = (await Promise.all(answers)).map(({ failed }) => failed[0]?.error.message)
    expect(messages).toEqual(['x'.repeat(1_024), 'just text'])
  })
})

describe('publish', () => {
  it('checks the payload, the address, the size and its options before anything is sent', async () => {
    const { join } = world()
    const { bus } = await join({ maxPayloadBytes: 1_024 })
    const Text = defineEvent('text', { payload: z.string() })
    // @ts-expect-error -- the schema is also the type
    await expect(bus.publish(Ping, { n: 'x' }, { to: '**' })).rejects.toMatchObject({ code: 'core.schema' })
    await expect(bus.publish(Ping, { n: 1 }, { to: 'orders' })).rejects.toMatchObject({ code: 'bus.address' })
    const large = bus.publish(Text, 'x'.repeat(2_000), { to: '**' })
    await expect(large).rejects.toMatchObject({ code: 'bus.payload_too_large', bytes: 2_002, maxBytes: 1_024 })
    await expect(bus.publish(Ping, { n: 1 }, { to: '**', ackTimeout: 1 } as never)).rejects.toThrow(
      'expected one of to, id, signal, ack, ackTimeoutMs',
    )
    await expect(bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 0 })).rejects.toThrow(RangeError)
    const badOptions = [
      [{ id: 5 }, '.id: expected a string of 1 to 255 characters, got 5'],
      [{ id: '' }, '.id: expected a string of 1 to 255 characters'],
      [{ ack: 'yes' }, '.ack: expected true or false, got "yes"'],
      [{ signal: 'now' }, '.signal: expected an AbortSignal, got a string'],
    ] as const
    for (const [bad, message] of badOptions) {
      const refused = bus.publish(Ping, { n: 1 }, { to: '**', ...bad } as never)
      await expect(refused).rejects.toThrow(`bus.publish("ping")${message}`)
    }
    await expect(bus.publish('ping' as never, {} as never, { to: '**' })).rejects.toThrow('what defineEvent returned')
    expect(counters({ bus })).toMatchObject({ published: 0 })
  })

  it('is refused before start and after close', async () => {
    const { transport } = world()
    const bus = createBus({ service: 'orders' })
    await expect(bus.publish(Ping, { n: 1 }, { to: '**' })).rejects.toMatchObject({ code: 'bus.closed' })
    const binder = createBinder({ service: 'orders', transport: transport(), bindings: bus.bindings })
    await binder.start()
    await bus.start(binder)
    await expect(bus.start(binder)).rejects.toThrow('call start(binder) once')
    await Promise.all([bus.close(), bus.close()])
    await expect(bus.publish(Ping, { n: 1 }, { to: '**' })).rejects.toThrow('publish nothing after close()')
    expect(bus.health().status).toBe('closed')
    await binder.close()
  })

  it('stops waiting at its signal, and with bus.closed when the bus closes', async () => {
    const { join } = world()
    const hangs = (): Promise<void> => new Promise(() => {})
    const [{ bus }, receiver] = await Promise.all([
      join({ instance: 'a' }),
      join({ instance: 'b', onPing: hangs, drainTimeoutMs: 10 }),
    ])
    const options = { to: 'orders:*:b', ackTimeoutMs: 60_000 }
    const controller = new AbortController()
    const aborted = bus.publish(Ping, { n: 1 }, { ...options, signal: controller.signal })
    await until('it was sent', () => receiver.pings.length === 1)
    controller.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    const closed = bus.publish(Ping, { n: 2 }, options)
    const outcome = expect(closed).rejects.toMatchObject({ code: 'bus.closed' })
    await until('it was sent', () => (counters({ bus }) as { published: number }).published === 2)
    await bus.close()
    await outcome
    const late = bus.publish(Ping, { n: 3 }, { ...options, signal: AbortSignal.abort(new Error('before')) })
    await expect(late).rejects.toMatchObject({ code: 'bus.closed' })
  })

  it('is not sent when its signal aborts before its turn', async () => {
    const { join } = world()
    const { bus, pings } = await join({
      authorize: ({ to }) => (to === '**' ? new Promise(() => {}) : true),
      handlerTimeoutMs: 100,
    })
    const stuck = bus.publish(Ping, { n: 1 }, { to: '**' }).catch((error: unknown) => error)
    const controller = new AbortController()
    const waiting = bus.publish(Ping, { n: 2 }, { to: 'orders:**', ack: true, signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    expect(await stuck).toMatchObject({ code: 'bus.forbidden' })
    await bus.publish(Ping, { n: 3 }, { to: 'orders:**', ack: true })
    expect(pings).toEqual([3])
  })

  it('keeps the order of the calls, whether answers are wanted or not, and also when one is refused', async () => {
    const { join } = world()
    const slowly = z.number().refine(async (n) => {
      await new Promise((resolve) => setTimeout(resolve, n === 1 ? 20 : 0))
      return n !== 3
    })
    const Count = defineEvent('count', { payload: slowly })
    const seen: number[] = []
    const { bus } = await join({ on: [onEvent(Count, (n) => void seen.push(n))] })
    const calls = [1, 2, 3, 4].map((n) =>
      n % 2 === 0 ? bus.publish(Count, n, { to: '**' }) : bus.publish(Count, n, { to: '**', ackTimeoutMs: 5_000 }),
    )
    const results = await Promise.allSettled(calls)
    await until('all were handled', () => seen.length === 3)
    expect([seen, results.map(({ status }) => status)]).toEqual([
      [1, 2, 4],
      ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
    ])
  })
})

describe('answers', () => {
  it('are sent only to instances that have requested some', async () => {
    const { join } = world()
    const [asking, other] = await Promise.all([join({ instance: 'a' }), join({ instance: 'b' })])
    await other.binder.binding('concordat.bus.acks').stop()
    await asking.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 5_000 })
    expect(asking.binder.binding('concordat.bus.acks').status().handled).toBe(1)
    expect(other.binder.binding('concordat.bus.acks').status().handled).toBe(0)
  })

  it('answers are sent only when they are requested', async () => {
    const { join } = world()
    const [sender, receiver] = await Promise.all([join({ instance: 'a' }), join({ instance: 'b' })])
    await sender.bus.publish(Ping, { n: 1 }, { to: '**' })
    await until('it was handled', () => receiver.pings.length === 1)
    await sender.bus.publish(Ping, { n: 2 }, { to: 'orders:*:b', ackTimeoutMs: 5_000 })
    expect(sender.binder.binding('concordat.bus.acks').status().handled).toBe(1)
  })
})

it('a bus logs neither payloads nor secrets', async () => {
  const { join } = world()
  const logger = keepingLogger()
  const secret = 'the-secret-that-nobody-may-read-in-a-log'
  const fails = (): never => {
    throw new Error('no')
  }
  const one = await join({ instance: 'a', logger, secret, onPing: fails })
  await one.bus.publish(Ping, { n: 123_456_789 }, { to: '**', ackTimeoutMs: 5_000 })
  const text = JSON.stringify([logger.lines, one.bus.health(), one.bus])
  expect(text).toContain('event failed')
  expect(text).not.toContain(secret)
  expect(text).not.toContain('123456789')
})

it('a bus listens to no signals and starts nothing before start', () => {
  const before = process.eventNames().map((name) => [name, process.listenerCount(name as string)])
  const bus = createBus({ service: 'orders' })
  expect(process.eventNames().map((name) => [name, process.listenerCount(name as string)])).toEqual(before)
  expect(bus.address).toMatch(/^orders:default:orders-[0-9a-f]{12}$/)
  expect(bus.health().status).toBe('idle')
})
