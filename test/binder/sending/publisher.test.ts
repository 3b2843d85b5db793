import { type Binder, createBinder, defineChannel, processor, SendError, sink, TransportError } from 'concordat/binder'
import { type Clock, systemClock } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { gate, until } from '../../support/until.ts'
import { messageOn, ScriptedTransport } from '../support/scripted-transport.ts'

const Payload = z.object({ n: z.number(), text: z.string().optional() })
const channel = defineChannel('numbers', { payload: Payload, key: ({ n }) => String(n) })

async function setup(
  transport: ScriptedTransport = new ScriptedTransport(),
  options: { maxInFlight?: number; sendTimeoutMs?: number; clock?: Clock } = {},
): Promise<{
  transport: ScriptedTransport
  binder: Binder
  send: (n: number) => Promise<unknown>
  calls: () => number[][]
}> {
  const binder = createBinder({ service: 'test', transport, ...options })
  onTestFinished(() => binder.close())
  await binder.start()
  return {
    transport,
    binder,
    send: (n) => binder.send(channel, { n }),
    calls: () => transport.published.map((messages) => messages.map(({ key }) => Number(key))),
  }
}

/** Publishing that waits until the test lets the next call through. */
function stepwise(transport: ScriptedTransport): { next: () => void } {
  const waiting: Array<() => void> = []
  transport.onPublish = async (messages) => {
    const answer = gate()
    waiting.push(() => answer.open())
    await answer.opened
    return messages.map(() => undefined)
  }
  onTestFinished(() => {
    transport.onPublish = async (messages) => messages.map(() => undefined)
    for (const open of waiting.splice(0)) open()
  })
  return { next: () => waiting.shift()?.() }
}

describe('sending', () => {
  it('puts all messages of one turn into one call, in order', async () => {
    const { send, calls } = await setup()
    await Promise.all([send(1), send(2), send(3)])
    expect(calls()).toEqual([[1, 2, 3]])
  })

  it('makes a destination again after the broker did not find it', async () => {
    const { transport, send } = await setup()
    await send(1)
    const refusal = new TransportError({ transport: 'scripted', kind: 'unroutable', message: 'it was deleted' })
    transport.onPublish = async () => [refusal]
    await expect(send(2)).rejects.toMatchObject({ cause: refusal })
    transport.onPublish = async () => [undefined]
    await Promise.all([send(3), send(4)])
    expect(transport.provisioned.map((specs) => specs.map(({ name }) => name))).toEqual([['numbers'], ['numbers']])
  })

  it('describes an invalid batch', async () => {
    const { binder } = await setup()
    const one = { n: 1 } as unknown as readonly []
    await expect(binder.sendBatch(channel, one)).rejects.toThrow(
      'sendBatch payloads: expected an array of payloads, got another object',
    )
    await expect(binder.sendBatch(channel, [])).resolves.toEqual([])
  })

  it('returns ids and no part of the messages', async () => {
    const { binder } = await setup()
    await expect(binder.sendBatch(channel, [{ n: 1 }], () => ({ id: 'm-1' }))).resolves.toEqual([{ id: 'm-1' }])
  })

  it('gathers the next call while one is open', async () => {
    const { transport, send, calls } = await setup()
    const { next } = stepwise(transport)
    const first = send(1)
    await until('the first call is open', () => calls().length === 1)
    const rest = Promise.all([send(2), send(3)])
    await Promise.resolve()
    expect(calls()).toEqual([[1]])
    next()
    await first
    await until('the second call is open', () => calls().length === 2)
    next()
    await rest
    expect(calls()).toEqual([[1], [2, 3]])
  })

  it('has as many calls open as the transport allows', async () => {
    const { transport, send, calls } = await setup(new ScriptedTransport(2))
    const { next } = stepwise(transport)
    const sent: Array<Promise<unknown>> = []
    for (const n of [1, 2, 3]) {
      sent.push(send(n))
      await new Promise(setImmediate)
    }
    expect(calls()).toEqual([[1], [2]])
    next()
    await until('the third call is open', () => calls().length === 3)
    next()
    next()
    await Promise.all(sent)
  })

  it('makes the sender wait when maxInFlight messages are unconfirmed', async () => {
    const { transport, send, calls } = await setup(new ScriptedTransport(), { maxInFlight: 2 })
    const { next } = stepwise(transport)
    const sent = Promise.all([1, 2, 3, 4, 5].map((n) => send(n)))
    await until('the window is open', () => calls().length === 1)
    await new Promise(setImmediate)
    expect(calls()).toEqual([[1, 2]])
    for (let call = 2; call <= 3; call++) {
      next()
      await until(`call ${call} is open`, () => calls().length === call)
    }
    next()
    await sent
    expect(calls()).toEqual([[1, 2], [3, 4], [5]])
  })

  it('accepts a handler’s outputs beyond maxInFlight, since the limit may be waiting for that handler', async () => {
    const output = defineChannel('output', { payload: z.number() })
    const transport = new ScriptedTransport(10)
    const full = gate()
    transport.onPublish = async (messages) => {
      if (messages[0]?.destination === 'numbers') await full.opened
      return messages.map(() => undefined)
    }
    const binder = createBinder({
      service: 'test',
      transport,
      maxInFlight: 2,
      bindings: [processor(defineChannel('input', { payload: z.number() }), output, { group: 'g' }, (n) => n)],
    })
    onTestFinished(() => binder.close())
    await binder.start()
    const made = gate()
    transport.onProvision = () => made.opened
    const sends = [1, 2, 3].map((n) => binder.send(channel, { n }))
    const delivery = transport.subscription.deliver(null, 7)
    await until('the destination is being made', () => transport.provisioned.length > 1)
    await turnOfTheLoop()
    made.open()
    await until('it is settled', () => delivery.end === 'acked')
    expect(transport.published.flat().filter(({ destination }) => destination === 'output')).toHaveLength(1)
    full.open()
    await Promise.all(sends)
  })

  it('splits a call at a thousand messages and at four MiB', async () => {
    const { transport, binder, send } = await setup()
    await Promise.all(Array.from({ length: 2_500 }, (_, n) => send(n)))
    expect(transport.published.map(({ length }) => length)).toEqual([1_000, 1_000, 500])
    transport.published.length = 0
    const text = 'x'.repeat(1024 * 1024)
    await binder.sendBatch(
      channel,
      [1, 2, 3, 4, 5].map((n) => ({ n, text })),
    )
    expect(transport.published.map(({ length }) => length)).toEqual([3, 2])
  })

  it('keeps the order of a hundred thousand sends without await', async () => {
    const { transport, send } = await setup(new ScriptedTransport(), { maxInFlight: 100 })
    await Promise.all(Array.from({ length: 100_000 }, (_, n) => send(n)))
    const order = transport.published.flatMap((messages) => messages.map(({ key }) => Number(key)))
    expect(order.findIndex((n, i) => n !== i)).toBe(-1)
    expect(order).toHaveLength(100_000)
  })
})

describe('a send that is not confirmed', () => {
  it('rejects with the reason, its destination, its id and whether it may be tried again', async () => {
    const { transport, binder } = await setup()
    const refusal = new TransportError({ transport: 'scripted', kind: 'too_large', message: 'over the limit' })
    transport.onPublish = async () => [refusal]
    const error = await binder.send(channel, { n: 1 }, { id: 'mine' }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(SendError)
    expect(error).toMatchObject({ destination: 'numbers', messageId: 'mine', retryable: false, cause: refusal })
  })

  it('does not harm the others of its call', async () => {
    const { transport, binder, send } = await setup()
    transport.onPublish = async (messages) =>
      messages.map(({ key }) =>
        key === '2' ? new TransportError({ transport: 'scripted', kind: 'refused', message: 'not now' }) : undefined,
      )
    const settled = await Promise.allSettled([send(1), send(2), send(3)])
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    const outcomes = await binder.publish(['1', '2'].map((key) => messageOn('numbers', key, {})))
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual([undefined, 'refused'])
  })

  it('rejects as unavailable when the transport breaks its promise and throws', async () => {
    const { transport, send } = await setup()
    transport.onPublish = async () => Promise.reject(new Error('socket hang up'))
    await expect(send(1)).rejects.toMatchObject({
      code: 'binder.send',
      retryable: true,
      cause: { kind: 'unavailable', message: 'socket hang up' },
    })
  })

  it('rejects as timed out, without reaching the transport, when it waited longer than sendTimeoutMs', async () => {
    let elapsedMs = 0
    const clock: Clock = { ...systemClock, monotonic: () => elapsedMs }
    const { transport, send, calls } = await setup(new ScriptedTransport(), { sendTimeoutMs: 1_000, clock })
    const { next } = stepwise(transport)
    const first = send(1)
    await until('the first call is open', () => calls().length === 1)
    const second = send(2)
    elapsedMs = 1_001
    next()
    await first
    await expect(second).rejects.toMatchObject({ retryable: true, cause: { kind: 'timeout' } })
    expect(calls()).toEqual([[1]])
  })
})

/** Waits until everything but timers has happened. */
const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('the time limit of a send', () => {
  const SEND_TIMEOUT_MS = 1_000

  /** Answers nothing before the deadline that it was given. Times are since the start. */
  async function silent(): Promise<
    Awaited<ReturnType<typeof setup>> & { clock: FakeClock; now: () => number; deadlines: number[] }
  > {
    const clock = new FakeClock()
    const start = clock.monotonic()
    const transport = new ScriptedTransport()
    const deadlines: number[] = []
    transport.onPublish = (messages, { deadline = Number.POSITIVE_INFINITY } = {}) =>
      new Promise((resolve) => {
        deadlines.push(deadline - start)
        const late = new TransportError({ transport: 'scripted', kind: 'timeout', message: 'no answer' })
        clock.setTimer(deadline - clock.monotonic(), () => resolve(messages.map(() => late)))
      })
    const options = { sendTimeoutMs: SEND_TIMEOUT_MS, clock }
    return { ...(await setup(transport, options)), clock, deadlines, now: () => clock.monotonic() - start }
  }

  it('includes the wait behind a call without an answer', async () => {
    const { send, clock, now, deadlines } = await silent()
    const ends: number[] = []
    const timed = (n: number): Promise<unknown> => send(n).catch(() => ends.push(now()))
    const first = timed(1)
    await clock.advance(600)
    const second = timed(2)
    await clock.advance(2_000)
    await Promise.all([first, second])
    expect(deadlines).toEqual([1_000, 1_600])
    expect(ends).toEqual([1_000, 1_600])
  })

  it('is not shortened by an older one in the same batch', async () => {
    const { send, clock, deadlines, calls } = await silent()
    const sent = [send(1)]
    for (const [n, afterMs] of [
      [2, 50],
      [3, 90],
      [4, 20],
    ] as const) {
      await clock.advance(afterMs)
      sent.push(send(n))
    }
    const ended = Promise.allSettled(sent)
    await clock.advance(3_000)
    await ended
    expect(calls()).toEqual([[1], [2, 3], [4]])
    expect(deadlines).toEqual([1_000, 1_050, 1_160])
  })

  it('ends while its destination is still being made', async () => {
    const { transport, send, clock, calls } = await silent()
    const made = gate()
    transport.onProvision = () => made.opened
    const late = send(1).catch((error: SendError) => error.cause)
    await until('it is being made', () => transport.provisioned.length === 1)
    await clock.advance(SEND_TIMEOUT_MS)
    expect(await late).toMatchObject({ kind: 'timeout', retryable: true })
    expect(calls()).toEqual([])
    made.open()
  })
})

describe('destinations', () => {
  it('are provisioned once, as they were declared, before the first message to them', async () => {
    const transport = new ScriptedTransport()
    const declared = defineChannel('numbers', { payload: Payload, partitions: 7, groups: ['g'] })
    const binder = createBinder({ service: 'test', transport, sends: [declared] })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.send(channel, { n: 1 })
    await binder.send(channel, { n: 2 })
    expect(transport.provisioned).toEqual([[{ name: 'numbers', partitions: 7, groups: ['g'] }]])
  })

  it('have the group of a consumer that could not subscribe yet', async () => {
    const transport = new ScriptedTransport()
    transport.onProvision = () => Promise.reject(new Error('away'))
    const late = sink(channel, { group: 'late' }, () => {})
    const binder = createBinder({ service: 'test', transport, bindings: [late] })
    onTestFinished(() => binder.close())
    await binder.start()
    transport.onProvision = async () => {}
    await binder.send(channel, { n: 1 })
    expect(transport.provisioned.at(-1)).toMatchObject([{ name: 'numbers', groups: ['late'] }])
  })

  it('create a destination missing in `sends` by its channel', async () => {
    const transport = new ScriptedTransport()
    const unlisted = defineChannel('unlisted', { payload: z.number(), partitions: 2, groups: ['audit'] })
    const binder = createBinder({ service: 'test', transport })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.send(unlisted, 1)
    expect(transport.provisioned).toEqual([[{ name: 'unlisted', partitions: 2, groups: ['audit'] }]])
  })

  it('hold up later messages while they are created, so that nothing overtakes', async () => {
    const transport = new ScriptedTransport(2)
    const { binder, send, calls } = await setup(transport)
    await send(0)
    const made = gate()
    transport.onProvision = () => made.opened
    const together = [binder.send(defineChannel('made-now', { payload: z.number() }), 0), send(1)]
    await new Promise(setImmediate)
    const later = send(2)
    await new Promise(setImmediate)
    made.open()
    await Promise.all([...together, later])
    expect(
      calls()
        .flat()
        .filter((n) => n > 0),
    ).toEqual([1, 2])
  })

  it('are provisioned again when it did not work', async () => {
    const { transport, send, calls } = await setup()
    transport.onProvision = async () =>
      Promise.reject(new TransportError({ transport: 'scripted', kind: 'unavailable', message: 'away' }))
    await expect(send(1)).rejects.toMatchObject({ code: 'binder.send', retryable: true })
    transport.onProvision = async () => {}
    await send(2)
    expect(transport.provisioned).toHaveLength(2)
    expect(calls()).toEqual([[2]])
  })
})

it('close waits for the confirms of sent messages', async () => {
  const { transport, binder, send } = await setup()
  const { next } = stepwise(transport)
  const sent = send(1)
  await until('the call is open', () => transport.published.length === 1)
  const closed = binder.close()
  await new Promise(setImmediate)
  expect(transport.closed).toBe(false)
  next()
  await sent
  await closed
  expect(transport.closed).toBe(true)
})
