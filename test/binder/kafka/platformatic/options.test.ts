import { Connection } from '@platformatic/kafka'
import { platformaticTransport } from 'concordat/binder/kafka/platformatic'
import { describe, it } from 'vitest'

const kafka = { Connection, bootstrapBrokers: ['127.0.0.1:9092'] }
const js = (value: unknown): never => value as never

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
    [{ kafka: { ...kafka, bootstrapBrokers: ['kafka'] } }, "expected addresses as 'host:port'"],
    [{ kafka: { ...kafka, bootstrapBrokers: ['kafka:99999'] } }, "expected addresses as 'host:port'"],
    [{ kafka: { ...kafka, clientId: '' } }, 'platformaticTransport.kafka.clientId'],
    [
      { kafka: { ...kafka, sasl: 'hunter2' } },
      'platformaticTransport.kafka.sasl: expected an object of options, got a string',
    ],
    [{ kafka: { ...kafka, ssl: {} } }, 'platformaticTransport.kafka.ssl'],
    [{ kafka, compression: 'brotli' }, 'platformaticTransport.compression: expected one of none, gzip'],
    [{ kafka, sessionTimeoutMs: 1 }, 'platformaticTransport.sessionTimeoutMs'],
    [{ kafka, prefetch: 1 }, 'platformaticTransport.prefetch'],
  ])('%j says what is wrong', ([options, message], { expect }) => {
    expect(() => platformaticTransport(js(options))).toThrow(message as string)
  })
})
