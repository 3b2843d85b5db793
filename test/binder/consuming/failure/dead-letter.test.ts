import {
  createBinder,
  deadLetterName,
  defineChannel,
  type EncodedMessage,
  sink,
  TransportError,
} from 'concordat/binder'
import type { Clock } from 'concordat/core'
import { systemClock } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { until } from '../../../support/until.ts'
import { ScriptedTransport } from '../../support/scripted-transport.ts'

const channel = defineChannel('orders', { payload: z.string() })

async function letterFor(error: unknown, clock: Clock = systemClock): Promise<EncodedMessage> {
  const transport = new ScriptedTransport()
  const failing = sink(channel, { group: 'g', maxAttempts: 1 }, () => {
    throw error
  })
  const binder = createBinder({ service: 'shop', transport, bindings: [failing], clock })
  onTestFinished(() => binder.close())
  await binder.start()
  const delivery = transport.subscription.deliver('k', 'payload')
  await until('it was settled', () => delivery.end === 'acked')
  const letter = transport.published[0]?.[0]
  if (letter === undefined) throw new Error('there is no dead letter')
  return letter
}

describe('a dead letter', () => {
  it('bounds the error in bytes and never cuts a character in half', async () => {
    const error = new Error('ä'.repeat(5_000))
    error.stack = '€'.repeat(5_000)
    const { headers } = await letterFor(error)
    expect(Buffer.byteLength(String(headers['dead-letter-error-message']))).toBe(1_024)
    expect(headers['dead-letter-error-message']).toBe('ä'.repeat(512))
    expect(headers['dead-letter-error-stack']).toBe('€'.repeat(1_365))
  })

  it('describes a thrown value that is not an error', async () => {
    const { headers } = await letterFor('just text')
    expect(headers).toMatchObject({ 'dead-letter-error-name': 'Error', 'dead-letter-error-message': 'just text' })
    expect(headers).not.toHaveProperty('dead-letter-error-code')
  })

  it.each([
    ['an object without a prototype', Object.create(null), 'Error', '{}'],
    ['an object with a message', { message: 'no truck', retryable: false }, 'Error', 'no truck'],
    ['a symbol', Symbol('x'), 'Error', 'Symbol(x)'],
    [
      'an error whose message is no text',
      Object.assign(new Error('x'), { message: { status: 503 } }),
      'Error',
      '{"status":503}',
    ],
    ['an error whose name is no text', Object.assign(new Error('x'), { name: 5 }), '5', 'x'],
    ['an error whose stack is a list', Object.assign(new Error('x'), { stack: [1] }), 'Error', 'x'],
    [
      'an error that cannot be read',
      Object.defineProperty(new Error('x'), 'message', {
        get: () => {
          throw new Error('never')
        },
      }),
      'Error',
      'an error that cannot be read',
    ],
  ])('is written for %s', async (_, thrown, name, message) => {
    const { headers } = await letterFor(thrown)
    expect(headers).toMatchObject({ 'dead-letter-error-name': name, 'dead-letter-error-message': message })
    expect(typeof headers['dead-letter-error-stack']).toBe('string')
  })

  it('has the time of the failure', async () => {
    const clock: Clock = { ...systemClock, now: () => Date.UTC(2026, 10, 20, 6) }
    const { headers } = await letterFor(new Error('x'), clock)
    expect(headers['dead-letter-time']).toBe('2026-11-20T06:00:00.000Z')
  })

  it('goes to a destination with one partition and the durable group redrive, made before the first message', async () => {
    const transport = new ScriptedTransport()
    const binder = createBinder({ service: 'shop', transport, bindings: [sink(channel, { group: 'g' }, () => {})] })
    onTestFinished(() => binder.close())
    await binder.start()
    expect(deadLetterName('orders', 'g')).toBe('orders.g.dlq')
    expect(transport.provisioned.flat()).toContainEqual(
      expect.objectContaining({ name: 'orders.g.dlq', partitions: 1, groups: ['redrive'] }),
    )
  })

  it('whose channel was deleted is written in full once the channel is made again', async () => {
    const transport = new ScriptedTransport()
    let exists = false
    transport.onProvision = async (specs) => {
      exists ||= specs.some(({ name }) => name === 'orders.g.dlq')
    }
    const refusal = new TransportError({ transport: 'scripted', kind: 'unroutable', message: 'no such channel' })
    transport.onPublish = async () => [exists ? undefined : refusal]
    const failing = sink(channel, { group: 'g', maxAttempts: 1 }, () => {
      throw new Error('always')
    })
    const binder = createBinder({ service: 'shop', transport, bindings: [failing] })
    onTestFinished(() => binder.close())
    await binder.start()
    exists = false
    const delivery = transport.subscription.deliver('k', 'payload')
    await until('it has ended', () => delivery.end !== undefined)
    expect(delivery.end).toBe('acked')
    expect(transport.provisioned.at(-1)).toMatchObject([
      { name: 'orders.g.dlq', partitions: 1, groups: ['redrive'], deadLetters: true },
    ])
    expect(transport.published.at(-1)?.[0]?.headers).toHaveProperty('dead-letter-error-stack')
  })

  it('that the broker can never accept halts the binding with the message unsettled', async () => {
    const transport = new ScriptedTransport()
    transport.onPublish = async () => [
      new TransportError({ transport: 'scripted', kind: 'too_large', message: 'over the limit' }),
    ]
    const failing = sink(channel, { group: 'g', maxAttempts: 1 }, () => {
      throw new Error('always')
    })
    const binder = createBinder({ service: 'shop', transport, bindings: [failing] })
    onTestFinished(() => binder.close())
    await binder.start()
    const delivery = transport.subscription.deliver('k', 'payload')
    await until('the binding halted', () => binder.binding('orders.g').status().state === 'halted')
    expect(delivery.end).toBe('released')
    expect(binder.health().status).toBe('down')
  })
})
