import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { readDifference } from '../../../../binder/rabbitmq/topology/foreign-place-check.ts'
import type { RabbitTransportOptions } from '../../../support/inside/binder.ts'

const url = 'amqp://localhost'
const orders = defineChannel('orders', { payload: z.unknown(), partitions: 1 })

function partsWith(places: RabbitTransportOptions['places']): readonly string[] {
  const transport = rabbitTransport({ url, places })
  const bindings = [sink(orders, { group: 'g', onFailure: 'drop' }, () => {})]
  const { destinations } = createBinder({ service: 's', transport, bindings }).describe()
  return destinations.flatMap(({ parts }) =>
    parts.map(({ kind, name, details }) => `${kind} ${name} ${JSON.stringify(details)}`),
  )
}

describe('destinations named by `places`', () => {
  it('take the place of what would be declared', () => {
    const queue = { durable: true, 'x-queue-type': 'classic', 'x-single-active-consumer': true, exchange: 'company' }
    expect(partsWith({ orders: { exchange: 'company', bindingKey: 'order.*' } })).toEqual([
      `queue orders:g ${JSON.stringify({ ...queue, routingKey: 'order.*' })}`,
    ])
    expect(partsWith({ orders: { exchange: 'company' } })).toEqual([
      `queue orders:g ${JSON.stringify({ ...queue, routingKey: '#' })}`,
    ])
    expect(partsWith({ orders: { queues: { g: 'theirs' } } })).toEqual([])
    expect(partsWith({ others: { queues: { g: 'theirs' } } })).toHaveLength(3)
  })

  it.for([
    ['no place', { orders: {} }, 'rabbitTransport.places["orders"]: expected an exchange, or queues, got {}'],
    ['a misspelled option', { orders: { exchang: 'x' } }, 'Did you mean "exchange"?'],
    [
      'a type that routes by headers',
      { orders: { exchange: 'x', type: 'headers' } },
      "expected 'direct', 'topic' or 'fanout'",
    ],
    [
      'a routing key without an exchange',
      { orders: { queues: { g: 'q' }, routingKey: 'k' } },
      'an exchange, if there is a routing key',
    ],
    [
      'a queue without a name',
      { orders: { queues: { g: '' } } },
      'places["orders"].queues.g: expected a non-empty string',
    ],
    [
      'an order that is no boolean',
      { orders: { queues: { g: { queue: 'q', ordered: 1 } } } },
      'ordered: expected true or false',
    ],
    ['a list', { orders: [] }, 'rabbitTransport.places["orders"]: expected an object of options'],
    ['a text', 'orders', 'rabbitTransport.places: expected an object of places'],
    ['a name that is too long', { orders: { exchange: 'x'.repeat(256) } }, 'at most 255 bytes'],
  ] as const)('refuse %s', ([, places, message]) => {
    expect(() => rabbitTransport({ url, places: places as never })).toThrow(message)
  })

  it('read the broker’s description of a difference', () => {
    const said = (rest: string): string => `PRECONDITION_FAILED - inequivalent arg ${rest}`
    const of = (arg: string): string => `'${arg}' for queue 'q' in vhost '/': received`
    expect(
      readDifference(said(`${of('x-max-length')} none but current is the value '5' of type 'signedint'`)),
    ).toMatchObject({ name: 'x-max-length', value: 5 })
    expect(
      readDifference(said(`${of('x-queue-type')} none but current is the value 'quorum' of type 'longstr'`)),
    ).toMatchObject({ name: 'x-queue-type', value: 'quorum' })
    expect(
      readDifference(said(`${of('x-single-active-consumer')} the value 'true' of type 'bool' but current is none`)),
    ).toMatchObject({ name: 'x-single-active-consumer', value: undefined })
    expect(readDifference(said(`${of('durable')} 'true' but current is 'false'`))).toMatchObject({
      name: 'durable',
      current: 'false',
    })
    const quoted = `${of('x-dead-letter-routing-key')} none but current is the value 'it's' of type 'longstr'`
    expect(readDifference(said(quoted))).toMatchObject({ name: 'x-dead-letter-routing-key', value: "it's" })
    expect(readDifference('something else')).toEqual({
      unknown: 'its answer about the arguments is cut after 255 bytes',
    })
  })
})
