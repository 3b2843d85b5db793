import { Connection } from '@platformatic/kafka'
import { kafkaTransport } from 'concordat/binder/kafka/platformatic'
import { describe, it } from 'vitest'

const kafka = { Connection, bootstrapBrokers: ['127.0.0.1:9092'] }
const js = (value: unknown): never => value as never

describe('options of Kafka on platformatic', () => {
  it('need a class and a broker, and make no connection', ({ expect }) => {
    const transport = kafkaTransport({ kafka: { ...kafka, bootstrapBrokers: ['kafka-1.example:9092', '[::1]:9093'] } })
    expect(transport.name).toBe('kafka')
    expect(transport.health()).toEqual({ status: 'idle' })
  })

  it.for([
    [{}, 'kafkaTransport.kafka: expected an object of options'],
    [{ kafka: {} }, "kafkaTransport.kafka.Connection: expected the class Connection of '@platformatic/kafka'"],
    [{ kafka: { Connection } }, 'kafkaTransport.kafka.bootstrapBrokers: expected a list of at least one broker'],
    [{ kafka: { ...kafka, bootstrapBrokers: [] } }, 'expected a list of at least one broker'],
    [{ kafka: { ...kafka, bootstrapBrokers: ['kafka'] } }, "expected addresses as 'host:port'"],
    [{ kafka: { ...kafka, bootstrapBrokers: ['kafka:99999'] } }, "expected addresses as 'host:port'"],
    [{ kafka: { ...kafka, clientId: '' } }, 'kafkaTransport.kafka.clientId'],
    [
      { kafka: { ...kafka, sasl: 'hunter2' } },
      'kafkaTransport.kafka.sasl: expected an object of options, got a string',
    ],
    [{ kafka: { ...kafka, ssl: {} } }, 'kafkaTransport.kafka.ssl'],
    [{ kafka, compression: 'brotli' }, 'kafkaTransport.compression: expected one of none, gzip'],
    [{ kafka, sessionTimeoutMs: 1 }, 'kafkaTransport.sessionTimeoutMs'],
    [{ kafka, prefetch: 1 }, 'kafkaTransport.prefetch'],
  ])('%j says what is wrong', ([options, message], { expect }) => {
    expect(() => kafkaTransport(js(options))).toThrow(message as string)
  })
})
