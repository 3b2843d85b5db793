import { Connection } from '@platformatic/kafka'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { platformaticTransport } from 'concordat/binder/kafka/platformatic'
import { DAY } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'

/** The settings of each topic that a group with delayed retries needs. */
function configOf(retentionMs: number | undefined): ReadonlyMap<string, Readonly<Record<string, unknown>>> {
  const channel = defineChannel('bills', { payload: TestPayload, retentionMs })
  const binding = sink(channel, { group: 'g', retry: 'delayed' }, () => {})
  const transport = platformaticTransport({
    kafka: { Connection, bootstrapBrokers: ['localhost:1'] },
    topicConfig: { 'retention.ms': '3600000', 'retention.bytes': '1000' },
  })
  const binder = createBinder({ service: 'shop', transport, bindings: [binding] })
  onTestFinished(() => binder.close())
  const parts = binder.describe().destinations.flatMap((destination) => destination.parts)
  return new Map(parts.filter(({ kind }) => kind === 'topic').map(({ name, details }) => [name, details]))
}

describe('how long topics keep messages', () => {
  it('dead letters are kept without a limit of time or bytes, with any retention of the channel and the transport', () => {
    const unlimited = { 'retention.ms': '-1', 'retention.bytes': '-1' }
    expect(configOf(90 * DAY).get('bills.g.dlq')).toMatchObject(unlimited)
    expect(configOf(undefined).get('bills.g.dlq')).toMatchObject(unlimited)
  })

  it('retries and delayed messages are kept as long as the messages of their channel', () => {
    const topics = configOf(90 * DAY)
    for (const name of ['bills', 'bills.g.retry', 'bills.g.retry.delay'])
      expect(topics.get(name)).toMatchObject({ 'retention.ms': String(90 * DAY) })
  })

  it('delayed messages are kept without a limit of bytes, with any of the transport', () => {
    const topics = configOf(undefined)
    expect(topics.get('bills.g.retry.delay')).toMatchObject({ 'retention.bytes': '-1' })
    expect(topics.get('bills')).toMatchObject({ 'retention.bytes': '1000' })
  })

  it('retries of a channel without a retention are kept for the transport’s retention', () => {
    expect(configOf(undefined).get('bills.g.retry')).toMatchObject({ 'retention.ms': '3600000' })
  })
})
