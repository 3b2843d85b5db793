import {
  carryHeaders,
  createBinder,
  defineChannel,
  ignoreErrors,
  into,
  type Middleware,
  processor,
  route,
  several,
  sink,
  timeout,
  to,
  withContext,
} from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { until } from '../../support/until.ts'
import { keeper, NO_PAUSE, running } from '../support/run.ts'

const numbers = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
const doubled = defineChannel('doubled', { payload: z.number(), groups: ['keeper'] })

function noting(name: string, notes: string[]): Middleware {
  return (next, { name: binding }) =>
    async (payload, context) => {
      notes.push(`${name} in ${binding} ${context.attempt}`)
      try {
        return await next(payload, context)
      } finally {
        notes.push(`${name} out`)
      }
    }
}

describe('middleware', () => {
  it('runs around the handler, the binder’s before the binding’s and the first of a list outermost', async () => {
    const notes: string[] = []
    const options = { group: 'g', middleware: [noting('c', notes)] }
    const binder = await running({
      bindings: [sink(numbers, options, () => void notes.push('handler'))],
      middleware: [noting('a', notes), noting('b', notes)],
    })
    await binder.send(numbers, 1)
    await until('all are out', () => notes.filter((note) => note.endsWith('out')).length === 3)
    expect(notes).toEqual([
      'a in numbers.g 1',
      'b in numbers.g 1',
      'c in numbers.g 1',
      'handler',
      'c out',
      'b out',
      'a out',
    ])
  })

  it('runs for each attempt', async () => {
    const notes: string[] = []
    const failing = sink(
      numbers,
      { group: 'g', backoff: NO_PAUSE, maxAttempts: 2, middleware: [noting('a', notes)] },
      () => {
        throw new Error('no')
      },
    )
    const binder = await running({ bindings: [failing] })
    await binder.send(numbers, 1)
    await until('it is dead-lettered', () => binder.binding('numbers.g').status().deadLettered === 1)
    expect(notes).toEqual(['a in numbers.g 1', 'a out', 'a in numbers.g 2', 'a out'])
  })

  it('may change the payload and the result, and fail the attempt', async () => {
    const { got, binding } = keeper(doubled)
    const plusOne: Middleware = (next) => async (payload, context) => {
      if (payload === 0) throw new Error('not zero')
      return Number(await next(Number(payload) + 1, context)) + 100
    }
    const double = processor(numbers, doubled, { group: 'g', maxAttempts: 1, middleware: [plusOne] }, (n) => n * 2)
    const binder = await running({ bindings: [double, binding] })
    await binder.sendBatch(numbers, [0, 1])
    await until('one came', () => got.length === 1)
    expect(got[0]?.payload).toBe(104)
    await until('one failed', () => binder.binding('numbers.g').status().deadLettered === 1)
  })

  it('may give the handler another context', async () => {
    const seen: unknown[] = []
    const renamed: Middleware = (next) => (payload, context) => next(payload, withContext(context, { source: 'other' }))
    const look = sink(numbers, { group: 'g', middleware: [renamed] }, (_n, { source, id, log, headers }) => {
      log.info({}, 'the rest is as it was')
      seen.push(source, typeof id, headers)
    })
    const binder = await running({ bindings: [look] })
    await binder.send(numbers, 1)
    await until('it came', () => seen.length > 0)
    expect(seen).toEqual(['other', 'string', {}])
  })

  it.for([
    [{ middleware: {} as never }, 'createBinder.middleware: expected a list of functions'],
    [{ middleware: [1 as never] }, 'createBinder.middleware[0]: expected a function: (next) =>'],
    [{ middleware: [(() => undefined) as never] }, 'of "numbers.g": expected a function from it'],
  ] as const)('refuses %o', ([options, message]) => {
    const bindings = [sink(numbers, { group: 'g' }, () => {})]
    expect(() => createBinder({ service: 's', transport: memoryTransport(), bindings, ...options })).toThrow(message)
    const own = sink(numbers, { group: 'g', ...options }, () => {})
    expect(() => createBinder({ service: 's', transport: memoryTransport(), bindings: [own] })).toThrow(
      message.replace('createBinder.', 'sink("numbers").'),
    )
  })
})

describe('timeout', () => {
  it('fails an attempt that takes too long, aborts its signal and lets the next one begin', async () => {
    const clock = new FakeClock()
    const reasons: unknown[] = []
    const slow = sink(
      numbers,
      { group: 'g', backoff: NO_PAUSE, middleware: [timeout(1_000, clock)] },
      (_n, context) => {
        if (context.attempt > 1) return undefined
        const { promise, reject } = Promise.withResolvers<void>()
        context.signal.addEventListener('abort', () => {
          reasons.push(context.signal.reason)
          reject(context.signal.reason as Error)
        })
        return promise
      },
    )
    const binder = await running({ bindings: [slow] })
    await binder.send(numbers, 1)
    await until('the handler waits', () => binder.binding('numbers.g').status().running === 1)
    await clock.advance(999)
    expect(reasons).toEqual([])
    await clock.advance(1)
    await until('it was handled', () => binder.binding('numbers.g').status().handled === 1)
    expect(reasons).toMatchObject([{ code: 'binder.handler_timeout', retryable: true, timeoutMs: 1_000 }])
  })

  it('refuses an invalid time', () => {
    expect(() => timeout(0)).toThrow('timeout: expected a whole number >= 1')
  })
})

describe('ignoreErrors', () => {
  it('treats a message with a harmless error as handled, and no other', async () => {
    const harmless = ignoreErrors((error) => error.message === 'gone already')
    const remove = sink(numbers, { group: 'g', maxAttempts: 1, middleware: [harmless] }, (n) => {
      throw new Error(n === 1 ? 'gone already' : 'disk full')
    })
    const binder = await running({ bindings: [remove] })
    await binder.sendBatch(numbers, [1, 2])
    await until('both ended', () => {
      const { handled, deadLettered } = binder.binding('numbers.g').status()
      return handled === 1 && deadLettered === 1
    })
  })
})

describe('carryHeaders', () => {
  it('gives the input’s headers to every output, below those of the output itself', async () => {
    const { got, binding } = keeper(doubled)
    const double = processor(numbers, doubled, { group: 'g' }, (n) =>
      n === 1 ? several([2, to(doubled, 3, { headers: { tenant: 'own' } })]) : undefined,
    )
    const binder = await running({ bindings: [double, binding], middleware: [carryHeaders('tenant', 'absent')] })
    await binder.send(numbers, 2, { headers: { tenant: 'north' } })
    await binder.send(numbers, 1, { headers: { tenant: 'north', other: 1 } })
    await until('both came', () => got.length === 2)
    expect(got.map(({ payload, headers }) => [payload, headers]).toSorted(([a], [b]) => Number(a) - Number(b))).toEqual(
      [
        [2, { tenant: 'north' }],
        [3, { tenant: 'own' }],
      ],
    )
  })

  it('carries another program’s header types, and none of the headers that stay behind', async () => {
    const { got, binding } = keeper(doubled)
    const double = processor(numbers, doubled, { group: 'g' }, () =>
      several([2, to(doubled, 3, { headers: { at: 'own' } }), to(doubled, 4, { headers: { id: 'own', at: 'own' } })]),
    )
    const binder = await running({ bindings: [double, binding], middleware: [carryHeaders('id', 'at', 'absent')] })
    const types = '{"id":"java.util.UUID","at":"java.time.Instant","other":"java.util.Date"}'
    await binder.send(numbers, 1, { headers: { id: 'u', at: 'i', other: 'd', spring_json_header_types: types } })
    await until('all came', () => got.length === 3)
    expect(new Map(got.map(({ payload, headers }) => [payload, headers['spring_json_header_types']]))).toEqual(
      new Map<unknown, unknown>([
        [2, '{"id":"java.util.UUID","at":"java.time.Instant"}'],
        [3, '{"id":"java.util.UUID"}'],
        [4, undefined],
      ]),
    )
  })

  it('ignores messages that a route discards', async () => {
    const routed = route(numbers, {
      group: 'g',
      by: 'kind',
      routes: { double: into(doubled, (n) => n) },
      default: 'discard',
    })
    const binder = await running({ bindings: [routed], middleware: [carryHeaders('tenant')] })
    await binder.send(numbers, 1, { headers: { kind: 'other', tenant: 'north' } })
    const status = () => binder.binding('numbers.g').status()
    await until('it is settled', () => status().discarded + status().deadLettered === 1)
    expect(status().discarded).toBe(1)
  })
})
