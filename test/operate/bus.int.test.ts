/** The operator on a bus over real brokers, with a transport that makes nothing. */

import { createOperator } from '@concordat/cli'
import { createBinder } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { createBus } from 'concordat/bus'
import { pgliteClient } from 'concordat/core/pglite'
import type { Transport } from 'concordat/extension'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freshPglite } from '../support/pglite.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'

type Provision = 'create' | 'check'

const openers = {
  rabbitmq: (url: string, provision: Provision): Transport => rabbitTransport({ url, provision }),
  kafka: (brokers: string, provision: Provision): Transport =>
    kafkaTransport({ kafka: new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING }), provision }),
}

describeWith(['rabbitmq', 'kafka'], 'the bus of an operator', () => {
  const database = freshPglite()
  const sql = pgliteClient(database)
  const note = { by: 'ann', reason: 'too many lines' }
  beforeAll(async () => {
    await createOperator({ sql }).migrate({ ...note, parts: ['operator'] })
  }, 180_000)
  afterAll(() => database.close())

  test.for(['rabbitmq', 'kafka'] as const)(
    'on %s: instances are seen and told, and nothing is made',
    async (broker) => {
      const channel = `bus-${broker}-${process.pid}-${Date.now()}`
      const open = (provision: Provision): Transport => openers[broker](serverUrl(broker) ?? '', provision)
      const operator = createOperator({ sql, transport: () => open('check'), bus: { channel } })
      await expect(operator.bus.members()).rejects.toMatchObject({ message: expect.stringContaining(channel) })
      const levels: string[] = []
      const bus = createBus({ service: 'shop', instance: 's-1', channel, setLevel: (level) => void levels.push(level) })
      const binder = createBinder({
        service: 'shop',
        transport: open('create'),
        bindings: bus.bindings,
        sends: bus.channels,
      })
      await binder.start()
      await bus.start(binder)
      await bus.ready({ timeoutMs: 60_000 })
      expect(await operator.bus.members({ listenMs: 3_000 })).toEqual([
        { service: 'shop', group: 'default', instance: 's-1' },
      ])
      const order = {
        event: 'set-log-level',
        payload: { level: 'warn' },
        to: 'shop:**',
        timeoutMs: 20_000,
        listenMs: 0,
      }
      expect(await operator.bus.send({ ...order, ...note, dryRun: false })).toMatchObject({
        acked: ['shop:default:s-1'],
        missing: [],
      })
      expect(levels).toEqual(['warn'])
      await bus.close()
      await binder.close()
    },
  )
})
