import {
  type BatchContext,
  type BatchMiddleware,
  type Binder,
  type BinderOptions,
  carryHeaders,
  createBinder,
  defineChannel,
  failed,
  ignoreErrors,
  type Middleware,
  ok,
  processorBatch,
  produced,
  several,
  sink,
  sinkBatch,
  timeout,
  to,
  withContext,
} from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { BatchHandler, BatchSinkOptions } from '../../support/inside/binder.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'
import { until } from '../../support/until.ts'
import { memoryLogger } from '../support/memory-logger.ts'
import { keeper, NO_PAUSE, running } from '../support/run.ts'
import { ScriptedTransport } from '../support/scripted-transport.ts'

const numbers = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
const doubled = defineChannel('doubled', { payload: z.number(), groups: ['keeper'] })

interface Setup {
  readonly clock: FakeClock
  readonly transport: ScriptedTransport
  readonly binder: Binder
}

async function setup(
  options: Partial<BatchSinkOptions>,
  handler: BatchHandler<number, BatchContext>,
  ofBinder: Partial<BinderOptions> = {},
): Promise<Setup> {
  const clock = new FakeClock()
  const transport = new ScriptedTransport()
  const all = { group: 'g', backoff: NO_PAUSE, batch: { maxSize: 2, maxWaitMs: 10 }, ...options, inbox: undefined }
  const bindings = [sinkBatch(numbers, all, handler)]
  const binder = createBinder({ service: 'test', transport, clock, bindings, ...ofBinder })
  onTestFinished(() => binder.close())
  await binder.start()
  return { clock, transport, binder }
}

const deliver = ({ transport }: Setup, ...payloads: readonly number[]) =>
  payloads.map((payload) => transport.subscription.deliver(null, payload))
const status = ({ binder }: Setup) => binder.binding('numbers.g').status()

function noting(name: string, notes: string[]): BatchMiddleware {
  return (next, { kind, name: binding }) =>
    async (items, context) => {
      notes.push(`${name} in ${kind} ${binding} ${items.map(({ payload }) => payload).join()}`)
      try {
        return await next(items, context)
      } finally {
        notes.push(`${name} out`)
      }
    }
}

describe('middleware of batches', () => {
  it('runs around the call, the binder’s before the binding’s, and that of single messages does not', async () => {
    const notes: string[] = []
    const single: Middleware = (next, { name }) => {
      notes.push(`single around ${name}`)
      return next
    }
    const test = await setup({ middleware: [noting('c', notes)] }, () => void notes.push('handler'), {
      batchMiddleware: [noting('a', notes), noting('b', notes)],
      middleware: [single],
    })
    deliver(test, 0, 1)
    await drain()
    const around = 'in sinkBatch numbers.g 0,1'
    expect(notes).toEqual([`a ${around}`, `b ${around}`, `c ${around}`, 'handler', 'c out', 'b out', 'a out'])
    expect(status(test).handled).toBe(2)
  })

  it('does not run around single messages', async () => {
    const notes: string[] = []
    const binder = await running({
      bindings: [sink(numbers, { group: 'g' }, () => {})],
      batchMiddleware: [noting('a', notes)],
    })
    await binder.send(numbers, 1)
    await until('it was handled', () => binder.binding('numbers.g').status().handled === 1)
    expect(notes).toEqual([])
  })

  it('runs for each call, with the remaining messages', async () => {
    const notes: string[] = []
    const test = await setup({ middleware: [noting('a', notes)], maxAttempts: 2 }, () => [ok, failed(new Error('x'))])
    deliver(test, 0, 1)
    await test.clock.advance(0)
    // The second call has one message, and two outcomes do not fit it.
    expect(notes).toEqual(['a in sinkBatch numbers.g 0,1', 'a out', 'a in sinkBatch numbers.g 1', 'a out'])
    expect(status(test)).toMatchObject({ handled: 1, deadLettered: 1 })
  })

  it('may leave messages out, change payloads and outcomes, and fail the call', async () => {
    const seen: unknown[] = []
    const noZeros: BatchMiddleware = (next) => async (items, context) => {
      const rest = items.filter(({ payload }) => payload !== 0)
      if (rest.length === 0) throw new Error('nothing left')
      await next(
        rest.map((item) => ({ ...item, payload: Number(item.payload) + 100 })),
        withContext(context, { group: 'other' }),
      )
      return items.map(({ payload }) => (payload === 0 ? failed(new Error('zero')) : ok))
    }
    const test = await setup({ middleware: [noZeros], maxAttempts: 1 }, (items, { group, log }) => {
      log.info({}, 'the rest is as it was')
      seen.push([group, ...items.map(({ payload }) => payload)])
    })
    deliver(test, 0, 1)
    await drain()
    expect(seen).toEqual([['other', 101]])
    expect(status(test)).toMatchObject({ handled: 1, deadLettered: 1 })
    deliver(test, 0, 0)
    await test.clock.advance(0)
    expect(seen).toHaveLength(1)
    expect(status(test).deadLettered).toBe(3)
  })

  it('sees what fits the messages, and has to return what fits them', async () => {
    const seen: unknown[] = []
    const looks: BatchMiddleware = (next) => async (items, context) => {
      const outcomes = await next(items, context)
      seen.push(outcomes)
      return outcomes?.slice(1)
    }
    const test = await setup({ middleware: [looks] }, ([first]) =>
      first?.payload === 0 ? ['wrong' as never] : [ok, ok],
    )
    deliver(test, 0, 1)
    deliver(test, 2, 3)
    await drain()
    expect(seen).toEqual([[ok, ok]])
    const codes = test.transport.published.flat().map(({ headers }) => headers['dead-letter-error-code'])
    expect(codes).toEqual(Array.from({ length: 4 }, () => 'binder.batch_outcomes'))
  })

  it.for([
    [{ middleware: {} as never }, 'middleware: expected a list of functions'],
    [{ middleware: [1 as never] }, 'middleware[0]: expected a function: (next) =>'],
    [{ middleware: [(() => undefined) as never] }, 'of "numbers.g": expected a function from it'],
  ] as const)('refuses %o', ([options, message]) => {
    const make = (own: Partial<BatchSinkOptions>, ofBinder: Partial<BinderOptions>) => () =>
      createBinder({
        service: 's',
        transport: memoryTransport(),
        bindings: [sinkBatch(numbers, { group: 'g', ...own, inbox: undefined }, () => {})],
        ...ofBinder,
      })
    expect(make({}, { batchMiddleware: options.middleware })).toThrow(
      message.replace(/^middleware/, 'createBinder.batchMiddleware'),
    )
    expect(make(options, {})).toThrow(message.replace(/^middleware/, 'sinkBatch("numbers").middleware'))
  })
})

describe('timeout of a batch', () => {
  it('fails the call, and aborts its signal and those of its messages', async () => {
    const clock = new FakeClock()
    const signals: AbortSignal[] = []
    const test = await setup(
      { middleware: [timeout(1_000, clock)], maxAttempts: 2 },
      (items, { signal }) => {
        if (signals.length > 0) return undefined
        signals.push(signal, ...items.map(({ context }) => context.signal))
        return new Promise(() => {})
      },
      { clock },
    )
    deliver(test, 0, 1)
    await clock.advance(999)
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false, false])
    await clock.advance(1)
    expect(signals.map(({ reason }) => (reason as { code?: unknown }).code)).toEqual(
      Array.from({ length: 3 }, () => 'binder.handler_timeout'),
    )
    await clock.advance(60_000)
    expect(status(test)).toMatchObject({ handled: 2, deadLettered: 0 })
  })
})

describe('ignoreErrors of a batch', () => {
  it('treats messages with a harmless outcome as handled, or all when the call threw a harmless error', async () => {
    const { logger, lines } = memoryLogger()
    const harmless = ignoreErrors((error) => error.message === 'gone already')
    const test = await setup(
      { middleware: [harmless], maxAttempts: 1 },
      (items) => {
        if (items.some(({ payload }) => payload === 2)) throw new Error('gone already')
        return items.map(({ payload }) => failed(new Error(payload === 0 ? 'gone already' : 'disk full')))
      },
      { logger },
    )
    deliver(test, 0, 1)
    deliver(test, 2, 3)
    await drain()
    expect(status(test)).toMatchObject({ handled: 3, deadLettered: 1 })
    expect(lines.filter((line) => line.includes('error ignored'))).toHaveLength(2)
  })
})

describe('carryHeaders in a batch', () => {
  it('gives each output the headers of the message it is for', async () => {
    const { got, binding } = keeper(doubled)
    const options = { group: 'g', batch: { maxSize: 3, maxWaitMs: 50 }, middleware: [carryHeaders('tenant')] }
    const double = processorBatch(numbers, doubled, options, (items) =>
      items.map(({ payload }) => {
        if (payload === 0) return ok
        return produced(payload === 1 ? several([10, to(doubled, 11, { headers: { tenant: 'own' } })]) : 20)
      }),
    )
    const binder = await running({ bindings: [double, binding] })
    await binder.sendBatch(numbers, [0, 1, 2], (n) => ({ headers: { tenant: `t${n}`, other: 1 } }))
    await until('all came', () => got.length === 3)
    const carried = got.map(({ payload, headers }) => [payload, headers] as const)
    expect(carried.toSorted(([a], [b]) => a - b)).toEqual([
      [10, { tenant: 't1' }],
      [11, { tenant: 'own' }],
      [20, { tenant: 't2' }],
    ])
  })
})
