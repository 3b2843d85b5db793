import { type AsyncapiDocument, type AsyncapiOptions, asyncapi } from '@concordat/cli/asyncapi'
import { defineChannel, sink } from 'concordat/binder'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { describedByBinder, shop } from '../support/shop.ts'

const info = { title: 'Shop', version: '1.2.0' }
const never = (): never => {
  throw new Error('nothing of it runs')
}

const write = (options: Partial<AsyncapiOptions> = {}): Promise<AsyncapiDocument> =>
  asyncapi({ services: shop, info, ...options })

const kafka = { production: { host: 'kafka.internal:9092', protocol: 'kafka-secure' } }

describe('the document', () => {
  test('is the same for the same declarations', async () => {
    expect(JSON.stringify(await write())).toBe(JSON.stringify(await write()))
  })

  test('has each destination of a binder of the same declarations', async () => {
    const { channels } = await write()
    for (const { name, partitions } of describedByBinder().destinations) {
      expect(channels[name]?.['x-concordat'], name).toMatchObject({ partitions })
    }
  })

  test('leaves out dead letters and retries when it is told to', async () => {
    const names = Object.keys((await write()).channels)
    expect(names).toContain('orders.placed.payments.dlq')
    expect(names).toContain('orders.placed.orders.retry')
    const shown = Object.keys((await write({ internals: false })).channels)
    expect(shown).toEqual(names.filter((name) => !/\.(?:dlq|retry)$/.test(name)))
  })
})

describe('a channel', () => {
  test('has partitions, groups, retention and Kafka bindings', async () => {
    const { channels } = await write({ servers: kafka })
    expect(channels['orders.placed']).toMatchObject({
      address: 'orders.placed',
      bindings: {
        kafka: { topic: 'orders.placed', partitions: 6, topicConfiguration: { 'retention.ms': 604_800_000 } },
      },
      'x-concordat': { role: 'channel', keyed: true, groups: ['orders', 'payments', 'audit'], version: 1 },
    })
    expect(channels['orders.placed']?.bindings).not.toHaveProperty('amqp')
  })

  test('has AMQP bindings', async () => {
    const { channels } = await write({ servers: { production: { host: 'rabbit', protocol: 'amqp' } } })
    expect(channels['orders.paid']?.bindings).toEqual({
      amqp: {
        is: 'routingKey',
        exchange: { name: 'orders.paid', type: 'direct', durable: true, autoDelete: false },
        bindingVersion: '0.3.0',
      },
    })
  })

  test('says which versions of the payload are read', async () => {
    const { channels } = await write()
    expect(channels['orders.approved']).toMatchObject({
      'x-concordat': { version: 2, reads: [1, 2] },
      messages: { 'orders.approved': { headers: { properties: { 'payload-version': {} } } } },
    })
  })
})

describe('a payload', () => {
  test('is JSON Schema of what travels, and shares its parts', async () => {
    const { components, channels } = await write()
    expect(channels['orders.placed']?.messages['orders.placed']?.payload).toEqual({
      $ref: '#/components/schemas/orders.placed',
    })
    expect(components.schemas['orders.placed']).toMatchObject({
      type: 'object',
      properties: { orderId: { type: 'string' }, total: { $ref: '#/components/schemas/Money' } },
      required: ['orderId', 'total'],
    })
    expect(Object.keys(components.schemas).filter((name) => name.includes('Money'))).toEqual(['Money'])
  })

  test('may have parts of its own kind, and be null', async () => {
    const { components, channels } = await write()
    expect(components.schemas['catalog']).toMatchObject({
      properties: { below: { items: { $ref: '#/components/schemas/catalog' } } },
    })
    expect(channels['catalog']?.messages['catalog']?.payload).toEqual({
      oneOf: [{ $ref: '#/components/schemas/catalog' }, { type: 'null' }],
    })
  })

  test('a payload of a library without JSON Schema says so, unless it is given explicitly', async () => {
    const undescribed = await write()
    expect(undescribed.components.schemas['quotes.asked']).toEqual({ description: expect.stringContaining('by hand') })
    const schemas = { 'quotes.asked': { type: 'object', required: ['sku'] } }
    const { components } = await write({ schemas })
    expect(components.schemas['quotes.asked']).toEqual(schemas['quotes.asked'])
  })

  test('parts never take the name of a channel, nor of one another', async () => {
    const [item, other] = [z.object({ a: z.string() }).meta({ id: 'item' }), z.number().meta({ id: 'an item' })]
    const one = defineChannel('box', { payload: z.object({ item, other, third: z.boolean().meta({ id: 'an_item' }) }) })
    const two = defineChannel('item', { payload: z.object({ of: z.date() }) })
    const { components } = await asyncapi({ services: [{ name: 'a', sends: [one, two] }], info })
    expect(components.schemas).toMatchObject({
      item: { properties: { of: {} } },
      box: {
        properties: {
          item: { $ref: '#/components/schemas/box.item' },
          other: { $ref: '#/components/schemas/box.an_item' },
          third: { $ref: '#/components/schemas/box.an_item.2' },
        },
      },
      'box.item': { properties: { a: { type: 'string' } } },
      'box.an_item': { type: 'number' },
      'box.an_item.2': { type: 'boolean' },
    })
  })

  test.each(['constructor', 'toString', '__proto__'])(
    'a payload of a channel with the name %s is its own',
    async (name) => {
      const channel = defineChannel(name, { payload: z.object({ a: z.string() }) })
      const options = { services: [{ name: 'a', sends: [channel] }], info, schemas: {}, examples: {} }
      const { channels, components } = await asyncapi(options)
      expect(Object.keys(channels)).toEqual([name])
      expect(Object.entries(components.schemas)).toContainEqual([name, expect.objectContaining({ type: 'object' })])
    },
  )

  test('parts of one name that differ have names of their own', async () => {
    const one = defineChannel('one', { payload: z.object({ part: z.object({ a: z.string() }).meta({ id: 'P1' }) }) })
    const standard = (definition: object) =>
      ({
        '~standard': {
          version: 1,
          vendor: 'other',
          validate: (value: unknown) => ({ value }),
          jsonSchema: { input: () => ({ $ref: '#/definitions/P1', definitions: { P1: definition } }), output: never },
        },
      }) as const
    const two = defineChannel('two', { payload: standard({ type: 'number' }) })
    const { components } = await asyncapi({ services: [{ name: 'a', sends: [one, two] }], info })
    expect(components.schemas).toMatchObject({
      one: { properties: { part: { $ref: '#/components/schemas/P1' } } },
      P1: { type: 'object' },
      two: { $ref: '#/components/schemas/two.P1' },
      'two.P1': { type: 'number' },
    })
  })
})

describe('an example', () => {
  test('comes from the schema, with headers', async () => {
    const { channels } = await write({ servers: kafka })
    expect(channels['orders.placed']?.messages['orders.placed']?.examples).toEqual([
      {
        payload: { orderId: 'o-1', total: { cents: 4200 } },
        headers: expect.objectContaining({ ce_type: 'orders.placed', ce_source: 'orders' }),
      },
    ])
  })

  test('an example that does not fit its channel is refused', async () => {
    await expect(write({ examples: { 'orders.paid': [{ orderId: 5 }] } })).rejects.toThrow(
      /asyncapi\.examples\["orders\.paid"\]\[0\] does not fit its schema: orderId/,
    )
  })
})

describe('an operation', () => {
  test('is what a binding receives, with its group', async () => {
    const { operations } = await write()
    expect(operations['payments.receive.orders.placed.payments']).toMatchObject({
      action: 'receive',
      channel: { $ref: '#/channels/orders.placed' },
      messages: [{ $ref: '#/channels/orders.placed/messages/orders.placed' }],
      bindings: { kafka: { groupId: { enum: ['payments.orders.placed'] } }, amqp: { ack: true } },
      'x-concordat': { service: 'payments', group: 'payments', deadLetters: 'orders.placed.payments.dlq' },
    })
    expect(operations['audit.receive.orders.paid.anonymous']?.bindings).not.toHaveProperty('kafka')
  })

  test('is what a service sends: outputs, routes, dead letters, commands', async () => {
    const { operations } = await write()
    const sent = (service: string): string[] =>
      Object.keys(operations).filter((key) => key.startsWith(`${service}.send.`))
    expect(sent('audit')).toEqual(['audit.send.orders.large', 'audit.send.orders.placed.audit.dlq'])
    expect(operations['orders.send.payments.commands']).toMatchObject({
      reply: { channel: { $ref: '#/channels/orders.saga-replies' } },
      'x-concordat': { service: 'orders', sagas: ['buy'] },
    })
    expect(operations['payments.send.orders.saga-replies']).toBeDefined()
    expect(operations['payments.receive.payments.commands.payments']?.reply).toEqual({
      address: { location: '$message.header#/saga-reply-to' },
    })
  })

  test('an operation of a saga may be any that a step can be asked for', async () => {
    const { components } = await write()
    expect(components.schemas).toMatchObject({
      SagaCommandHeaders: { properties: { 'saga-operation': { enum: ['invoke', 'confirm', 'compensate'] } } },
      'orders.saga-replies': { properties: { operation: { enum: ['invoke', 'confirm', 'compensate'] } } },
    })
  })

  test('tells where the answer to a request goes', async () => {
    const { operations, channels } = await write()
    expect(channels['quotes.answers']).toMatchObject({ address: null })
    expect(channels['quotes.answers.orders']).toMatchObject({ address: 'quotes.answers.orders' })
    expect(operations['payments.receive.quotes.asked.payments']?.reply).toMatchObject({
      address: { location: '$message.header#/request-reply-to' },
      channel: { $ref: '#/channels/quotes.answers' },
    })
  })
})

describe('refused are', () => {
  const channel = defineChannel('a', { payload: z.object({ n: z.number() }) })
  const other = defineChannel('a', { payload: z.object({ n: z.string() }) })
  const read = (at: typeof channel | typeof other) => [sink(at as typeof channel, { group: 'g' }, never)]

  test('two payloads of one channel', async () => {
    const services = [
      { name: 'x', bindings: read(channel) },
      { name: 'y', bindings: read(other) },
    ]
    await expect(asyncapi({ services, info })).rejects.toThrow(
      'asyncapi: channel("a") of y: its payload is not the one that x declares. Share one declaration.',
    )
  })

  test('two numbers of partitions of one channel', async () => {
    const wide = defineChannel('a', { payload: z.object({ n: z.number() }), partitions: 8 })
    const services = [
      { name: 'x', sends: [channel] },
      { name: 'y', sends: [wide] },
    ]
    await expect(asyncapi({ services, info })).rejects.toThrow(
      'asyncapi: channel("a").partitions of y: expected 4, as another service declares it, got 8',
    )
  })

  test.each([
    [{ info: { title: 'x' } }, 'asyncapi.info.version: expected a non-empty string'],
    [{ services: [] }, 'asyncapi.services: expected a list of at least one service or declaration'],
    [{ services: [shop[1], shop[1]] }, 'asyncapi.services: expected each service once, got "payments"'],
    [{ services: [{ name: 'a b' }] }, 'asyncapi.services[0].name: expected a name'],
    [{ services: [{ name: 'a', sagas: [{}] }] }, 'asyncapi.services[0].sagas[0]: expected a saga'],
    [{ server: {} }, 'asyncapi.server: expected one of'],
    [{ servers: { p: { host: 'h' } } }, 'asyncapi.servers.p.protocol: expected a non-empty string'],
    [{ internals: 'no' }, 'asyncapi.internals: expected true or false'],
  ])('%j', async (options, says) => {
    await expect(write(options as never)).rejects.toThrow(says)
  })
})
