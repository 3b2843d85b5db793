import { TransportError } from 'concordat/binder'
import { describe, it } from 'vitest'
import { isExpelled, isRebalance, kindOf, toTransportError } from '../inside.ts'

const kafkaError = (fields: object) => Object.assign(new Error('from kafkajs'), fields)

describe('errors of kafkajs', () => {
  it.for([
    [{ type: 'MESSAGE_TOO_LARGE' }, 'too_large', false],
    [{ type: 'UNKNOWN_TOPIC_OR_PARTITION' }, 'unroutable', false],
    [{ type: 'NOT_ENOUGH_REPLICAS' }, 'refused', true],
    [{ type: 'REQUEST_TIMED_OUT' }, 'timeout', true],
    [{ name: 'KafkaJSRequestTimeoutError' }, 'timeout', true],
    [{ type: 'TOPIC_AUTHORIZATION_FAILED' }, 'refused', true],
    [{ name: 'KafkaJSSASLAuthenticationError' }, 'refused', true],
    [{ name: 'KafkaJSConnectionError' }, 'unavailable', true],
    [{ type: 'OUT_OF_ORDER_SEQUENCE_NUMBER' }, 'unavailable', true],
    [{ name: 'KafkaJSNumberOfRetriesExceeded', cause: kafkaError({ type: 'MESSAGE_TOO_LARGE' }) }, 'too_large', false],
    [{ name: 'KafkaJSAggregateError', errors: [kafkaError({ type: 'INVALID_PARTITIONS' })] }, 'mismatch', false],
    [{}, 'unavailable', true],
  ] as const)('%j is %s', ([fields, kind, retryable], { expect }) => {
    const error = toTransportError(kafkaError(fields), 'publishing', 'orders')
    expect(error).toMatchObject({
      code: 'binder.transport',
      transport: 'kafka',
      kind,
      retryable,
      destination: 'orders',
      cause: { message: 'from kafkajs' },
    })
    expect(error.message).toMatch(/^kafka: publishing failed: from kafkajs(?: \(from kafkajs\))?\. \S/)
  })

  it('are retryable for a live foreign member when that helps', ({ expect }) => {
    const error = toTransportError(kafkaError({ type: 'INCONSISTENT_GROUP_PROTOCOL' }), 'subscribing', 'orders')
    expect(error).toMatchObject({ kind: 'mismatch', retryable: false })
    expect(error.message).toContain('start again when the last such member has left')
    expect(error.message).not.toContain('will not help')
  })

  it('name each topic that could not be made, and why', ({ expect }) => {
    const parts = [
      kafkaError({ type: 'INVALID_REPLICATION_FACTOR', topic: 'orders', message: 'Replication-factor is invalid' }),
      kafkaError({ type: 'POLICY_VIOLATION', message: 'not here' }),
    ]
    const error = toTransportError(kafkaError({ message: 'Topic creation errors', errors: parts }), 'creating topics')
    expect(error.kind).toBe('mismatch')
    expect(error.message).toContain(
      'creating topics failed: Topic creation errors ("orders": Replication-factor is invalid; not here). ',
    )
  })

  it.for([
    [{ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }, '`ssl` of new Kafka'],
    [{ message: 'Failed to connect: error:0480006C:PEM routines::no start line' }, '`ssl` of new Kafka'],
    [{ type: 'ILLEGAL_SASL_STATE' }, 'check `brokers` and `sasl` of new Kafka'],
    [{ type: 'ILLEGAL_SASL_STATE' }, 'set `reauthenticationThreshold` below the lifetime of tokens'],
    [{ message: 'Failed to connect: brokers array is empty' }, 'Check `brokers`, `ssl` and `sasl` of new Kafka'],
    [{ message: 'Failed to connect: Port should be >= 0' }, 'Check `brokers`, `ssl` and `sasl` of new Kafka'],
    // Error of kafkajs for `sasl: {}`.
    [{ cause: new TypeError('reading toUpperCase') }, 'Check `brokers`, `ssl` and `sasl` of new Kafka'],
    [
      { message: 'Connection error: socket disconnected before secure TLS connection was established' },
      'this port speaks TLS, as `ssl` of new Kafka says',
    ],
    [{ type: 'SASL_AUTHENTICATION_FAILED' }, '`sasl` of new Kafka'],
    [{}, 'Check that the brokers are up and reachable'],
  ] as const)('name the place to look: %j', ([fields, remedy], { expect }) => {
    expect(toTransportError(kafkaError(fields), 'connecting').message).toContain(remedy)
  })

  it('are handed on when they are the binder’s already', ({ expect }) => {
    const error = new TransportError({ transport: 'kafka', kind: 'closed', message: 'closed' })
    expect(toTransportError(error, 'anything')).toBe(error)
  })

  it('distinguish a rebalance from an expulsion', ({ expect }) => {
    expect(isRebalance(kafkaError({ type: 'REBALANCE_IN_PROGRESS' }))).toBe(true)
    expect(isExpelled(kafkaError({ type: 'REBALANCE_IN_PROGRESS' }))).toBe(false)
    expect(isExpelled(kafkaError({ type: 'UNKNOWN_MEMBER_ID' }))).toBe(true)
    expect(isRebalance(kafkaError({ type: 'ILLEGAL_GENERATION' }))).toBe(false)
  })

  it('survive values that are no errors and causes that go in circles', ({ expect }) => {
    const circle = kafkaError({})
    Object.assign(circle, { cause: circle })
    expect([kindOf(circle), kindOf('text'), kindOf(undefined)]).toEqual(['unavailable', 'unavailable', 'unavailable'])
  })
})
