import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type Server } from 'node:net'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../../conformance/transport-kit.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'

describeWith(['kafka'], 'the first of the brokers', () => {
  const silent: Server[] = []
  const port = (server: Server): number => (server.address() as AddressInfo).port
  beforeAll(async () => {
    const standsStill = createServer(() => {})
    const isDeadBehindProxy = createServer((socket) => void socket.destroy())
    for (const server of [standsStill, isDeadBehindProxy]) {
      server.on('connection', (socket) => socket.on('error', () => {}))
      await once(server.listen(0, '127.0.0.1'), 'listening')
      silent.push(server)
    }
  })
  afterAll(() => {
    for (const server of silent) server.close()
  })

  it.for([
    ['stands still', 0],
    ['takes connections and ends them', 1],
  ] as const)('%s: the others are connected to anyway', { timeout: 120_000 }, async ([what, n]) => {
    const brokers = [`127.0.0.1:${port(silent[n] as Server)}`, ...(serverUrl('kafka') as string).split(',')]
    const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING, requestTimeout: 30_000 })
    const channel = defineChannel(`seed-${what.replaceAll(' ', '-')}-${process.pid}`, {
      payload: TestPayload,
      partitions: 1,
      groups: ['g'],
    })
    const got: number[] = []
    const transport = kafkaTransport({ kafka, connectTimeoutMs: 1_500, replicationFactor: 1 })
    const work = sink(channel, { group: 'g' }, ({ n: number }) => void got.push(number))
    const binder = createBinder({ service: 'seeds', transport, bindings: [work], sendTimeoutMs: 15_000 })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready({ timeoutMs: 25_000 })
    await until('it is sent', () =>
      binder.send(channel, { key: 'k', n: 7 }).then(
        () => true,
        () => false,
      ),
    )
    await until('it came', () => got.includes(7))
    expect(binder.health().status).toBe('up')
  })
})
