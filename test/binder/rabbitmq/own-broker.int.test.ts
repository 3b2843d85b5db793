import type { DestinationSpec } from 'concordat/binder/transport'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { admin, attached, body, numbers, Recorder, subscribe } from './kit.ts'
import { plainMessage } from './messages.ts'

/** What a shared broker cannot be: without a delay ladder, and with limits of its own. */
describeWith(['rabbitmq'], 'a RabbitMQ of its own', { private: true }, () => {
  let server: PrivateServer

  beforeAll(async () => {
    server = await startServer('rabbitmq', { settings: { max_message_size: '100000' } })
  }, 240_000)
  afterAll(() => server?.stop())

  it('closes the channel over messages that are too large, and only those fail', async () => {
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
    expect(outcomes[20]?.message).toMatch(/RabbitMQ closed the channel over message m20 .*message size/)
    expect(outcomes[20]).toMatchObject({ retryable: false, destination })
    await until('all came', () => new Set(recorder.numbers).size >= 58)
    expect([...new Set(recorder.numbers)]).toEqual(numbers(60).filter((n) => !isLarge(n)))
    expect(recorder.losses).toEqual([])
    expect(transport.health()).toEqual({ status: 'up' })
  })

  it('with check: what delays messages is looked for, compared, and not made', async () => {
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
