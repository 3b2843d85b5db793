import { readFile } from 'node:fs/promises'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { pgClient } from 'concordat/core/pg'
import type { Transport, TransportFeatures } from 'concordat/extension'
import { memoryTransport } from 'concordat/memory'
import { postgresTransport } from 'concordat/postgres'
import { Kafka } from 'kafkajs'
import pg from 'pg'
import { expect, it } from 'vitest'
import type { Feature } from '../support/inside/binder.ts'

/** The page's wording of each feature. */
const ROWS: Readonly<Record<keyof TransportFeatures, string>> = {
  durable: 'messages survive the sending process',
  newGroupStartsAtEarliest: 'a new group gets what was sent before it',
  tellsWholeLag: 'lag counts what other processes hold',
  redeliveredFlag: '`context.redelivered` is known',
  refusesUnroutable: 'an unroutable message is refused',
  delaysByItself: 'delays work while no process runs',
}

const TRANSPORTS: readonly Transport[] = [
  memoryTransport(),
  kafkaTransport({ kafka: new Kafka({ brokers: ['localhost:9092'] }) }),
  rabbitTransport({ url: 'amqp://localhost' }),
  postgresTransport({ sql: pgClient(new pg.Pool({ max: 1 })) }),
]

const cell = (feature: Feature): string => (feature === true ? 'yes' : `no: ${feature.missing}`)

it('the table of transports matches the transports’ declarations', async () => {
  const lines = (await readFile('docs/brokers/choosing.md', 'utf8')).split('\n')
  for (const [feature, name] of Object.entries(ROWS) as Array<[keyof TransportFeatures, string]>) {
    const cells = TRANSPORTS.map(({ features }) => cell(features[feature]))
    expect(lines).toContain(`| ${[name, ...cells].join(' | ')} |`)
  }
})

it('every transport declares the same features', () => {
  for (const { name, features } of TRANSPORTS)
    expect(Object.keys(features).toSorted(), name).toEqual(Object.keys(ROWS).toSorted())
})
