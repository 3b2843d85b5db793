import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { DestinationSpec } from 'concordat/extension'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { gate, until } from '../../support/until.ts'
import { memoryLogger } from '../support/memory-logger.ts'
import { admin, attached, body, numbers, Recorder, subscribe } from './kit.ts'
import { plainMessage } from './messages.ts'

const CONSUMER_TIMEOUT_MS = 3_000

/** Cases that need a private broker: no delay ladder, and limits of its own. */
describeWith(['rabbitmq'], 'a RabbitMQ of its own', { private: true }, () => {
  let server: PrivateServer

  beforeAll(async () => {
    server = await startServer('rabbitmq', {
      settings: { max_message_size: '100000', consumer_timeout: String(CONSUMER_TIMEOUT_MS) },
      // Interval of the channel's check of its deliveries: once a minute by default.
      env: { RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-rabbit channel_tick_interval 500' },
    })
  }, 240_000)
  afterAll(() => server?.stop())

  it('closes the channel over messages that are too large, and fails only those', async () => {
    const destination = 'limited'
    const transport = attached({ url: server.url })
    await transport.provision([{ name: destination, partitions: 4, groups: ['g'] }])
    const recorder = new Recorder()
    await subscribe(transport, destination, recorder)
    const isLarge = (n: number): boolean => n === 20 || n === 40
    const messages = numbers(60).map((n) =>
      plainMessage({ id: `m${n}`, destination, key: 'k', body: isLarge(n) ? new Uint8Array(200_000) : body(n) }),
    )
    const [left, right] = await Promise.all([
      transport.publish(messages.slice(0, 30)),
      transport.publish(messages.slice(30)),
    ])
    const outcomes = [...left, ...right]
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(
      numbers(60).map((n) => (isLarge(n) ? 'too_large' : undefined)),
    )
    expect(outcomes[20]?.message).toMatch(
      /RabbitMQ closed the channel over message m20 .*message size.*Raise max_message_size/,
    )
    expect(outcomes[20]).toMatchObject({ retryable: false, destination })
    await until('all came', () => new Set(recorder.numbers).size >= 58)
    expect([...new Set(recorder.numbers)]).toEqual(numbers(60).filter((n) => !isLarge(n)))
    expect(recorder.losses).toEqual([])
    expect(transport.health()).toEqual({ status: 'up' })
  })

  it('redelivers a message whose handler runs beyond consumer_timeout, and the log names that setting', async () => {
    const { logger, lines } = memoryLogger()
    const done = gate()
    const channel = defineChannel('slow-work', { payload: TestPayload, partitions: 1 })
    const binder = createBinder({
      service: 'tests',
      logger,
      transport: rabbitTransport({ url: server.url }),
      bindings: [sink(channel, { group: 'g' }, () => done.opened)],
    })
    onTestFinished(async () => {
      done.open()
      await binder.close()
    })
    await binder.start()
    await binder.ready()
    await binder.send(channel, { key: 'k', n: 1 })
    const reasons = () => lines.flatMap(([fields]) => (fields as { readonly err?: Error }).err?.message ?? [])
    await until('the broker takes it back', () => reasons().length > 0, 60_000)
    expect(reasons()[0]).toContain('RabbitMQ consumer_timeout of 0.05 min: a message was not settled in that time')
  })

  it('with check, compares the delay queues and creates none', async () => {
    const spec: DestinationSpec = { name: 'slow', partitions: 1, groups: ['g'], delays: true }
    const check = (): Promise<void> => attached({ url: server.url, provision: 'check' }).provision([spec])
    await attached({ url: server.url }).provision([{ ...spec, delays: false }])
    await expect(check()).rejects.toMatchObject({ kind: 'mismatch', retryable: false, destination: 'slow' })
    const absent =
      'queue "concordat:delay:tests:due:slow" is missing; exchange "concordat:delay:tests:settled:slow" is missing; ' +
      'what delays messages, 52 exchanges and queues'
    await expect(check()).rejects.toThrow(absent)
    await expect(check()).rejects.toThrow(absent)

    await attached({ url: server.url }).provision([spec])
    await expect(check()).resolves.toBeUndefined()

    await admin(server.url, async (channel) => {
      await channel.deleteQueue('concordat:delay:tests:level:3')
      await channel.assertQueue('concordat:delay:tests:level:3', { arguments: { 'x-message-ttl': 800 } })
      await channel.deleteExchange('concordat:delay:tests:level:5')
    })
    await expect(check()).rejects.toThrow(
      /^queue "concordat:delay:tests:level:3" differs: inequivalent arg 'x-dead-letter-exchange' .*; exchange "concordat:delay:tests:level:5" is missing\. .*; what differs has to be deleted first, once it is drained\.$/,
    )
    await expect(
      admin(server.url, (channel) => channel.checkExchange('concordat:delay:tests:level:5')),
    ).rejects.toThrow('NOT_FOUND')
  })
})
