import { randomUUID } from 'node:crypto'
import { type Channel as AmqpChannel, connect } from 'amqplib'
import { createBinder, defineChannel, redrive, sink, TerminalError } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { RabbitTransportOptions } from '../../../support/inside/binder.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'

const Payload = z.object({ n: z.number() })
type Places = RabbitTransportOptions['places']

/** Another program's exchanges and queues, and a view of them. Deleted after the test. */
async function company(url: string) {
  const connection = await connect(url)
  const channel: AmqpChannel = await connection.createChannel()
  channel.on('error', () => {})
  const id = randomUUID().slice(0, 8)
  const made = { exchanges: [] as string[], queues: [] as string[] }
  onTestFinished(async () => {
    const last = await connection.createChannel()
    for (const queue of made.queues) await last.deleteQueue(queue)
    for (const exchange of made.exchanges) await last.deleteExchange(exchange)
    await connection.close()
  })
  return {
    name: (text: string) => `${text}-${id}`,
    channel,
    /** Registers names that the service under test creates, for deletion. */
    forget: (queues: readonly string[], exchanges: readonly string[] = []) => {
      made.queues.push(...queues)
      made.exchanges.push(...exchanges)
    },
    exchange: async (text: string, type: string) => {
      const name = `${text}-${id}`
      await channel.assertExchange(name, type, { durable: true })
      made.exchanges.push(name)
      return name
    },
    queue: async (text: string, options: { sac?: boolean; durable?: boolean; arguments?: object } = {}) => {
      const name = `${text}-${id}`
      const { sac = true, durable = true } = options
      const own = { ...options.arguments, ...(sac && { 'x-single-active-consumer': true }) }
      await channel.assertQueue(name, { durable, arguments: own })
      made.queues.push(name)
      return name
    },
    heard: async (queue: string) => {
      const texts: string[] = []
      for (;;) {
        const message = await channel.get(queue, { noAck: true })
        if (message === false) return texts
        texts.push(`${message.fields.routingKey} ${message.content.toString()}`)
      }
    },
  }
}

describeWith(['rabbitmq'], 'a channel on another program’s exchange or queue', () => {
  const url = serverUrl('rabbitmq') ?? ''
  const open = (places: Places, mayDiscard = false) => rabbitTransport({ url, places, mayDiscard })

  it('sends to an exchange by its routing key, and reads from it by a pattern, delays, dead letters and redrive included', async () => {
    const theirs = await company(url)
    const exchange = await theirs.exchange('company.orders', 'topic')
    const tap = await theirs.queue('tap')
    await theirs.channel.bindQueue(tap, exchange, 'order.placed')
    const name = theirs.name('orders')
    const orders = defineChannel(name, { payload: Payload, partitions: 1, key: ({ n }) => `k${n}` })
    const places: Places = { [name]: { exchange, type: 'topic', routingKey: 'order.placed', bindingKey: 'order.*' } }
    const handled: number[] = []
    let isFixed = false
    const own = sink(orders, { group: 'stock' }, ({ n }) => {
      if (n === 13 && !isFixed) throw new TerminalError('not yet')
      handled.push(n)
    })
    const binder = createBinder({ service: 'shop', transport: open(places), bindings: [own], sends: [orders] })
    onTestFinished(() => binder.close())
    theirs.forget(
      [`${name}:stock`, `${name}.stock.dlq:redrive`, `concordat:delay:shop:due:${name}`],
      [`${name}.stock.dlq`, `${name}.stock.dlq:partitions`, `concordat:delay:shop:settled:${name}`],
    )
    await binder.start()
    await binder.ready()
    await binder.send(orders, { n: 1 })
    theirs.channel.publish(exchange, 'order.changed', Buffer.from('{"n":2}'))
    theirs.channel.publish(exchange, 'invoice.placed', Buffer.from('{"n":3}'))
    await binder.send(orders, { n: 4 }, { delayMs: 300 })
    await binder.send(orders, { n: 13 })
    await until('all were handled', () => handled.length === 3)
    expect(handled.toSorted((a, b) => a - b)).toEqual([1, 2, 4])
    expect((await theirs.heard(tap)).toSorted()).toEqual([
      'order.placed {"n":13}',
      'order.placed {"n":1}',
      'order.placed {"n":4}',
    ])
    await until('it is a dead letter', async () => (await binder.deadLetters(`${name}.stock`)) === 1)
    isFixed = true
    expect(await redrive({ service: 'operator', transport: open(places) }, orders, 'stock')).toMatchObject({ sent: 1 })
    await until('it is handled', () => handled.includes(13))
    expect(await theirs.heard(tap)).toEqual(['order.placed {"n":13}'])
  })

  it('reads from a queue that it neither declares nor binds, in the order of a key over several members', async () => {
    const theirs = await company(url)
    const queue = await theirs.queue('billing', { arguments: { 'x-max-length': 10_000, 'x-message-ttl': 3_600_000 } })
    const name = theirs.name('bills')
    const bills = defineChannel(name, { payload: Payload, partitions: 1 })
    const places: Places = { [name]: { queues: { billing: queue } } }
    const handled: number[] = []
    let isFixed = false
    const members = [1, 2].map(() => {
      const own = sink(bills, { group: 'billing', maxAttempts: 1 }, async ({ n }) => {
        if (n === 7 && !isFixed) throw new Error('not yet')
        handled.push(n)
      })
      return createBinder({ service: 'bills', transport: open(places, true), bindings: [own], sends: [bills] })
    })
    onTestFinished(() => Promise.all(members.map((member) => member.close())).then(() => undefined))
    theirs.forget([`${name}.billing.dlq:redrive`], [`${name}.billing.dlq`, `${name}.billing.dlq:partitions`])
    for (const member of members) await member.start()
    for (let n = 0; n < 20; n++) theirs.channel.sendToQueue(queue, Buffer.from(JSON.stringify({ n })))
    await until('all were handled', () => handled.length === 19)
    expect(handled).toEqual(Array.from({ length: 20 }, (_, n) => n).filter((n) => n !== 7))
    await members[0]?.send(bills, { n: 20 })
    await until('what it sends itself comes too', () => handled.includes(20))
    isFixed = true
    expect(await redrive({ service: 'operator', transport: open(places, true) }, bills, 'billing')).toMatchObject({
      sent: 1,
    })
    await until('it is handled', () => handled.includes(7))
    expect(await members[0]?.lag(`${name}.billing`)).toBe(0)
    await expect(theirs.channel.checkExchange(name)).rejects.toThrow('NOT_FOUND')
  })

  it('does not start where a rule cannot be kept, and names the rule', async () => {
    const theirs = await company(url)
    const topic = await theirs.exchange('company.topic', 'topic')
    const shared = await theirs.queue('shared', {
      sac: false,
      arguments: { 'x-max-length': 5, 'x-overflow': 'reject-publish' },
    })
    const stream = await theirs.queue('stream', {
      sac: false,
      arguments: { 'x-queue-type': 'stream', 'x-max-age': '1h' },
    })
    const lossy = await theirs.queue('lossy', { arguments: { 'x-max-length': 5 } })
    const hasty = await theirs.queue('hasty', { arguments: { 'x-message-ttl': 60_000 } })
    const fleeting = await theirs.queue('fleeting', { durable: false })
    const start = async (
      places: NonNullable<Places>[string],
      options: { partitions?: number; group?: string } = {},
    ) => {
      const { partitions = 1, group = 'g' } = options
      const name = theirs.name('refused')
      const channel = defineChannel(name, { payload: Payload, partitions })
      const binding = sink(channel, { group, onFailure: 'drop' }, () => {})
      const binder = createBinder({ service: 's', transport: open({ [name]: places }), bindings: [binding] })
      onTestFinished(() => binder.close())
      theirs.forget([`${name}:g`])
      return binder.start().then(
        () => 'started',
        ({ kind, retryable, message }: { kind: string; retryable: boolean; message: string }) =>
          `${kind} ${retryable} ${message}`,
      )
    }
    expect(await start({ queues: { g: shared } })).toMatch(
      /^mismatch false .*has no x-single-active-consumer.*ordered: false/,
    )
    expect(await start({ queues: { g: { queue: shared, ordered: false } } })).toBe('started')
    expect(await start({ queues: { g: { queue: stream, ordered: false } } })).toMatch(
      /^mismatch false .*is a stream, .*has x-max-age, /,
    )
    expect(await start({ queues: { g: fleeting } })).toMatch(/^mismatch false .*is not durable/)
    expect(await start({ queues: { g: lossy } })).toMatch(/^mismatch false .*has x-max-length, .*mayDiscard: true/)
    expect(await start({ queues: { g: hasty } })).toMatch(/^mismatch false .*has x-message-ttl, /)
    expect(await start({ queues: { g: 'nowhere' } })).toMatch(/^mismatch false .*there is no queue "nowhere"/)
    expect(await start({ queues: { other: shared } })).toMatch(/^mismatch false .*group "g" has no queue/)
    expect(await start({ exchange: 'nowhere' })).toMatch(/^mismatch false .*there is no exchange "nowhere"/)
    expect(await start({ exchange: topic, type: 'fanout' })).toMatch(
      /^mismatch false .*is topic, and the place says 'fanout'/,
    )
    expect(await start({ exchange: topic }, { partitions: 4 })).toMatch(
      /^mismatch false .*defineChannel\(..., { partitions: 1 }\)/,
    )
    expect(await start({ exchange: topic })).toBe('started')
  })
})
