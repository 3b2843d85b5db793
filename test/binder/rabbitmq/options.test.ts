import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { describe, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { withHeartbeat } from '../../../binder/rabbitmq/link/addresses.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { resolveRabbitOptions } from '../../../binder/rabbitmq/options.ts'

const connect = (): Promise<never> => Promise.reject(new Error('not in this test'))

describe('rabbitTransport options', () => {
  it('have defaults', ({ expect }) => {
    expect(resolveRabbitOptions({ connect })).toEqual({
      connect,
      provision: 'create',
      connectTimeoutMs: 5_000,
      requestTimeoutMs: 10_000,
      closeTimeoutMs: 3_000,
      queueArguments: { 'x-queue-type': 'classic', 'x-single-active-consumer': true },
      mayDiscard: false,
      unroutable: 'refuse',
      maxMessageBytes: 16 * 1024 * 1024,
      places: new Map(),
      rebalanceMs: 2_000,
      rebalanceTimeoutMs: 30_000,
    })
  })

  it('keep undefined at the default', ({ expect }) => {
    expect(resolveRabbitOptions({ connect, unroutable: undefined, rebalanceMs: undefined })).toMatchObject({
      unroutable: 'refuse',
      rebalanceMs: 2_000,
    })
  })

  it('never let a queue lose its single active consumer', ({ expect }) => {
    const queueArguments = { 'x-single-active-consumer': false, 'x-max-length': 10, 'x-overflow': 'reject-publish' }
    expect(resolveRabbitOptions({ connect, queueArguments, queueType: 'quorum' }).queueArguments).toEqual({
      'x-queue-type': 'quorum',
      'x-single-active-consumer': true,
      'x-max-length': 10,
      'x-overflow': 'reject-publish',
    })
  })

  it('add a heartbeat to an address without one', ({ expect }) => {
    expect(withHeartbeat('amqp://localhost')).toBe('amqp://localhost?heartbeat=10')
    expect(withHeartbeat('amqps://u:p@h:1/v?frameMax=8192')).toBe('amqps://u:p@h:1/v?frameMax=8192&heartbeat=10')
    expect(withHeartbeat('amqp://localhost?heartbeat=0')).toBe('amqp://localhost?heartbeat=0')
  })

  it.for([
    [
      { 'x-max-length': 5 },
      /\['x-max-length'\]: got 5, with which RabbitMQ discards .*Add 'x-overflow': 'reject-publish'/,
    ],
    [{ 'x-max-length-bytes': 50 }, /\['x-max-length-bytes'\]: got 50, .*Add 'x-overflow': 'reject-publish'/],
    [{ 'x-max-length': 5, 'x-overflow': 'drop-head' }, /\['x-overflow'\]: got "drop-head", .*Use 'reject-publish'/],
    [{ 'x-overflow': 'reject-publish-dlx' }, /\['x-overflow'\]: got "reject-publish-dlx", /],
    [
      { 'x-message-ttl': 500 },
      /\['x-message-ttl'\]: got 500, .*Leave it out, or allow the loss with .*mayDiscard: true/,
    ],
    [{ 'x-expires': 1_500 }, /\['x-expires'\]: got 1500, /],
    [{ 'x-delivery-limit': 20 }, /\['x-delivery-limit'\]: got 20, .*Use -1/],
  ] as const)(
    'refuse arguments with which the broker discards messages, without an explicit permission: %o',
    ([queueArguments, message], { expect }) => {
      expect(() => rabbitTransport({ connect, queueArguments } as never)).toThrow(message)
      expect(() => rabbitTransport({ connect, queueArguments, mayDiscard: true } as never)).not.toThrow()
    },
  )

  it.for([{ 'x-max-length': 5, 'x-overflow': 'reject-publish' }, { 'x-delivery-limit': -1 }, { 'x-max-priority': 5 }])(
    'take arguments that keep every message: %o',
    (queueArguments, { expect }) => {
      expect(() => rabbitTransport({ connect, queueArguments } as never)).not.toThrow()
    },
  )

  it.for([
    [{}, /url: expected amqp/],
    [{ url: 'http://localhost' }, /url: expected amqp/],
    [{ url: [] }, /url: expected one address for each node of the cluster, got an empty list/],
    [{ url: ['amqp://a', 'redis://b'] }, /url\[1\]: expected amqp:.*got something that begins with redis:/],
    [{ url: 'amqp://localhost', connect }, /either url or connect, got both/],
    [{ connect: 'amqp://localhost' }, /connect: expected a function/],
    [{ url: 'amqp://user:secret@h:0' }, /url: expected amqp:.*with a port from 1 to 65535, or none, got port 0/],
    [{ connect, mayDiscard: 1 }, /mayDiscard: expected true or false, got 1/],
    [{ connect, queueArguments: [] }, /queueArguments: expected an object of arguments, got an array/],
    [{ url: 'amqps://h', tls: [] }, /rabbitTransport.tls: expected an object of options, got an array/],
    [{ url: 'amqps://h', tls: { servername: 5 } }, /tls.servername: expected a text, got a number/],
    [{ url: 'amqps://h', tls: { ca: 5 } }, /tls.ca: expected PEM as a text or a Buffer, got a number/],
    [{ url: 'amqps://h', tls: { ca: ['x', null] } }, /tls.ca: expected PEM as a text or a Buffer, got null/],
    [{ url: 'amqps://h', tls: { key: ['x'] } }, /tls.key: expected PEM as a text or a Buffer, got an array/],
    [{ connect, queueType: 'stream' }, /queueType: expected 'classic' or 'quorum', got "stream"/],
    [{ connect, unroutable: 'drop' }, /unroutable: expected 'refuse' or 'accept'/],
    [{ connect, connectTimeoutMs: 0 }, /connectTimeoutMs: expected a whole number >= 1, got 0/],
    [{ connect, rebalanceMs: -1 }, /rebalanceMs: expected a whole number >= 0/],
    [{ connect, maxMessageBytes: 1.5 }, /maxMessageBytes: expected a whole number/],
    [{ connect, prefech: 1 }, /rabbitTransport.prefech: expected one of/],
  ] as const)('are refused with the path and the remedy: %o', ([options, message], { expect }) => {
    expect(() => rabbitTransport(options as never)).toThrow(message)
  })

  it('never show a password', ({ expect }) => {
    expect(() => rabbitTransport({ url: 'ampq://user:secret@host' })).toThrow(/^((?!secret).)*$/)
  })

  it('take TLS beside an amqps address only, and never leave the certificate unchecked', ({ expect }) => {
    const js = (value: unknown): never => value as never
    const ca = '-----BEGIN CERTIFICATE-----'
    expect(() => resolveRabbitOptions({ url: 'amqps://h', tls: { ca } })).not.toThrow()
    expect(() => resolveRabbitOptions({ url: 'amqp://h', tls: { ca } })).toThrow(
      'expected amqps:// in each address of url',
    )
    expect(() => resolveRabbitOptions({ url: ['amqps://a', 'amqps://b'], tls: { ca } })).not.toThrow()
    expect(() => resolveRabbitOptions({ url: ['amqps://a', 'amqp://b'], tls: { ca } })).toThrow('in each address')
    expect(() => resolveRabbitOptions({ connect, tls: { ca } })).toThrow('with `connect` pass it there')
    const unchecked = js({ rejectUnauthorized: false })
    expect(() => resolveRabbitOptions({ url: 'amqps://h', tls: unchecked })).toThrow(
      'rabbitTransport.tls.rejectUnauthorized',
    )
    expect(() => resolveRabbitOptions({ connect, provision: js('never') })).toThrow("'create', 'check' or 'none'")
  })
})
