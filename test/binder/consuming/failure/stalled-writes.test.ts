import {
  type Binding,
  createBinder,
  defineChannel,
  type EncodedMessage,
  processor,
  processorBatch,
  produced,
  sink,
  sinkBatch,
  source,
  TransportError,
} from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { FakeClock } from '../../../support/locks/fake-clock.ts'
import { until } from '../../../support/until.ts'
import { ScriptedTransport } from '../../support/scripted-transport.ts'

const input = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
const output = defineChannel('results', { payload: z.number(), groups: ['g'] })

const fails = (): never => {
  throw new Error('bad message')
}

/** Each with the destination that it writes to. */
const BINDINGS: ReadonlyArray<readonly [what: string, destination: string, Binding]> = [
  ['outputs', 'results', processor(input, output, { group: 'g' }, (n) => n)],
  [
    'outputs of a batch',
    'results',
    processorBatch(input, output, { group: 'g', batch: { maxSize: 1 } }, (items) =>
      items.map(({ payload }) => produced(payload)),
    ),
  ],
  ['dead letters', 'numbers.g.dlq', sink(input, { group: 'g', maxAttempts: 1 }, fails)],
  [
    'delayed retries',
    'numbers.g.retry',
    sink(input, { group: 'g', maxAttempts: 2, retry: 'delayed', backoff: { initialMs: 1 } }, fails),
  ],
]

function denied({ destination }: EncodedMessage): TransportError {
  const cause = Object.assign(new Error('ACCESS_REFUSED'), { code: 403 })
  const message = `no right to write to "${destination}"`
  return new TransportError({ transport: 'scripted', kind: 'refused', destination, message, cause })
}

function full({ destination }: EncodedMessage): TransportError {
  return new TransportError({ transport: 'scripted', kind: 'refused', destination, message: 'the queue is full' })
}

describe('a binding', () => {
  it.each(BINDINGS)(
    'a binding without the right to write its %s is unhealthy until it has it',
    async (_, destination, binding) => {
      const transport = new ScriptedTransport()
      let isDenied = true
      transport.onPublish = async (messages) =>
        messages.map((message) => (isDenied && message.destination === destination ? denied(message) : undefined))
      const warnings: unknown[] = []
      const logger = { ...silentLogger, warn: (fields: unknown) => void warnings.push(fields) }
      const binder = createBinder({ service: 'test', transport, bindings: [binding], logger })
      onTestFinished(() => binder.close())
      await binder.start()
      const status = () => binder.binding('numbers.g').status()
      const delivered = transport.subscription.deliver('k', 1)
      await until('it is told', () => status().state === 'connecting')
      expect(status().error).toBe(`no right to write to "${destination}"`)
      expect(binder.health().status).toBe('down')
      expect(warnings).toContainEqual(expect.objectContaining({ binding: 'numbers.g', left: 1 }))
      isDenied = false
      await until('it is settled', () => delivered.end !== undefined)
      expect(delivered.end).toBe('acked')
      expect(status()).toMatchObject({ state: 'running', error: undefined })
      expect(binder.health().status).toBe('up')
    },
  )

  it('a source without the right to write is unhealthy until it has it', async () => {
    const transport = new ScriptedTransport()
    let isDenied = true
    transport.onPublish = async (messages) => messages.map((message) => (isDenied ? denied(message) : undefined))
    const binding = source(output, { everyMs: 1_000 }, () => 1)
    const binder = createBinder({ service: 'test', transport, bindings: [binding], logger: silentLogger })
    onTestFinished(() => binder.close())
    await binder.start()
    const status = () => binder.bindings()[0]
    await until('it is told', () => status()?.state === 'connecting')
    expect(status()?.error).toBe('no right to write to "results"')
    expect(binder.health().status).toBe('down')
    isDenied = false
    await until('it sends', () => (status()?.handled ?? 0) > 0)
    expect(status()).toMatchObject({ state: 'running', error: undefined })
    expect(binder.health().status).toBe('up')
  })

  it('whose output is refused for some seconds is unhealthy until the broker accepts it', async () => {
    const transport = new ScriptedTransport()
    let isFull = true
    transport.onPublish = async (messages) => messages.map((message) => (isFull ? full(message) : undefined))
    const clock = new FakeClock()
    const binding = processor(input, output, { group: 'g' }, (n) => n)
    const binder = createBinder({ service: 'test', transport, bindings: [binding], clock })
    onTestFinished(() => binder.close())
    await binder.start()
    const status = () => binder.binding('numbers.g').status()
    const delivered = transport.subscription.deliver('k', 1)
    await clock.advance(1_000)
    expect(status()).toMatchObject({ state: 'running', error: undefined })
    await clock.advance(9_000)
    expect(status()).toMatchObject({ state: 'connecting', error: 'the queue is full' })
    expect(binder.health().status).toBe('down')
    isFull = false
    await clock.advance(15_000)
    expect(delivered.end).toBe('acked')
    expect(status()).toMatchObject({ state: 'running', error: undefined })
  })

  it('whose output is refused sends it at growing intervals, of 30 s at most', async () => {
    const transport = new ScriptedTransport()
    const clock = new FakeClock()
    const triedAt: number[] = []
    let isFull = true
    transport.onPublish = async (messages) => {
      triedAt.push(clock.monotonic())
      return messages.map((message) => (isFull ? full(message) : undefined))
    }
    const binding = processor(input, output, { group: 'g' }, (n) => n)
    const binder = createBinder({ service: 'test', transport, bindings: [binding], clock })
    onTestFinished(() => binder.close())
    await binder.start()
    transport.subscription.deliver('k', 1)
    await clock.advance(300_000)
    const pauses = triedAt.slice(1).map((at, i) => at - (triedAt[i] as number))
    expect(Math.max(...pauses)).toBeLessThanOrEqual(30_000)
    expect(pauses.slice(-3).every((pause) => pause >= 24_000)).toBe(true)
    expect(triedAt.length).toBeLessThan(22)
    isFull = false
    await clock.advance(30_000)
  })

  it.each([
    ['one by one', (handler: () => void) => sink(input, { group: 'g' }, handler)],
    ['in batches', (handler: () => void) => sinkBatch(input, { group: 'g', batch: { maxSize: 1 } }, handler)],
  ])('whose handler loses its database for some seconds is unhealthy until it is back (%s)', async (_, bindingOf) => {
    const transport = new ScriptedTransport()
    const clock = new FakeClock()
    let isAway = true
    const binding = bindingOf(() => {
      if (isAway) throw Object.assign(new Error('the database is starting up'), { code: '57P03' })
    })
    const binder = createBinder({ service: 'test', transport, bindings: [binding], clock })
    onTestFinished(() => binder.close())
    await binder.start()
    const status = () => binder.binding('numbers.g').status()
    const delivered = transport.subscription.deliver('k', 1)
    await clock.advance(10_000)
    expect(status()).toMatchObject({ state: 'connecting', error: 'the database is starting up' })
    isAway = false
    await clock.advance(10_000)
    expect(delivered.end).toBe('acked')
    expect(status()).toMatchObject({ state: 'running', error: undefined })
  })

  it('whose message is withdrawn while its output is forbidden is healthy again', async () => {
    const transport = new ScriptedTransport()
    transport.onPublish = async (messages) => messages.map(denied)
    const binding = processor(input, output, { group: 'g' }, (n) => n)
    const binder = createBinder({ service: 'test', transport, bindings: [binding] })
    onTestFinished(() => binder.close())
    await binder.start()
    const status = () => binder.binding('numbers.g').status()
    const loan = new AbortController()
    transport.subscription.deliver('k', 1, loan)
    await until('it is told', () => status().state === 'connecting')
    loan.abort(new Error('lost'))
    await until('it runs', () => status().state === 'running')
    expect(status().error).toBeUndefined()
  })
})
