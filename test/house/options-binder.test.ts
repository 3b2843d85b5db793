import {
  combineTransports,
  createBinder,
  defineChannel,
  encodeMessage,
  pollable,
  processor,
  processorBatch,
  responder,
  route,
  sink,
  sinkBatch,
  source,
} from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { memoryTransport } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'

/** Cast for calls that plain JavaScript can make: any function with any value. */
const js = (value: unknown): never => value as never

interface Mistake {
  readonly what: string
  readonly call: () => unknown
  readonly says: string
}

const mistake = (what: string, call: () => unknown, says: string): Mistake => ({ what, call, says })

const payload = z.object({})
const service = 'shop'
const orders = defineChannel('orders', { payload })
const handle = (): void => {}
const transport = memoryTransport()

const BINDER: readonly Mistake[] = [
  mistake(
    'an unknown option of createBinder',
    () => createBinder(js({ service, transport, binding: [] })),
    'Did you mean "bindings"?',
  ),
  mistake(
    'one binding instead of a list',
    () => createBinder(js({ service, transport, bindings: sink(orders, {}, handle) })),
    'createBinder.bindings: expected a list of what sink(), processor() or source() returned, got another object',
  ),
  mistake(
    'a name of a property for a key',
    () => defineChannel('orders', js({ payload, key: 'id' })),
    'defineChannel("orders").key: expected a function, got a string',
  ),
  mistake(
    'a name for a codec',
    () => defineChannel('orders', js({ payload, codec: 'json' })),
    'defineChannel("orders").codec: expected a codec: { contentType, encode, decode }, got a string',
  ),
  mistake(
    'one group instead of a list',
    () => defineChannel('orders', js({ payload, groups: 'stock' })),
    'defineChannel("orders").groups: expected a list of names, got a string',
  ),
  mistake(
    'a name among the sends',
    () => createBinder(js({ service, transport, sends: ['orders'] })),
    'createBinder.sends[0]: expected what defineChannel returned, got "orders"',
  ),
  mistake(
    'an unknown option of combineTransports',
    () => combineTransports(js({ transports: { transport }, defualt: 'transport' })),
    'Did you mean "default"?',
  ),
  mistake(
    'an unknown option of a route',
    () =>
      createBinder({
        service,
        transport,
        bindings: [route(orders, Object.assign({ by: 'x', routes: { a: handle } }, { grup: 'a' }))],
      }),
    'Did you mean "group"?',
  ),
  mistake(
    'an unknown option of a responder',
    () => createBinder({ service, transport, bindings: [responder(orders, orders, js({ grup: 'a' }), () => ({}))] }),
    'Did you mean "group"?',
  ),
  mistake(
    'a responder without options',
    () => responder(orders, orders, js(handle), js(undefined)),
    'responder("orders") handler: expected a function',
  ),
  mistake(
    'a name where replies belong',
    () => createBinder(js({ service, transport, replies: ['orders'] })),
    'createBinder.replies[0]: expected what defineChannel returned, got "orders"',
  ),
  mistake(
    'an unknown option of source',
    () => createBinder({ service, transport, bindings: [source(orders, js({ every: 1 }), handle)] }),
    'source("orders").every: expected one of name, everyMs',
  ),
  mistake(
    'an unknown option of sink',
    () => createBinder({ service, transport, bindings: [sink(orders, js({ grup: 'a' }), handle)] }),
    'Did you mean "group"?',
  ),
  mistake(
    'an unknown option of defineChannel',
    () => defineChannel('a', js({ payload, partition: 1 })),
    'Did you mean "partitions"?',
  ),
  mistake(
    'an unknown option of send',
    () => encodeMessage(orders, {}, 'shop', js({ kye: 'a' })),
    'send("orders").kye: expected one of id, key, headers, time, destination, delayMs, got "kye"',
  ),
  mistake(
    'a send to a name',
    () => encodeMessage(js('orders'), {}, 'shop'),
    'send: expected what defineChannel returned, got "orders"',
  ),
  mistake(
    'an unknown option of sinkBatch',
    () => createBinder({ service, transport, bindings: [sinkBatch(orders, js({ gruop: 'a' }), handle)] }),
    'sinkBatch("orders").gruop: expected one of group',
  ),
  mistake(
    'an unknown option of batch',
    () => createBinder({ service, transport, bindings: [sinkBatch(orders, { batch: js({ size: 1 }) }, handle)] }),
    'sinkBatch("orders").batch.size: expected one of maxSize, maxWaitMs',
  ),
  mistake(
    'a processorBatch without its output',
    () => processorBatch(js(orders), js({ group: 'a' }), js(handle), js(undefined)),
    'the output channel is missing: processorBatch(input, output, options, handler)',
  ),
  mistake(
    'an unknown option of processorBatch',
    () => createBinder({ service, transport, bindings: [processorBatch(orders, orders, js({ gruop: 'a' }), handle)] }),
    'processorBatch("orders").gruop: expected one of group',
  ),
  mistake(
    'a sinkBatch without options',
    () => sinkBatch(js(orders), js(handle), js(undefined)),
    'sinkBatch(channel, options, handler)',
  ),
  mistake(
    'an unknown option of pollable',
    () => createBinder({ service, transport, bindings: [pollable(orders, js({ group: 'g', prefetch: 5 }))] }),
    'pollable("orders").prefetch: expected one of group',
  ),
  mistake(
    'a pollable of a name',
    () => pollable(js('orders'), { group: 'g' }),
    'pollable: expected what defineChannel',
  ),
  mistake(
    'an unknown option of rateLimit',
    () =>
      createBinder({
        service,
        transport,
        bindings: [sink(orders, { rateLimit: js({ persecond: 1 }) }, handle)],
      }),
    'Did you mean "perSecond"?',
  ),
  mistake(
    'an unknown option of circuitBreaker',
    () =>
      createBinder({
        service,
        transport,
        bindings: [sink(orders, { circuitBreaker: js({ failures: 1, pauseMS: 1 }) }, handle)],
      }),
    'Did you mean "pauseMs"?',
  ),
  mistake(
    'a sink of a name',
    () => sink(js('orders'), {}, handle),
    'sink: expected what defineChannel returned, got "orders"',
  ),
  mistake(
    'a sink without options',
    () => sink(js(orders), js(handle), js(undefined)),
    'sink(channel, options, handler)',
  ),
  mistake(
    'a processor of a name',
    () => processor(js('orders'), orders, {}, handle),
    'processor: expected what defineChannel',
  ),
  mistake(
    'a processor to a name',
    () => processor(orders, js('done'), {}, handle),
    'processor("orders") output: expected what defineChannel returned, got "done"',
  ),
  mistake(
    'a processor without output',
    () => processor(js(orders), js({}), js(handle), js(undefined)),
    'processor("orders"): the output channel is missing',
  ),
  mistake(
    'a source of a name',
    () => source(js('orders'), { everyMs: 1 }, handle),
    'source: expected what defineChannel',
  ),
  mistake(
    'a source without options',
    () => source(orders, js(handle), js(undefined)),
    'source(channel, options, poll)',
  ),
  mistake(
    'an unknown option of kafkaTransport',
    () => kafkaTransport(js({ kafka: 1, replication: 1 })),
    'Did you mean "replicationFactor"?',
  ),
  mistake(
    'an unknown option of rabbitTransport',
    () => rabbitTransport(js({ uri: 'amqp://x' })),
    'Did you mean "url"?',
  ),
  mistake(
    'rabbitTransport at a web address',
    () => rabbitTransport({ url: 'http://u:secret@x' }),
    'got something that begins with http://',
  ),
  mistake('an unknown option of memoryTransport', () => memoryTransport(js({ brokr: 1 })), 'Did you mean "broker"?'),
]

describe('a mistake with the binder is refused, with the expected value:', () => {
  it.for(BINDER)('$what', ({ call, says }) => refused(call, says))
})

async function refused(call: () => unknown, says: string): Promise<void> {
  const error = await (async () => call())().then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(TypeError)
  expect((error as TypeError).message).toContain(says)
}
