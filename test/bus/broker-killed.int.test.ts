import { randomUUID } from 'node:crypto'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/extension'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { Ping, started } from '../conformance/bus-kit.ts'
import { kafkaOn } from '../support/kafka-driver.ts'
import { describeWith, type PrivateServer, startServer } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

/** The broker dies with SIGKILL under two instances, and comes back with its data. */
async function survives(server: PrivateServer, transport: () => Transport): Promise<void> {
  const options = { channel: `b${randomUUID().slice(0, 8)}`, heartbeatMs: 500, binderOptions: { sendTimeoutMs: 2_000 } }
  const [a, b] = await Promise.all([
    started(transport(), { ...options, instance: 'a' }),
    started(transport(), { ...options, instance: 'b' }),
  ])
  let loads = 0
  const load = (): { value: number; version: number } => ({ value: ++loads, version: loads })
  const config = b.bus.config('n', { schema: z.number(), initial: 0, load })
  const all = [a.bus.address, b.bus.address]
  const asking = { to: '**', ackTimeoutMs: 10_000 }
  expect(await a.bus.publish(Ping, { n: 1 }, asking)).toMatchObject({ acked: all, missing: [] })

  await server.kill()
  await until('both have noticed', () => [a, b].every(({ bus }) => bus.health().status === 'down'), 60_000)
  // The bus is down as soon as the transport is. It loses its subscription later, and may then have missed events.
  const hasLost = ({ binder }: typeof a): boolean => binder.bindings().every(({ state }) => state !== 'running')
  await until('both have lost their places', () => [a, b].every(hasLost), 60_000)
  await expect(a.bus.publish(Ping, { n: 2 }, { to: '**' })).rejects.toMatchObject({ code: 'binder.send' })
  expect(await a.bus.members()).toHaveLength(2)

  await server.start()
  await Promise.all([a, b].map(({ bus }) => bus.ready({ timeoutMs: 90_000, acks: true })))
  await until('b has read its config again', () => config.version >= 2)
  expect(await a.bus.members()).toHaveLength(2)
  expect(await a.bus.publish(Ping, { n: 3 }, asking)).toMatchObject({ acked: all, missing: [] })
  // The unconfirmed ping may have arrived, but none arrived twice.
  expect(a.pings.filter((n) => n !== 2)).toEqual([1, 3])
  expect(b.pings.filter((n) => n !== 2)).toEqual([1, 3])
}

describeWith(['rabbitmq'], 'a bus on a RabbitMQ that is killed', { private: true }, () => {
  it('continues when the broker is back: no member is dead, configs are read again, events are answered', async () => {
    const server = await startServer('rabbitmq')
    try {
      await survives(server, () => rabbitTransport({ url: server.url }))
    } finally {
      await server.stop()
    }
  })
})

describeWith(['kafka'], 'a bus on a Kafka that is killed', { private: true }, () => {
  it('continues when it is back, too', async () => {
    const server = await startServer('kafka')
    try {
      await survives(server, () => kafkaOn(server.url))
    } finally {
      await server.stop()
    }
  })
})
