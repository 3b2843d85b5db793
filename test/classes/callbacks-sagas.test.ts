/**
 * The cases of `callbacks.test.ts` for sagas and the bus: the outcome of a saga whose function misbehaves once, and of
 * the next saga.
 */

import { createBinder, defineChannel } from 'concordat/binder'
import { createBus, defineEvent, onEvent } from 'concordat/bus'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { defineSaga, participant, type Saga } from 'concordat/saga'
import { createService, type ServiceOptions } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import type { SagaOptions } from '../support/inside/saga.ts'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const MODES = {
  throws: () => {
    throw new Error('of the user')
  },
  'throws null': () => {
    throw null as unknown as Error
  },
  rejects: () => Promise.reject(new Error('of the user')),
  'never settles': () => new Promise(() => {}),
  'returns a symbol': () => Symbol('of the user'),
} as const
type Mode = keyof typeof MODES
type Misbehaving = () => never

const database = freshPglite()
const sql = pgliteClient(database)
const unhandled: unknown[] = []
const keep = (reason: unknown): void => void unhandled.push(reason)
let others: NodeJS.UnhandledRejectionListener[] = []
beforeAll(async () => {
  await database.waitReady
  others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', keep)
}, 180_000)
afterAll(async () => {
  process.off('unhandledRejection', keep)
  for (const listener of others) process.on('unhandledRejection', listener)
  await database.close()
})

/** Misbehaves at its first `times` calls. */
function first<F extends (...parameters: never[]) => unknown>(call: Misbehaving, good: F, times = 1): F {
  let left = times
  return ((...parameters: Parameters<F>) => (left-- > 0 ? call() : good(...parameters))) as F
}

const Input = z.object({ n: z.number() })
const commands = defineChannel('commands', { payload: Input })
const approvals = defineChannel('approvals', { payload: z.object({ id: z.string() }) })
const once = { maxAttempts: 1 } as const

type Build = (call: Misbehaving) => {
  readonly saga: Saga<unknown, { n: number }, object>
  readonly options?: Partial<ServiceOptions>
}

const obeys = { invoke: () => {}, compensate: () => {} }
const sagaOf = (options: Partial<SagaOptions<typeof Input>> = {}) =>
  defineSaga('s', { version: 1, input: Input, ...options })

/** Status of the first saga, whose function misbehaves. `running`: it waits, and its report says so. */
const CASES: Readonly<
  Record<string, { readonly outcome: Readonly<Record<Mode, string>>; readonly build: Build; readonly without?: Mode }>
> = {
  'invoke of a step': {
    outcome: all('compensated', { 'returns a symbol': 'completed' }),
    build: (call) => ({
      saga: sagaOf().step('a', { invoke: first(call, () => {}), compensate: 'none', retry: once, timeoutMs: 100 }),
    }),
  },
  'compensate of a step': {
    outcome: all('stuck', { 'returns a symbol': 'compensated', 'never settles': 'stuck' }),
    build: (call) => {
      let calls = 0
      const fails = (): void => {
        if (calls++ === 0) throw new Error('turns back')
      }
      return {
        saga: sagaOf()
          .step('a', {
            invoke: () => {},
            compensate: first(call, () => {}),
            compensationRetry: once,
            timeoutMs: 100,
          } as never)
          .step('b', { invoke: fails, compensate: 'none', retry: once }),
      }
    },
  },
  'request of a command': {
    outcome: all('compensated'),
    build: (call) => ({
      saga: sagaOf().command('a', { to: commands, request: first(call, () => ({ n: 1 })), compensate: 'none' }),
      options: { bindings: [participant(commands, { group: 'p' }, obeys)] },
    }),
  },
  'invoke of a participant': {
    // A step that never settles holds its transaction, and with it PGlite's only connection.
    outcome: all('compensated', { 'returns a symbol': 'completed' }),
    without: 'never settles',
    build: (call) => ({
      saga: sagaOf().command('a', {
        to: commands,
        request: () => ({ n: 1 }),
        compensate: 'none',
        retry: { maxAttempts: 1 },
      }),
      options: {
        bindings: [
          participant(
            commands,
            { group: 'p', concurrency: 4, maxAttempts: 1 },
            { ...obeys, invoke: first(call, () => {}) },
          ),
        ],
      },
    }),
  },
  'delay of a timer': {
    outcome: all('compensated'),
    build: (call) => ({ saga: sagaOf().timer('a', { delay: first(call, () => 1) }) }),
  },
  'a condition': {
    outcome: all('compensated'),
    build: (call) => ({
      saga: sagaOf().when(
        first(call, () => true),
        (to) => to.step('a', { invoke: () => {}, compensate: 'none' }),
      ),
    }),
  },
  'input of a sub-saga': {
    outcome: all('compensated'),
    build: (call) => {
      const child = defineSaga('child', { version: 1, input: Input }).step('c', {
        invoke: () => {},
        compensate: 'none',
      })
      return {
        saga: sagaOf().saga('a', { saga: child, compensate: true, input: first(call, () => ({ n: 1 })) }),
        options: { sagas: [child] },
      }
    },
  },
  'headers of the coordinator': {
    outcome: all('compensated'),
    build: (call) => ({
      saga: sagaOf().command('a', { to: commands, request: () => ({ n: 1 }), compensate: 'none' }),
      options: {
        bindings: [participant(commands, { group: 'p' }, obeys)],
        parts: { coordinator: { headers: first(call, () => ({ a: 'b' })) } },
      },
    }),
  },
  'every function of a logger, onStuck and onLate': {
    outcome: all('stuck'),
    build: (call) => ({
      saga: sagaOf()
        .step('a', {
          invoke: () => {},
          compensate: first(
            () => MODES.throws() as never,
            () => {},
          ),
          compensationRetry: once,
        } as never)
        .step('b', {
          invoke: first(
            () => MODES.throws() as never,
            () => {},
          ),
          compensate: 'none',
          retry: once,
        }),
      options: {
        logger: { debug: call, info: call, warn: call, error: call },
        parts: { coordinator: { onStuck: call, onLate: call } },
      },
    }),
  },
}

function all(outcome: string, except: Partial<Record<Mode, string>> = {}): Readonly<Record<Mode, string>> {
  return {
    throws: outcome,
    'throws null': outcome,
    rejects: outcome,
    'never settles': outcome,
    'returns a symbol': outcome,
    ...except,
  }
}

async function serving(sagas: readonly Saga<never, never, object>[], options: Partial<ServiceOptions> = {}) {
  const service = createService({
    name: 's',
    schema: uniqueName('calls'),
    sql,
    transport: memoryTransport(),
    drainTimeoutMs: 50,
    ...options,
    sagas: [...sagas, ...(options.sagas ?? [])] as never,
  })
  onTestFinished(() => service.close())
  await service.start()
  return service
}

describe.for(Object.entries(CASES))('%s', ([, { outcome, build, without }]) => {
  const modes = Object.keys(MODES) as Mode[]
  test.for(modes.filter((mode) => mode !== without))('%s', async (mode) => {
    const before = unhandled.length
    const { saga, options } = build(MODES[mode] as Misbehaving)
    const service = await serving([saga as never], options)
    const run = await service.run(saga, { id: 'first', input: { n: 1 } })
    const seen = await run.outcome({ timeoutMs: outcome[mode] === 'running' ? 500 : 10_000 }).then(
      ({ status }) => status as string,
      () => undefined,
    )
    expect(seen ?? (await run.report()).status).toBe(outcome[mode])
    const next = await service.run(saga, { id: 'next', input: { n: 1 } })
    expect((await next.outcome({ timeoutMs: 5_000 })).status).toBe('completed')
    expect(unhandled.slice(before)).toEqual([])
  })
})

describe('correlate of a signal', () => {
  test.for(Object.keys(MODES) as Mode[])('%s', async (mode) => {
    const before = unhandled.length
    let isGood = false
    const bad = sagaOf().signal('yes', {
      from: approvals,
      correlate: ({ id }) => (isGood ? id : (MODES[mode] as Misbehaving)()),
    })
    const good = defineSaga('good', { version: 1, input: Input }) //
      .signal('yes', { from: approvals, correlate: ({ id }) => id })
    const service = await serving([bad as never, good as never], { sends: [approvals] })
    const runs = [
      await service.run(bad, { id: 'x', input: { n: 1 } }),
      await service.run(good, { id: 'x', input: { n: 1 } }),
    ]
    await service.binder.send(approvals, { id: 'x' })
    expect((await runs[1]?.outcome({ timeoutMs: 5_000 }))?.status).toBe('completed')
    isGood = true
    await service.binder.send(approvals, { id: 'x' })
    expect((await runs[0]?.outcome({ timeoutMs: 5_000 }))?.status).toBe('completed')
    expect(unhandled.slice(before)).toEqual([])
  })
})

const ping = defineEvent('ping', { payload: Input })

/** Acknowledgement of an event whose receiver misbehaves. */
const BUS: Readonly<
  Record<string, { readonly says: Readonly<Record<Mode, string>>; readonly options: (call: Misbehaving) => object }>
> = {
  'a handler': {
    says: all('failed', { 'returns a symbol': 'handled', 'never settles': 'failed' }),
    options: (call) => ({
      on: [
        onEvent(
          ping,
          first(call, () => {}),
        ),
      ],
    }),
  },
  'authorize of a receiver': {
    says: all('failed'),
    options: (call) => ({ on: [onEvent(ping, () => {})], authorize: first(call, () => true) }),
  },
  'every function of a logger': {
    says: all('handled'),
    options: (call) => ({
      on: [onEvent(ping, () => {})],
      logger: { debug: call, info: call, warn: call, error: call },
    }),
  },
}

describe.for(Object.entries(BUS))('bus: %s', ([, { says, options }]) => {
  test.for(Object.keys(MODES) as Mode[])('%s', async (mode) => {
    const before = unhandled.length
    const broker = memoryBroker()
    const join = async (service: string, own: object) => {
      const bus = createBus({ service, handlerTimeoutMs: 100, heartbeatMs: 50, ...own })
      const binder = createBinder({
        service,
        transport: memoryTransport({ broker }),
        bindings: bus.bindings,
        sends: bus.channels,
      })
      onTestFinished(async () => {
        await bus.close()
        await binder.close()
      })
      await binder.start()
      await bus.start(binder)
      await bus.ready()
      return bus
    }
    await join('b', options(MODES[mode] as Misbehaving))
    const sender = await join('a', {})
    await until('it is seen', async () => (await sender.members()).length === 2)
    const ask = async () => {
      const { acked, failed } = (await sender.publish(ping, { n: 1 }, { to: 'b:**', ack: true } as never)) as never as {
        acked: readonly unknown[]
        failed: readonly unknown[]
      }
      return failed.length > 0 ? 'failed' : acked.length > 0 ? 'handled' : 'nobody'
    }
    expect(await ask()).toBe(says[mode])
    expect(await ask()).toBe('handled')
    expect(unhandled.slice(before)).toEqual([])
  })
})
