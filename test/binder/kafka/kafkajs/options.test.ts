import Module from 'node:module'
import { kafkaTransport } from 'concordat/binder/kafka'
import { describe, it, onTestFinished } from 'vitest'
import { type KafkaClient, resolveKafkaOptions } from '../inside.ts'

const none = (): never => {
  throw new Error('not called')
}
const kafka: KafkaClient = { producer: none, consumer: none, admin: none }

describe('kafkaTransport options', () => {
  it('have defaults', ({ expect }) => {
    expect(resolveKafkaOptions({ kafka })).toEqual({
      kafka,
      provision: 'create',
      delayDiscoveryMs: 10_000,
      replicationFactor: -1,
      topicConfig: {},
      maxMessageBytes: 1_000_000,
      maxBatchBytes: 67_108_864,
      compression: 'none',
      groupIds: new Map(),
      startAt: new Map(),
      springHeaderTypes: false,
      connectTimeoutMs: 5_000,
      requestTimeoutMs: 15_000,
      sessionTimeoutMs: 10_000,
      heartbeatIntervalMs: 1_000,
      rebalanceTimeoutMs: 30_000,
      maxWaitMs: 250,
      commitIntervalMs: 200,
    })
  })

  it.for([
    [{ kafka: {} }, 'kafkaTransport.kafka: expected a kafkajs client'],
    [{ kafka: undefined }, 'kafkaTransport.kafka: expected a kafkajs client'],
    [{ maxMessageBytes: 10 }, 'kafkaTransport.maxMessageBytes: expected a whole number >= 1024'],
    [{ replicationFactor: 0 }, 'kafkaTransport.replicationFactor: expected -1'],
    [{ sessionTimeoutMs: 1.5 }, 'kafkaTransport.sessionTimeoutMs: expected a whole number'],
    [{ sessionTimeoutMs: 6_000, heartbeatIntervalMs: 3_000 }, 'heartbeatIntervalMs: expected at most a third'],
    [{ topicConfig: { 'retention.ms': 5 } }, 'kafkaTransport.topicConfig.retention.ms: expected a string'],
    [{ maxWait: 5 }, 'kafkaTransport.maxWait: expected one of'],
  ] as const)('name the mistake in %j', ([options, text], { expect }) => {
    expect(() => resolveKafkaOptions({ kafka, ...options } as never)).toThrow(text)
  })
})

describe('kafkaTransport', () => {
  it('opens nothing when made and attached', ({ expect }) => {
    const transport = kafkaTransport({ kafka })
    expect(transport.name).toBe('kafka')
    expect(transport.health()).toEqual({ status: 'idle' })
  })

  it('refuses to work before it is attached', async ({ expect }) => {
    const transport = kafkaTransport({ kafka })
    await expect(transport.provision([])).rejects.toMatchObject({ kind: 'closed' })
    await expect(transport.close()).resolves.toBeUndefined()
  })

  it('take each Kafka group for one group of one channel', ({ expect }) => {
    const of = (groupIds: object) => () => resolveKafkaOptions({ kafka, groupIds: groupIds as never })
    expect(of({ a: { g: 'x' }, b: { g: 'y' } })().groupIds.size).toBe(2)
    expect(of({ a: { g: 'x' }, b: { h: 'x' } })).toThrow(/groupIds\.b\.h: .*got "x".*a\.g|groupIds\.b\.h/)
    expect(of({ a: { g: '' } })).toThrow(/groupIds\.a\.g/)
    expect(of({ a: 'x' })).toThrow(/groupIds\.a/)
  })

  it.for([
    ['lz4', 'lz4js'],
    ['snappy', 'snappyjs'],
  ] as const)('name the package that %s needs', ([compression, name], { expect }) => {
    const loader = Module as unknown as { _resolveFilename: (request: string, ...rest: unknown[]) => string }
    const resolve = loader._resolveFilename
    loader._resolveFilename = (request, ...rest) => {
      if (request === name) throw Object.assign(new Error('not installed'), { code: 'MODULE_NOT_FOUND' })
      return resolve.call(loader, request, ...rest)
    }
    onTestFinished(() => {
      loader._resolveFilename = resolve
    })
    expect(() => resolveKafkaOptions({ kafka, compression })).toThrow(`npm install ${name}`)
    expect(() => resolveKafkaOptions({ kafka, compression: 'zip' as never })).toThrow(
      /compression: expected one of none, gzip/,
    )
  })
})
