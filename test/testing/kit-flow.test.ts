import { defineChannel, pollable, processor, RequestRefused, responder, sink, timeout } from 'concordat/binder'
import { type Clock, MINUTE, SECOND } from 'concordat/core'
import { createTestKit, type TestKit } from 'concordat/testing'
import { afterEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { TestKitOptions } from '../support/inside/testing.ts'

const numbers = defineChannel('numbers', { payload: z.number(), key: () => 'one' })
const answers = defineChannel('answers', { payload: z.number() })

let kit: TestKit | undefined
afterEach(async () => {
  await kit?.close()
  kit = undefined
})

async function open(options: TestKitOptions): Promise<TestKit> {
  kit = await createTestKit(options)
  return kit
}

describe('settled', () => {
  it('skips the pauses of delayed retry', async () => {
    const at: number[] = []
    let clock: Clock | undefined
    const options = { group: 'g', retry: 'delayed', backoff: { initialMs: MINUTE, jitter: 0 } } as const
    const binding = sink(numbers, options, () => {
      at.push(clock?.monotonic() ?? 0)
      throw new Error('no')
    })
    const kit = await open({ bindings: [binding] })
    clock = kit.clock
    await kit.send(numbers, 1)
    await kit.settled()
    expect(at.map((ms) => Math.round(ms / SECOND))).toEqual([0, 60, 120])
    expect(kit.deadLetters(numbers, 'g')).toMatchObject([{ attempts: 3 }])
  })

  it('ignores messages that wait for another attempt of a paused binding', async () => {
    const binding = sink(numbers, { group: 'g', retry: 'delayed' }, () => {
      throw new Error('no')
    })
    const kit = await open({ bindings: [binding] })
    const control = kit.binder.binding('numbers.g')
    await kit.send(numbers, 1)
    await kit.advance(0)
    control.pause()
    await kit.settled()
    expect(control.status()).toMatchObject({ retried: 1, deadLettered: 0 })
    control.resume()
    await kit.settled()
    expect(kit.deadLetters(numbers, 'g')).toHaveLength(1)
  })

  it('leaves a paused binding alone that has a breaker', async () => {
    let calls = 0
    const options = { group: 'g', maxAttempts: 3, backoff: { initialMs: 60_000, jitter: 0 } }
    const circuitBreaker = { failures: 50, pauseMs: 1_000 }
    const binding = sink(numbers, { ...options, circuitBreaker }, () => {
      calls++
      throw new Error('no')
    })
    const kit = await open({ bindings: [binding] })
    await kit.send(numbers, 1)
    await kit.send(numbers, 2)
    await kit.advance(0)
    const [before, now] = [calls, kit.clock.now()]
    kit.binder.binding('numbers.g').pause()
    await kit.settled()
    expect({ calls, now: kit.clock.now() }).toEqual({ calls: before, now })
  })

  it('rejects while the broker is down', async () => {
    const kit = await open({ bindings: [sink(numbers, { group: 'g' }, () => {})] })
    kit.disconnect()
    await expect(kit.settled()).rejects.toThrow('call reconnect() before')
    kit.reconnect()
    await kit.settled()
  })

  it('rejects when there is no end', async () => {
    const kit = await open({ bindings: [processor(numbers, numbers, { group: 'g' }, (n) => n + 1)] })
    await kit.send(numbers, 0)
    await expect(kit.settled()).rejects.toThrow('does a message send itself?')
  })
})

describe('advance', () => {
  it('continues while a handler waits for the clock of the kit', async () => {
    const steps: string[] = []
    let clock: Clock | undefined
    const binding = sink(numbers, { group: 'g' }, async () => {
      steps.push('begins')
      await clock?.sleep(5 * SECOND)
      steps.push('ends')
    })
    const kit = await open({ bindings: [binding] })
    clock = kit.clock
    await kit.send(numbers, 1)
    await kit.advance(4 * SECOND)
    expect(steps).toEqual(['begins'])
    await kit.advance(1 * SECOND)
    expect(steps).toEqual(['begins', 'ends'])
    await kit.settled()
  })

  it('ends a handler that hangs when the time of its middleware is over', async () => {
    const options = { group: 'g', maxAttempts: 1, middleware: [timeout(30 * SECOND)] }
    const hangs = (_: unknown, { signal }: { readonly signal: AbortSignal }) =>
      new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    const kit = await open({ bindings: [sink(numbers, options, hangs)], patienceMs: 50 })
    await kit.send(numbers, 1)
    await kit.advance(30 * SECOND)
    expect(kit.deadLetters(numbers, 'g')).toMatchObject([{ error: { code: 'binder.handler_timeout' } }])
  })

  it('waits for a handler that does real work, but not forever', async () => {
    const never = Promise.withResolvers<void>()
    const kit = await open({ bindings: [sink(numbers, { group: 'g' }, () => never.promise)], patienceMs: 50 })
    await kit.send(numbers, 1)
    await kit.advance(10 * SECOND)
    expect(kit.clock.monotonic()).toBe(10 * SECOND)
    never.resolve()
  })
})

it('poll delivers one message, and returns at once when there is none', async () => {
  const pull = pollable(numbers, { group: 'g' })
  const kit = await open({ bindings: [pull] })
  await kit.send(numbers, 7)
  const got: number[] = []
  expect(await kit.poll(pull, (n) => void got.push(n))).toBe(true)
  expect(await kit.poll(pull, (n) => void got.push(n))).toBe(false)
  expect(got).toEqual([7])
  await kit.send(numbers, -1)
  const refuse = (): never => {
    throw new Error('no')
  }
  expect(await kit.poll(pull, refuse)).toBe(true)
  expect(kit.deadLetters(numbers, 'g')).toMatchObject([{ attempts: 3 }])
  await expect(kit.poll(pollable(answers, { group: 'x' }), refuse)).rejects.toThrow(TypeError)
})

it('redrive sends dead letters back to the fixed handler', async () => {
  let isBroken = true
  const got: string[] = []
  const binding = sink(numbers, { group: 'g', maxAttempts: 1 }, (_, { id }) => {
    if (isBroken) throw new Error('no')
    got.push(id)
  })
  const kit = await open({ bindings: [binding] })
  await kit.send(numbers, 1)
  await kit.send(numbers, 2)
  await kit.settled()
  isBroken = false
  expect(await kit.redrive(numbers, 'g', { filter: ({ id }) => id === 'message-2' })).toMatchObject({
    sent: 1,
    kept: 1,
  })
  await kit.settled()
  expect(got).toEqual(['message-2'])
})

it('the test kit asks and answers requests, with the middleware and the headers of the service', async () => {
  const seen: unknown[] = []
  const respond = responder(numbers, answers, { group: 'g' }, (n, { headers }) => {
    seen.push(headers['tenant'])
    if (n < 0) throw new RequestRefused('negative', 'no negative numbers')
    return n * 2
  })
  const kit = await open({
    bindings: [respond],
    replies: [answers],
    headers: () => ({ tenant: 'north' }),
    middleware: [
      (next, { name }) =>
        (payload, context) => {
          seen.push(name)
          return next(payload, context)
        },
    ],
  })
  expect(await kit.binder.request(numbers, 21, { reply: answers })).toBe(42)
  await expect(kit.binder.request(numbers, -1, { reply: answers })).rejects.toThrow(
    expect.objectContaining({ code: 'binder.request_failed' }),
  )
  expect(seen).toEqual(['numbers.g', 'north', 'numbers.g', 'north'])
})

it('the test kit ends an unanswered request at its timeout', async () => {
  const kit = await open({ bindings: [], sends: [numbers], replies: [answers] })
  const asked = kit.binder.request(numbers, 1, { reply: answers, timeoutMs: 10 * SECOND })
  const ended = expect(asked).rejects.toMatchObject({ code: 'binder.request_timeout' })
  await kit.advance(10 * SECOND)
  await ended
})
