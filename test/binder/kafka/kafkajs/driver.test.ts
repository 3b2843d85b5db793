import { systemClock } from 'concordat/core'
import { Kafka, logLevel } from 'kafkajs'
import { expect, it } from 'vitest'
import { memoryLogger } from '../../support/memory-logger.ts'
import { KafkajsDriver, resolveKafkaOptions } from '../inside.ts'
import { Recorder } from '../kit.ts'

function setup() {
  const { logger, lines } = memoryLogger()
  const kafka = new Kafka({ brokers: ['127.0.0.1:1'], logLevel: logLevel.NOTHING })
  const driver = new KafkajsDriver(resolveKafkaOptions({ kafka }))
  const link = driver.attach({ service: 's', instance: 'i', logger, clock: systemClock })
  const newMember = (topic: string, startAt?: ReadonlyMap<number, number>): void => {
    const spec = { topic, groupId: `g.${topic}`, partitions: 1, prefetch: 1, prefetchBytes: 1_000, startAt }
    link.createMember(spec, Recorder.keeping(), { onAnswer: () => {}, onEnd: () => Promise.resolve() })
  }
  const said = (): readonly string[] =>
    lines.map((line) => String(line[1])).filter((text) => text.includes('made again'))
  return { newMember, said }
}

it('kafkajs warns once, when the first group starts, that it does not notice a recreated topic', () => {
  const { newMember, said } = setup()
  newMember('throw-away', new Map())
  expect(said()).toEqual([])
  newMember('orders')
  newMember('payments')
  expect(said()).toHaveLength(1)
  expect(said()[0]).toContain('Stop the members first')
})
