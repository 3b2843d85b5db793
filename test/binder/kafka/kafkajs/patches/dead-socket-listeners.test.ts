import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { createBinder, defineChannel } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { silentLogger } from 'concordat/core'
import { Kafka, logLevel } from 'kafkajs'
import { expect, test } from 'vitest'
import { z } from 'zod'

/** An address without a listener. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { readonly port: number }
  server.close()
  await once(server, 'close')
  return port
}

interface Connection {
  readonly socket: { listenerCount(event: string): number } | null
  connect(): Promise<unknown>
  disconnect(): Promise<unknown>
}

test('a failed connection keeps no listeners, however often it is ended', async () => {
  const port = await closedPort()
  const kafka = new Kafka({ brokers: [`127.0.0.1:${port}`], logLevel: logLevel.NOTHING, retry: { retries: 0 } })
  const numbers = defineChannel('numbers', { payload: z.number() })
  // A binder attaches its transport, which patches kafkajs.
  const transport = kafkaTransport({ kafka })
  await createBinder({ service: 'counting', transport, sends: [numbers], logger: silentLogger }).close()
  const inside = createRequire(import.meta.url)
  const Connection = inside('kafkajs/src/network/connection.js') as new (options: object) => Connection
  const socketFactory = (inside('kafkajs/src/network/socketFactory.js') as () => unknown)()
  const logger = { namespace: () => silentLogger }
  const connection = new Connection({ host: '127.0.0.1', port, logger, socketFactory, connectionTimeout: 1_000 })
  await expect(connection.connect()).rejects.toThrow('ECONNREFUSED')
  for (let i = 0; i < 12; i++) await connection.disconnect()
  expect(connection.socket?.listenerCount('connect')).toBe(0)
})
