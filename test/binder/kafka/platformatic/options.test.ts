import { Connection } from '@platformatic/kafka'
import { platformaticTransport } from 'concordat/binder/kafka/platformatic'
import { Kafka } from 'kafkajs'
import { describe, it } from 'vitest'

const kafka = { Connection, bootstrapBrokers: ['127.0.0.1:9092'] }
const js = (value: unknown): never => value as never
const user = { username: 'app', password: 'correct-horse' }
const token = 'eyJ'
const withSasl = (sasl: object) => ({ kafka: { ...kafka, sasl } })
const MECHANISM =
  'platformaticTransport.kafka.sasl.mechanism: expected one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, or GSSAPI with authenticate'
const PLACE = "platformaticTransport.kafka.bootstrapBrokers: expected addresses as 'host:port'"

describe('options of Kafka on platformatic', () => {
  it('need a class and a broker, and make no connection', ({ expect }) => {
    const transport = platformaticTransport({
      kafka: { ...kafka, bootstrapBrokers: ['kafka-1.example:9092', '[::1]:9093'] },
    })
    expect(transport.name).toBe('kafka')
    expect(transport.health()).toEqual({ status: 'idle' })
  })

  it.for([
    [{}, 'platformaticTransport.kafka: expected an object of options'],
    [{ kafka: {} }, "platformaticTransport.kafka.Connection: expected the class Connection of '@platformatic/kafka'"],
    [{ kafka: { Connection } }, 'platformaticTransport.kafka.bootstrapBrokers: expected a list of at least one broker'],
    [{ kafka: { ...kafka, bootstrapBrokers: [] } }, 'expected a list of at least one broker'],
    [
      { kafka: { ...kafka, Connection: Kafka } },
      "platformaticTransport.kafka.Connection: expected the class Connection of '@platformatic/kafka', got the function Client",
    ],
    [{ kafka: { ...kafka, Connection: () => ({}) } }, 'platformaticTransport.kafka.Connection: expected the class'],
    [{ kafka: { ...kafka, bootstrapBrokers: ['kafka'] } }, PLACE],
    [{ kafka: { ...kafka, bootstrapBrokers: ['kafka:99999'] } }, PLACE],
    [{ kafka: { ...kafka, bootstrapBrokers: ['kafka:0'] } }, PLACE],
    [{ kafka: { ...kafka, tls: [] } }, 'platformaticTransport.kafka.tls: expected an object of options, got an array'],
    [
      { kafka: { ...kafka, tlsServerName: 5 } },
      'platformaticTransport.kafka.tlsServerName: expected a name, true or false, got a number',
    ],
    [withSasl([]), 'platformaticTransport.kafka.sasl: expected an object of options, got an array'],
    [withSasl({}), `${MECHANISM}, got undefined`],
    [withSasl({ ...user, mechanism: 'NOPE' }), `${MECHANISM}, got "NOPE"`],
    [withSasl({ ...user, mechanism: 'gssapi' }), 'platformaticTransport.kafka.sasl.authenticate: expected a function'],
    [
      withSasl({ mechanism: 'PLAIN', username: 'app' }),
      'platformaticTransport.kafka.sasl.password: expected a text, or a function that gives it, got undefined',
    ],
    [withSasl({ ...user, mechanism: 'scram-sha-256', username: 5 }), 'sasl.username: expected a text'],
    [withSasl({ ...user, mechanism: 'OAUTHBEARER' }), 'platformaticTransport.kafka.sasl.token: expected a text'],
    [{ kafka: { ...kafka, clientId: '' } }, 'platformaticTransport.kafka.clientId'],
    [
      { kafka: { ...kafka, sasl: 'hunter2' } },
      'platformaticTransport.kafka.sasl: expected an object of options, got a string',
    ],
    [{ kafka: { ...kafka, ssl: {} } }, 'platformaticTransport.kafka.ssl'],
    [{ kafka, compression: 'brotli' }, 'platformaticTransport.compression: expected one of none, gzip'],
    [{ kafka, sessionTimeoutMs: 1 }, 'platformaticTransport.sessionTimeoutMs'],
    [{ kafka, prefetch: 1 }, 'platformaticTransport.prefetch'],
  ])('%j is rejected with the reason', ([options, message], { expect }) => {
    expect(() => platformaticTransport(js(options))).toThrow(message as string)
  })

  it.for([
    { ...user, mechanism: 'plain' },
    { mechanism: 'scram-sha-512', username: () => 'app', password: async () => 'correct-horse' },
    { mechanism: 'OAuthBearer', token },
    { mechanism: 'GSSAPI', authenticate: () => {} },
  ])('take a password as kafkajs spells it, or a function of it: %j', (sasl, { expect }) => {
    expect(() => platformaticTransport(withSasl(sasl))).not.toThrow()
  })

  it('show no secret', ({ expect }) => {
    for (const sasl of [{ ...user, mechanism: 'plain', username: 5 }, { ...user, mechanism: 'x' }, [user]])
      expect(() => platformaticTransport(withSasl(sasl))).toThrow(/^((?!correct-horse).)*$/)
  })
})
