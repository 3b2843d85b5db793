import { type Binder, type ConsumerOptions, createBinder, defineChannel, sink, TerminalError } from 'concordat/binder'
import { MINUTE } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { CircuitBreakerOptions } from '../../../support/inside/binder.ts'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'
import { ScriptedDelivery, ScriptedTransport } from '../../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
const PAUSE_MS = 30_000

class Setup {
  readonly clock = new FakeClock()
  readonly transport = new ScriptedTransport()
  readonly calls: Array<{ n: number; attempt: number }> = []
  readonly logged: string[] = []
  /** Error that the handler throws. */
  error: Error | undefined = new Error('the warehouse is down')
  /** Whether the handler fails for message `n`. */
  failing: (n: number) => boolean = () => true
  /** Gate for which calls wait while it is set. */
  hold: Promise<void> | undefined
  readonly binder: Binder

  constructor(circuitBreaker: Partial<CircuitBreakerOptions>, options: Partial<ConsumerOptions> = {}) {
    const log = (_fields: unknown, message?: string): void => void this.logged.push(String(message))
    const binding = sink(
      channel,
      { group: 'g', maxAttempts: 1, ...options, circuitBreaker: { pauseMs: PAUSE_MS, ...circuitBreaker } },
      async (n, { attempt }) => {
        this.calls.push({ n, attempt })
        await this.hold
        if (this.error !== undefined && this.failing(n)) throw this.error
      },
    )
    this.binder = createBinder({
      service: 'test',
      transport: this.transport,
      clock: this.clock,
      bindings: [binding],
      logger: { debug: log, info: log, warn: log, error: log },
    })
    onTestFinished(() => this.binder.close())
  }

  async start(): Promise<this> {
    await this.binder.start()
    return this
  }

  deliver(...numbers: number[]): ScriptedDelivery[] {
    return numbers.map((n) => this.transport.subscription.deliver(null, n))
  }

  /** The broker hands it out once more. */
  redeliver({ message }: ScriptedDelivery): void {
    this.transport.subscription.receiver.deliver(new ScriptedDelivery(message, 99, new AbortController()))
  }

  get status() {
    return this.binder.binding('numbers.g').status()
  }

  get called(): number[] {
    return this.calls.map(({ n }) => n)
  }
}

const setup = (...args: ConstructorParameters<typeof Setup>): Promise<Setup> => new Setup(...args).start()

describe('a circuit breaker', () => {
  it('opens after consecutive failures: the binding is paused with the reason, other messages wait untried', async () => {
    const test = await setup({ failures: 3 })
    expect(test.status).toMatchObject({ state: 'running', circuit: 'closed', error: undefined })
    const deliveries = test.deliver(0, 1, 2, 3, 4)
    await drain()
    expect(test.called).toEqual([0, 1, 2])
    expect(test.status).toMatchObject({
      state: 'paused',
      circuit: 'open',
      error: 'the circuit breaker is open: the warehouse is down',
      queued: 2,
    })
    expect(test.binder.health().status).toBe('up')
    expect(deliveries.map(({ end }) => end)).toEqual(['acked', 'acked', 'acked', undefined, undefined])
    await test.clock.advance(PAUSE_MS - 1)
    expect(test.called).toHaveLength(3)
    expect(test.logged).toContain('circuit breaker is open')
  })

  it('tries one message after the pause; its success closes it', async () => {
    const test = await setup({ failures: 1 }, { concurrency: 4 })
    test.deliver(0)
    await drain()
    test.deliver(1, 2, 3)
    const trial = Promise.withResolvers<void>()
    test.hold = trial.promise
    test.error = undefined
    await test.clock.advance(PAUSE_MS)
    expect(test.called).toEqual([0, 1])
    expect(test.status).toMatchObject({ state: 'paused', circuit: 'half-open' })
    trial.resolve()
    await drain()
    expect(test.called).toEqual([0, 1, 2, 3])
    expect(test.status).toMatchObject({ state: 'running', circuit: 'closed', error: undefined })
    expect(test.logged).toEqual(expect.arrayContaining(['circuit breaker is closed']))
  })

  it('opens again when the trial fails, for another pause', async () => {
    const test = await setup({ failures: 2 })
    test.deliver(0, 1, 2, 3)
    await drain()
    await test.clock.advance(PAUSE_MS)
    expect([test.called, test.status.circuit]).toEqual([[0, 1, 2], 'open'])
    await test.clock.advance(PAUSE_MS - 1)
    expect(test.called).toHaveLength(3)
    await test.clock.advance(1)
    expect(test.called).toEqual([0, 1, 2, 2])
  })

  it('stays half open until a message arrives', async () => {
    const test = await setup({ failures: 1 })
    test.deliver(0)
    await test.clock.advance(10 * PAUSE_MS)
    expect(test.status.circuit).toBe('half-open')
    test.error = undefined
    test.deliver(1)
    await drain()
    expect(test.status.circuit).toBe('closed')
  })

  it('does not count failures before a success', async () => {
    const test = await setup({ failures: 2 })
    test.deliver(0)
    await drain()
    test.error = undefined
    test.deliver(1)
    await drain()
    test.error = new Error('again')
    test.deliver(2)
    await drain()
    expect(test.status.circuit).toBe('closed')
  })

  it('opens when the share of failed calls is too high, and not on fewer calls than the minimum', async () => {
    const test = await setup({ failureRate: 0.5, minimum: 4 })
    for (const [n, fails] of [true, false, true].entries()) {
      test.error = fails ? new Error('no') : undefined
      test.deliver(n)
      await drain()
    }
    expect(test.status.circuit).toBe('closed')
    test.error = undefined
    test.deliver(3)
    await drain()
    expect(test.status.circuit).toBe('closed')
    test.error = new Error('no')
    test.deliver(4)
    await drain()
    expect(test.status.circuit).toBe('open')
  })

  it('is not opened by errors about the message, nor by undecodable messages', async () => {
    const test = await setup({ failures: 1 })
    test.error = new TerminalError('no such product')
    test.deliver(0, 1)
    test.transport.subscription.deliver(null, 'not a number')
    await drain()
    expect([test.status.circuit, test.status.deadLettered]).toEqual(['closed', 3])
    const own = await setup({ failures: 1, counts: (error) => error.message === 'timeout' })
    own.deliver(0)
    await drain()
    expect(own.status.circuit).toBe('closed')
    own.error = new Error('timeout')
    own.deliver(1)
    await drain()
    expect(own.status.circuit).toBe('open')
  })

  it('half open passes over a message that is no trial', async () => {
    const test = await setup({ failures: 1 })
    test.deliver(0)
    await drain()
    test.transport.subscription.deliver(null, 'not a number')
    test.deliver(1)
    test.error = undefined
    await test.clock.advance(PAUSE_MS)
    expect([test.called, test.status.circuit]).toEqual([[0, 1], 'closed'])
  })
})

describe('a message whose attempt opened the circuit', () => {
  const options = { maxAttempts: 3, backoff: { initialMs: 0, maxMs: 0 } }

  it('keeps its place and its attempts, is the trial, and the next of its key comes after it', async () => {
    const test = await setup({ failures: 1 }, { ...options, concurrency: 4 })
    for (const n of [0, 1]) test.transport.subscription.deliver('k', n)
    await test.clock.advance(PAUSE_MS - 1)
    expect(test.calls).toEqual([{ n: 0, attempt: 1 }])
    test.error = undefined
    await test.clock.advance(1)
    expect(test.calls).toEqual([
      { n: 0, attempt: 1 },
      { n: 0, attempt: 2 },
      { n: 1, attempt: 1 },
    ])
    expect(test.transport.published).toEqual([])
  })

  it('keeps its attempts through all failed trials of an outage', async () => {
    const test = await setup({ failures: 1 }, options)
    test.deliver(0, 1)
    for (let trial = 0; trial < 20; trial++) await test.clock.advance(PAUSE_MS)
    expect(test.calls).toEqual([{ n: 0, attempt: 1 }, ...Array.from({ length: 20 }, () => ({ n: 0, attempt: 2 }))])
    expect(test.logged).toContain('handler failed on trial, which is no attempt')
    test.error = undefined
    await test.clock.advance(PAUSE_MS)
    expect(test.status).toMatchObject({ circuit: 'closed', handled: 2, deadLettered: 0 })
  })

  it('uses an attempt up with each failed trial beyond its free ones, so it does not hold the others forever', async () => {
    const test = await setup({ failures: 1, freeTrials: 4 }, options)
    test.deliver(0, 1)
    for (let trial = 0; trial < 6; trial++) await test.clock.advance(PAUSE_MS)
    expect(test.calls.map(({ attempt }) => attempt)).toEqual([1, 2, 2, 2, 2, 2, 3])
    expect(test.status.deadLettered).toBe(1)
    test.error = undefined
    await test.clock.advance(PAUSE_MS)
    expect(test.status).toMatchObject({ circuit: 'closed', handled: 1 })
  })

  it('has the configured number of free trials on every transport', async () => {
    const test = await setup({ failures: 1, freeTrials: 2 }, { ...options, maxAttempts: 2 })
    const [delivery] = test.deliver(0) as [ScriptedDelivery]
    for (let trial = 0; trial < 2; trial++) await test.clock.advance(PAUSE_MS)
    test.transport.subscription.receiver.recall()
    await drain()
    expect(delivery.end).toBe('released')
    test.redeliver(delivery)
    for (let trial = 0; trial < 2; trial++) await test.clock.advance(PAUSE_MS)
    expect(test.calls.map(({ attempt }) => attempt)).toEqual([1, 2, 2, 1, 2])
    expect(test.status.deadLettered).toBe(1)
  })

  it.for([0, 1])(
    'is dead-lettered on trial when its error is not to be retried (%i free trials)',
    async (freeTrials) => {
      const test = await setup({ failures: 1, freeTrials, counts: () => true }, options)
      test.deliver(0)
      await drain()
      test.error = new TerminalError('no such product')
      await test.clock.advance(PAUSE_MS)
      expect(test.status).toMatchObject({ deadLettered: 1, circuit: 'open' })
    },
  )
})

it.for([0, 1])('a trial that meets missing tables waits for the operator, with %i free trials', async (freeTrials) => {
  const test = await setup({ failures: 1, freeTrials, counts: () => true }, { maxAttempts: 5 })
  test.deliver(0)
  await drain()
  test.error = Object.assign(new Error('expected its tables'), { code: 'core.tables_missing', retryable: false })
  for (let trial = 0; trial < 3; trial++) await test.clock.advance(PAUSE_MS)
  expect(test.status).toMatchObject({ deadLettered: 0, handled: 0 })
  test.error = undefined
  for (let trial = 0; trial < 3; trial++) await test.clock.advance(MINUTE)
  expect(test.status).toMatchObject({ deadLettered: 0, handled: 1 })
})

describe('a message that always fails', () => {
  const options = { maxAttempts: 3, backoff: { initialMs: 0, maxMs: 0 } }

  it('is identified by the success of another, which is tried next where concurrency permits', async () => {
    const test = await setup({ failures: 2 }, { ...options, concurrency: 2 })
    test.failing = (n) => n === 0
    test.deliver(0)
    await test.clock.advance(0)
    expect(test.status.circuit).toBe('open')
    test.deliver(1, 2)
    await test.clock.advance(PAUSE_MS)
    await test.clock.advance(PAUSE_MS)
    await test.clock.advance(0)
    expect(test.status).toMatchObject({ circuit: 'closed', handled: 2, deadLettered: 1 })
    expect(test.calls.filter(({ n }) => n === 0).map(({ attempt }) => attempt)).toEqual([1, 2, 3, 3])
  })

  it('takes turns with the others that failed their trial', async () => {
    const test = await setup({ failures: 3 }, { ...options, concurrency: 3 })
    test.deliver(0, 1, 2, 3)
    await drain()
    test.calls.length = 0
    for (let trial = 0; trial < 6; trial++) await test.clock.advance(PAUSE_MS)
    expect(test.called).toEqual([0, 1, 2, 0, 1, 2])
    test.failing = (n) => n === 0
    for (let trial = 0; trial < 3; trial++) await test.clock.advance(PAUSE_MS)
    expect(test.status).toMatchObject({ circuit: 'closed', handled: 3 })
  })

  it('holds a binding of concurrency 1 for its free trials, and no longer', async () => {
    const test = await setup({ failures: 1 }, { ...options, maxAttempts: 2 })
    test.failing = (n) => n === 0
    test.deliver(0, 1)
    for (let trial = 0; trial < 100; trial++) await test.clock.advance(PAUSE_MS)
    expect(test.status).toMatchObject({ deadLettered: 0, handled: 0 })
    await test.clock.advance(PAUSE_MS)
    await test.clock.advance(PAUSE_MS)
    expect(test.status).toMatchObject({ circuit: 'closed', deadLettered: 1, handled: 1 })
  })
})

describe('a message that waits for the circuit to close', () => {
  const options = { maxAttempts: 3, backoff: { initialMs: 0, maxMs: 0 } }

  it('goes back at once when the binding stops, is recalled, or its loan is withdrawn', async () => {
    const test = await setup({ failures: 1 }, options)
    const [recalled] = test.deliver(0)
    await test.clock.advance(0)
    test.transport.subscription.receiver.recall()
    await drain()
    expect([recalled?.end, test.status.circuit]).toEqual(['released', 'open'])
    await test.clock.advance(PAUSE_MS)
    const loan = new AbortController()
    const withdrawn = test.transport.subscription.deliver(null, 1, loan)
    await test.clock.advance(0)
    expect(test.status).toMatchObject({ circuit: 'open', running: 1 })
    loan.abort(new Error('the partition moved'))
    await drain()
    expect([withdrawn.end, test.status.running]).toEqual(['released', 0])
    await test.clock.advance(PAUSE_MS)
    const [stopped] = test.deliver(2)
    await test.clock.advance(0)
    expect(test.status.circuit).toBe('open')
    await test.binder.binding('numbers.g').stop()
    expect(stopped?.end).toBe('released')
    expect(test.transport.published).toEqual([])
  })
})

describe('control of a binding with an open circuit', () => {
  it('pause and resume are about the user alone: the circuit goes its own way', async () => {
    const test = await setup({ failures: 1 })
    test.deliver(0, 1)
    await drain()
    const control = test.binder.binding('numbers.g')
    control.pause()
    test.error = undefined
    await test.clock.advance(PAUSE_MS)
    expect([test.called, test.status.state, test.status.circuit]).toEqual([[0], 'paused', 'half-open'])
    control.resume()
    await drain()
    expect([test.called, test.status.state, test.status.circuit]).toEqual([[0, 1], 'running', 'closed'])
  })

  it('pause outlasts a recall, after which the circuit lets messages begin again', async () => {
    const test = await setup({ failures: 1 })
    test.error = undefined
    const control = test.binder.binding('numbers.g')
    control.pause()
    // Another member has joined: the transport recalls what waits.
    test.transport.subscription.receiver.recall()
    await drain()
    expect(test.transport.subscription.paused).toBe(true)
    test.deliver(0)
    await drain()
    expect([test.called, test.status.state]).toEqual([[], 'paused'])
    control.resume()
    await drain()
    expect([test.called, test.status.state]).toEqual([[0], 'running'])
  })

  it('resume does not close it, stop and start do', async () => {
    const test = await setup({ failures: 1 })
    test.deliver(0)
    await drain()
    const control = test.binder.binding('numbers.g')
    control.resume()
    expect(test.status.circuit).toBe('open')
    await control.stop()
    await control.start()
    expect(test.status).toMatchObject({ state: 'running', circuit: 'closed' })
  })

  it('stays open over a lost connection', async () => {
    const test = await setup({ failures: 1 })
    test.deliver(0)
    await drain()
    test.transport.subscription.receiver.lost(new Error('connection reset'))
    expect(test.status).toMatchObject({ state: 'connecting', error: 'connection reset', circuit: 'open' })
    await test.clock.advance(1_000)
    expect(test.status).toMatchObject({ state: 'paused', circuit: 'open', subscribed: 2 })
    test.deliver(1)
    await drain()
    expect(test.called).toEqual([0])
  })
})
