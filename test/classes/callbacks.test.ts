/**
 * Every function that a user can pass to a binder: it throws, rejects, never settles, or returns a wrong value. The
 * table has the outcome of the message; no case may end the process, and none may block a part whose health is `up`
 * without a number that shows it.
 */
import {
  type Binder,
  type BinderOptions,
  type Channel,
  createBinder,
  type DeadLetter,
  defineChannel,
  processor,
  redrive,
  responder,
  route,
  sink,
  sinkBatch,
  source,
} from 'concordat/binder'
import { jsonCodec } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { NO_PAUSE } from '../binder/support/run.ts'
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

/** Observed outcome of the first message, or of the part. */
type Outcome =
  | 'handled'
  | 'dead letter'
  | 'send refused'
  | 'send waits'
  | 'running'
  | 'source down'
  | 'start refused'
  | 'nothing'
  | 'ended: complete'
  | 'ended: failed'
  | 'ended: waits'

const Payload = z.object({ n: z.number() })
const orders = defineChannel('orders', { payload: Payload })
const copies = defineChannel('copies', { payload: Payload })
const group = 'g'
const consumer = { group, maxAttempts: 2, backoff: NO_PAUSE } as const

/** Unhandled rejections, which would end a Node process: collected here, and reported by the test that caused them. */
const unhandled: unknown[] = []
const keep = (reason: unknown): void => void unhandled.push(reason)
let others: NodeJS.UnhandledRejectionListener[] = []
beforeAll(() => {
  others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', keep)
})
afterAll(() => {
  process.off('unhandledRejection', keep)
  for (const listener of others) process.on('unhandledRejection', listener)
})

interface Case {
  /** Outcome of the message whose function misbehaves, in each mode. */
  readonly outcome: Readonly<Record<Mode, Outcome>>
  readonly run: (call: Misbehaving) => Promise<Outcome>
}

function all(outcome: Outcome, except: Partial<Record<Mode, Outcome>> = {}): Case['outcome'] {
  return {
    throws: outcome,
    'throws null': outcome,
    rejects: outcome,
    'never settles': outcome,
    'returns a symbol': outcome,
    ...except,
  }
}

/** Misbehaves at its first `times` calls. */
function first<F extends (...parameters: never[]) => unknown>(call: Misbehaving, good: F, times = 2): F {
  let left = times
  return ((...parameters: Parameters<F>) => (left-- > 0 ? call() : good(...parameters))) as F
}

async function open(options: Partial<BinderOptions>, transport: Transport = memoryTransport()): Promise<Binder> {
  const binder = createBinder({
    service: 's',
    transport,
    drainTimeoutMs: 20,
    sends: [orders],
    ...options,
  } as BinderOptions)
  onTestFinished(() => binder.close())
  await binder.start()
  return binder
}

/** Sends one message and returns its outcome, then sends another, which must be handled unless the first one still runs. */
async function sendTwo(binder: Binder, channel: Channel<{ n: number }> = orders): Promise<Outcome> {
  const status = () => binder.bindings().find(({ kind }) => kind !== 'source') as ReturnType<Binder['bindings']>[number]
  const late = new Promise<'waits'>((resolve) => setTimeout(resolve, 500, 'waits'))
  const sending = binder.send(channel, { n: 1 }).then(
    () => true,
    () => false,
  )
  const sent = await Promise.race([sending, late])
  if (sent === 'waits') return 'send waits'
  const settled = (): number => status().handled + status().deadLettered + status().dropped + status().discarded
  if (sent) await until('it is settled', () => settled() > 0, 300).catch(() => {})
  const { handled, deadLettered, running } = status()
  const outcome: Outcome = !sent
    ? 'send refused'
    : deadLettered > 0
      ? 'dead letter'
      : handled > 0
        ? 'handled'
        : running > 0
          ? 'running'
          : 'nothing'
  if (outcome === 'running' || outcome === 'nothing') return outcome
  const before = settled()
  await binder.send(channel, { n: 2 })
  await until('the next one is handled', () => settled() > before, 5_000)
  return outcome
}

const handle = (): void => {}

const CASES: Readonly<Record<string, Case>> = {
  'the handler of a sink': {
    outcome: all('dead letter', { 'never settles': 'running', 'returns a symbol': 'handled' }),
    run: async (call) => sendTwo(await open({ bindings: [sink(orders, consumer, first(call, handle))] })),
  },
  'the handler of a batch': {
    outcome: all('dead letter', { 'never settles': 'running' }),
    run: async (call) => {
      const bindings = [sinkBatch(orders, { ...consumer, batch: { maxSize: 1, maxWaitMs: 1 } }, first(call, handle))]
      return sendTwo(await open({ bindings }))
    },
  },
  'the handler of a processor': {
    outcome: all('dead letter', { 'never settles': 'running' }),
    run: async (call) => {
      const good = ({ n }: { n: number }) => ({ n })
      return sendTwo(await open({ bindings: [processor(orders, copies, consumer, first(call, good))] }))
    },
  },
  'the handler of a responder': {
    outcome: all('handled', {
      throws: 'dead letter',
      'throws null': 'dead letter',
      rejects: 'dead letter',
      'never settles': 'running',
    }),
    run: async (call) => {
      const good = ({ n }: { n: number }) => ({ n })
      return sendTwo(await open({ bindings: [responder(orders, copies, consumer, first(call, good))] }))
    },
  },
  'the poll of a source': {
    outcome: all('source down', { 'never settles': 'nothing' }),
    run: async (call) => {
      const poll = first(call, () => ({ n: 1 }), 1)
      const binder = await open({
        bindings: [source(orders, { everyMs: 5, name: 'poll' }, poll), sink(copies, { group }, handle)],
      })
      let seen: Outcome = 'nothing'
      const deadline = performance.now() + 500
      while (performance.now() < deadline && binder.binding('poll').status().handled === 0) {
        if (binder.binding('poll').status().error !== undefined) seen = 'source down'
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      return seen
    },
  },
  'the key of a channel': {
    outcome: all('send refused'),
    run: async (call) => {
      const keyed = defineChannel('keyed', { payload: Payload, key: first(call, () => 'k', 1) })
      return sendTwo(await open({ bindings: [sink(keyed, consumer, handle)], sends: [keyed] }), keyed)
    },
  },
  'the key of what a processor sends': {
    outcome: all('dead letter'),
    run: async (call) => {
      const keyed = defineChannel('keyed', { payload: Payload, key: first(call, () => 'k') })
      return sendTwo(await open({ bindings: [processor(orders, keyed, consumer, ({ n }) => ({ n }))] }))
    },
  },
  'a schema, when sent': {
    outcome: all('send refused', { 'never settles': 'send waits' }),
    run: async (call) => {
      const validate = first(call, (value: unknown) => ({ value }), 1)
      const payload = { '~standard': { version: 1 as const, vendor: 'test', validate } }
      const checked = defineChannel('checked', { payload: payload as never })
      const binder = await open({ bindings: [sink(checked, consumer, handle)], sends: [checked] })
      return sendTwo(binder, checked as never)
    },
  },
  'a schema, when received': {
    outcome: all('dead letter', { 'never settles': 'running' }),
    run: async (call) => {
      const validate = first(call, (value: unknown) => ({ value }))
      const payload = { '~standard': { version: 1 as const, vendor: 'test', validate } }
      const checked = defineChannel('orders', { payload: payload as never })
      return sendTwo(await open({ bindings: [sink(checked, consumer, handle)] }))
    },
  },
  'an upcast': {
    outcome: all('dead letter'),
    run: async (call) => {
      const upcasts = { 1: first(call, (old: unknown) => old as { n: number }) }
      const newer = defineChannel('orders', { payload: Payload, version: 2, upcasts })
      return sendTwo(await open({ bindings: [sink(newer, consumer, handle)] }))
    },
  },
  'the encode of a codec': {
    outcome: all('send refused'),
    run: async (call) => {
      const codec = { ...jsonCodec, encode: first(call, (value: unknown) => jsonCodec.encode(value), 1) }
      const coded = defineChannel('coded', { payload: Payload, codec })
      return sendTwo(await open({ bindings: [sink(coded, consumer, handle)], sends: [coded] }), coded)
    },
  },
  'the decode of a codec': {
    outcome: all('dead letter'),
    run: async (call) => {
      const codec = { ...jsonCodec, decode: first(call, (bytes: Uint8Array) => jsonCodec.decode(bytes)) }
      const coded = defineChannel('orders', { payload: Payload, codec })
      return sendTwo(await open({ bindings: [sink(coded, consumer, handle)] }))
    },
  },
  'retryable of a binding': {
    outcome: all('dead letter'),
    run: async (call) => {
      const fails = first((() => Promise.reject(new Error('of the handler'))) as Misbehaving, handle)
      const options = { ...consumer, retryable: first(call, () => true) }
      return sendTwo(await open({ bindings: [sink(orders, options, fails)] }))
    },
  },
  'counts of a circuit breaker': {
    outcome: all('dead letter'),
    run: async (call) => {
      const fails = first((() => Promise.reject(new Error('of the handler'))) as Misbehaving, handle)
      const circuitBreaker = { failures: 50, pauseMs: 1, counts: first(call, () => true) }
      return sendTwo(await open({ bindings: [sink(orders, { ...consumer, circuitBreaker }, fails)] }))
    },
  },
  'by of a route': {
    outcome: all('dead letter', { 'never settles': 'running' }),
    run: async (call) => {
      const by = first(call, () => 'a')
      return sendTwo(await open({ bindings: [route(orders, { ...consumer, by, routes: { a: handle } })] }))
    },
  },
  'the headers around a send': {
    outcome: all('send refused'),
    run: async (call) => {
      return sendTwo(
        await open({ bindings: [sink(orders, consumer, handle)], headers: first(call, () => ({ a: 'b' }), 1) }),
      )
    },
  },
  'the headers around what a processor sends': {
    outcome: all('dead letter'),
    run: async (call) => {
      const headers = first(call, () => ({ a: 'b' }))
      let isSent = false
      const around = (): { a: string } | undefined => (isSent ? headers() : void (isSent = true))
      return sendTwo(
        await open({ bindings: [processor(orders, copies, consumer, ({ n }) => ({ n }))], headers: around }),
      )
    },
  },
  'a middleware': {
    outcome: all('start refused'),
    run: async (call) => {
      try {
        createBinder({
          service: 's',
          transport: memoryTransport(),
          bindings: [sink(orders, consumer, handle)],
          middleware: [call],
        })
        return 'handled'
      } catch {
        return 'start refused'
      }
    },
  },
  'what a middleware returns': {
    outcome: all('dead letter', { 'never settles': 'running', 'returns a symbol': 'handled' }),
    run: async (call) => {
      const middleware = [(next: (...all: never[]) => Promise<unknown>) => first(call, next)] as never
      return sendTwo(await open({ bindings: [sink(orders, consumer, handle)], middleware }))
    },
  },
  'every function of a logger': {
    outcome: all('dead letter'),
    run: async (call) => {
      const logger = { debug: call, info: call, warn: call, error: call }
      const fails = first((() => Promise.reject(new Error('of the handler'))) as Misbehaving, handle)
      return sendTwo(await open({ bindings: [sink(orders, consumer, fails)], logger }))
    },
  },
  'unlisted of a binder': {
    outcome: all('send refused', { 'returns a symbol': 'send refused' }),
    run: async (call) => {
      const binder = await open({ bindings: [sink(orders, consumer, handle)], unlisted: first(call, () => orders, 1) })
      const message = {
        destination: 'nowhere',
        id: 'i',
        key: null,
        type: 't',
        source: 's',
        contentType: '',
        time: 0,
        headers: {},
        body: null,
      }
      const [outcome] = await binder.publish([message]).catch(() => ['refused'])
      await sendTwo(binder)
      return outcome === undefined || outcome === null ? 'handled' : 'send refused'
    },
  },
  'filter of a redrive': {
    outcome: all('ended: failed', { 'never settles': 'ended: waits', 'returns a symbol': 'ended: complete' }),
    run: (call) => redriven({ filter: call }),
  },
  'onProgress of a redrive': {
    outcome: all('ended: complete'),
    run: (call) => redriven({ onProgress: call }),
  },
}

async function redriven(options: {
  filter?: (letter: DeadLetter) => boolean
  onProgress?: () => void
}): Promise<Outcome> {
  const broker = memoryBroker()
  const fails = (): never => {
    throw new Error('of the handler')
  }
  const binder = await open({ bindings: [sink(orders, { group, maxAttempts: 1 }, fails)] }, memoryTransport({ broker }))
  await binder.send(orders, { n: 1 })
  await until('it is a dead letter', () => binder.bindings()[0]?.deadLettered === 1)
  await binder.close()
  const controller = new AbortController()
  const run = redrive({ service: 's', transport: memoryTransport({ broker }) }, orders, group, {
    ...options,
    signal: controller.signal,
  } as never)
  const ended = run.then(
    ({ complete }) => (complete ? 'ended: complete' : 'ended: failed') as Outcome,
    () => 'ended: failed' as Outcome,
  )
  const late = new Promise<Outcome>((resolve) => setTimeout(resolve, 500, 'ended: waits'))
  const outcome = await Promise.race([ended, late])
  controller.abort()
  return outcome
}

describe.for(Object.entries(CASES))('%s', ([, { outcome, run }]) => {
  test.for(Object.keys(MODES) as Mode[])('%s', async (mode) => {
    const before = unhandled.length
    expect(await run(MODES[mode] as Misbehaving)).toBe(outcome[mode])
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(unhandled.slice(before)).toEqual([])
  })
})
