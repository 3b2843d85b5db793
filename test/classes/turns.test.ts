/**
 * Callbacks and answers in microtasks must let the event loop turn: a loop of such calls stops no timer, no socket and
 * no signal of the process. Consumers of each transport have the same test in `test/conformance/transport-turns.ts`.
 */
import {
  type Channel,
  createBinder,
  defineChannel,
  type Inbox,
  processor,
  redrive,
  sink,
  sinkBatch,
  TerminalError,
} from 'concordat/binder'
import { type Bus, createBus, defineEvent, onEvent } from 'concordat/bus'
import { silentLogger, systemClock } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { redisFence, redisLocks, redisStateStore, redisTokens } from 'concordat/redis'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../support/pglite.ts'
import { watchTurns } from '../support/turns.ts'
import { until } from '../support/until.ts'

/** Address on which nothing listens. */
const AWAY = { url: 'redis://127.0.0.1:1', logger: silentLogger, answerMs: 100 }
const LOOP_MS = 100

/** Repeats `work` without a pause for a while. @returns how often a timer fired during that time */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let fired = 0
  const timer = setInterval(() => fired++, 1)
  onTestFinished(() => clearInterval(timer))
  const endsAt = performance.now() + LOOP_MS
  while (performance.now() < endsAt) await work().catch(() => {})
  return fired
}

/** A timer that falls due just after a call has begun waits for that one and the next. */
const MOST_CALLS_PER_TURN = 3

const closing = <T extends { close(): Promise<void> }>(part: T): T => {
  onTestFinished(() => part.close())
  return part
}

const CALLS: Readonly<Record<string, () => () => Promise<unknown>>> = {
  'locks on Redis': () => {
    const locks = closing(redisLocks(AWAY))
    return () => locks.tryAcquire('k')
  },
  'tokens on Redis': () => {
    const tokens = closing(redisTokens(AWAY))
    return () => tokens.take('hash')
  },
  'cluster state on Redis': () => {
    const store = closing(redisStateStore({ url: AWAY.url, answerMs: 100 }))
    return () => store.members('cluster')
  },
  'a fence on Redis': () => {
    const fence = redisFence(AWAY)
    onTestFinished(() => fence[Symbol.asyncDispose]())
    return () => fence.write('resource', 1, [['SET', 'k', 'v']])
  },
}

it.each(Object.keys(CALLS))(
  'a caller of %s who retries without a pause lets timers fire while the store is down',
  async (name) => {
    const call = CALLS[name]?.()
    if (call === undefined) throw new Error(name)
    await expect(call()).rejects.toThrow()
    expect(await turnsDuring(call)).toBeGreaterThan(LOOP_MS / 20)
  },
)

it('statements on PGlite one after the other let timers fire, outside of transactions and within one', async () => {
  const database = freshPglite()
  onTestFinished(() => database.close())
  const sql = pgliteClient(database)
  await sql.query('SELECT 1')
  expect(await turnsDuring(() => sql.query('SELECT 1'))).toBeGreaterThan(2)
  const fired = await sql.transaction((tx) => turnsDuring(() => tx.query('SELECT 1')))
  expect(fired).toBeGreaterThan(2)
})

it('a redrive whose filter computes lets timers fire between two dead letters', async () => {
  const broker = memoryBroker()
  const channel = defineChannel('orders', { payload: z.number(), groups: ['g'] })
  const binding = sink(channel, { group: 'g' }, () => {
    throw new TerminalError('never')
  })
  await using binder = createBinder({
    service: 's',
    transport: memoryTransport({ broker }),
    bindings: [binding],
    logger: silentLogger,
  })
  await binder.start()
  await binder.sendBatch(
    channel,
    Array.from({ length: 20 }, (_, n) => n),
  )
  await until('all are dead letters', () => binder.binding('orders.g').status().deadLettered === 20)
  const turns = watchTurns()
  const report = await redrive({ service: 's', transport: memoryTransport({ broker }) }, channel, 'g', {
    filter: () => {
      turns.call()
      return true
    },
  })
  expect(report.sent).toBe(20)
  expect(turns.most()).toBeLessThanOrEqual(MOST_CALLS_PER_TURN)
})

const MESSAGES = 12
/** Options that start all of them at once. */
const ALL = { group: 'g', concurrency: MESSAGES, backoff: { initialMs: 5, maxMs: 5, jitter: 0 } } as const
const RATE = { perSecond: 100_000 }
/** Opens at the first failure. */
const BREAKER = { failures: 1, pauseMs: 20 }

const Input = z.object({ n: z.number() })
const AsyncInput = Input.refine(async () => true)
const output = defineChannel('output', { payload: Input })
type Input = z.infer<typeof Input>
type Call = (n: number) => void

const TX = { inTransaction: true as const, query: async () => ({ rows: [], rowCount: 0 }) }
/** An inbox that answers in microtasks. */
const inbox: Inbox = {
  hasOutbox: true,
  async process(_message, work) {
    await Promise.resolve()
    await work(TX, async () => {})
    return 'processed'
  },
  async processBatch(messages, work) {
    await Promise.resolve()
    await work(TX, [...messages.keys()], async () => {})
  },
}

/** Ways in which handler calls happen that the consumer does not begin one by one. */
const WAYS: Readonly<
  Record<string, { readonly options?: object; readonly payload?: typeof AsyncInput; readonly fails?: boolean }>
> = {
  'begun one by one': {},
  'with a rate limit': { options: { rateLimit: RATE } },
  'with a circuit breaker': { options: { circuitBreaker: BREAKER } },
  'with both': { options: { rateLimit: RATE, circuitBreaker: BREAKER } },
  'whose payloads are read asynchronously': { payload: AsyncInput },
  'whose payloads are read asynchronously, with a circuit breaker': {
    options: { circuitBreaker: BREAKER },
    payload: AsyncInput,
  },
  'that are made again after pauses that end together': { fails: true },
  'that waited for a circuit breaker to close': { options: { circuitBreaker: BREAKER }, fails: true },
  'in an inbox': { options: { inbox } },
  'in an inbox, made again after pauses that end together': { options: { inbox }, fails: true },
}

const HANDLERS: Readonly<
  Record<
    string,
    (
      channel: Channel<Input, Input>,
      options: object,
      call: Call,
    ) => ReturnType<typeof sink | typeof processor | typeof sinkBatch>
  >
> = {
  sink: (channel, options, call) => sink(channel, { ...ALL, ...options }, ({ n }) => call(n)),
  processor: (channel, options, call) =>
    processor(channel, output, { ...ALL, ...options }, (payload) => {
      call(payload.n)
      return payload
    }),
  'batch handler': (channel, options, call) =>
    sinkBatch(channel, { ...ALL, ...options, batch: { maxSize: 1 } }, (items) => {
      for (const { payload } of items) call(payload.n)
    }),
}

const COMBINATIONS = Object.keys(HANDLERS).flatMap((handler) => Object.keys(WAYS).map((way) => [handler, way] as const))

it.each(COMBINATIONS)('calls of a %s %s let timers fire between two of them', async (handler, way) => {
  const { options = {}, payload = Input, fails = false } = WAYS[way] ?? {}
  const turns = watchTurns()
  const channel = defineChannel('input', { payload, groups: ['g'] })
  const failed = new Set<number>()
  const binding = HANDLERS[handler]?.(channel, options, (n) => {
    if (fails && !failed.has(n)) {
      failed.add(n)
      throw new Error('fails the first time')
    }
    turns.call()
  })
  if (binding === undefined) throw new Error(handler)
  await using binder = createBinder({
    service: 's',
    transport: memoryTransport(),
    bindings: [binding],
    sends: [channel],
    logger: silentLogger,
  })
  await binder.start()
  await binder.sendBatch(
    channel,
    Array.from({ length: MESSAGES }, (_, n) => ({ n })),
  )
  await until('all are handled', () => binder.binding('input.g').status().handled === MESSAGES)
  expect(turns.most()).toBeLessThanOrEqual(MOST_CALLS_PER_TURN)
})

it('handlers of a bus let timers fire between events that were allowed at the same time', async () => {
  const broker = memoryBroker()
  const event = defineEvent('work', { payload: Input })
  const turns = watchTurns()
  let handled = 0
  const join = async (instance: string): Promise<Bus> => {
    const busy = onEvent(event, () => {
      turns.call()
      handled++
    })
    const on = instance === 'busy' ? [busy] : []
    // All of them are allowed at the same time.
    const authorize = () => systemClock.sleep(50).then(() => true)
    const bus = createBus({ service: 's', instance, on, authorize, logger: silentLogger })
    const transport = memoryTransport({ broker })
    const options = { bindings: bus.bindings, sends: bus.channels, logger: silentLogger }
    const binder = closing(createBinder({ service: 's', transport, ...options }))
    await binder.start()
    await bus.start(binder)
    await bus.ready()
    return closing(bus)
  }
  await join('busy')
  const senders = await Promise.all(Array.from({ length: MESSAGES }, (_, n) => join(`sender-${n}`)))
  await Promise.all(senders.map((bus, n) => bus.publish(event, { n }, { to: 's:*:busy' })))
  await until('all are handled', () => handled === MESSAGES)
  expect(turns.most()).toBeLessThanOrEqual(MOST_CALLS_PER_TURN)
})
