/** A broker that ends a connection with an answer to it: `amqplib` reads both in one go. */
import { createRequire } from 'node:module'
import { createServer, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { connect as amqpConnect } from 'amqplib'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { silentLogger, systemClock } from 'concordat/core'
import { describe, type ExpectStatic, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { RabbitTransportOptions } from '../../../support/inside/binder.ts'
import { uncaughtErrors } from '../../../support/uncaught-errors.ts'
import { until } from '../../../support/until.ts'

const require = createRequire(import.meta.url)
/** amqplib's definitions of the broker's replies. */
const defs = require(join(dirname(require.resolve('amqplib')), 'lib', 'defs.js')) as Readonly<
  Record<string, number>
> & {
  encodeMethod(id: number, channel: number, fields: object): Buffer
}

type Method = 'ConnectionOpen' | 'ChannelOpen' | 'ConfirmSelect'
const CLOSES = [
  [320, 'an operator, or a broker that stops'],
  [541, 'an error of the broker'],
] as const

/** @param last the method whose answer is the last of each connection @param replyCode why it ends */
async function brokerThatEnds(last: Method, replyCode: number) {
  const connections: Socket[] = []
  const server = createServer((socket) => {
    connections.push(socket)
    socket.on('error', () => {})
    const send = (method: string, channel: number, fields: object): Buffer =>
      defs.encodeMethod(defs[method] as number, channel, fields)
    const versions = { versionMajor: 0, versionMinor: 9, serverProperties: {} }
    const limits = { channelMax: 100, frameMax: 131_072, heartbeat: 0 }
    const close = { replyText: 'CONNECTION_FORCED - closed', replyCode, classId: 0, methodId: 0 }
    const onData = (data: Buffer): void => {
      const answer = (method: Method, channel: number): void => {
        const said = send(`${method}Ok`, channel, {})
        if (method === last) socket.end(Buffer.concat([said, send('ConnectionClose', 0, close)]))
        else socket.write(said)
      }
      if (has(data, 'ConnectionStartOk')) socket.write(send('ConnectionTune', 0, limits))
      else if (has(data, 'ConnectionOpen')) answer('ConnectionOpen', 0)
      else if (has(data, 'ChannelOpen')) answer('ChannelOpen', 1)
      else if (has(data, 'ConfirmSelect')) answer('ConfirmSelect', 1)
    }
    socket.once('data', () => socket.on('data', onData).write(send('ConnectionStart', 0, versions)))
  })
  onTestFinished(() => {
    for (const socket of connections) socket.destroy()
    server.close()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { url: `amqp://127.0.0.1:${address.port}`, connections }
}

function has(data: Buffer, method: string): boolean {
  const id = Buffer.alloc(4)
  id.writeUInt32BE(defs[method] as number)
  return data.includes(id)
}

const numbers = defineChannel('numbers', { payload: z.number() })
const SENDER = { sends: [numbers] }
const READER = { bindings: [sink(numbers, { group: 'g' }, () => {})] }

async function isMadeAgain(
  broker: { readonly connections: readonly Socket[] },
  options: RabbitTransportOptions,
  expect: ExpectStatic,
  who: typeof SENDER | typeof READER = SENDER,
): Promise<void> {
  const errors = uncaughtErrors()
  const transport = rabbitTransport({ ...options, provision: 'none' })
  const binder = createBinder({ service: 'test', transport, ...who, logger: silentLogger, sendTimeoutMs: 1_000 })
  onTestFinished(() => binder.close())
  binder
    .start()
    .then(() => (who === SENDER ? binder.send(numbers, 1) : undefined))
    .catch(() => {})
  await until('it was made again', () => broker.connections.length > 2)
  expect(errors).toEqual([])
}

describe.for(CLOSES)('closed with %d, %s: a connection', ([code]) => {
  it.for(['ConnectionOpen', 'ChannelOpen', 'ConfirmSelect'] as const)(
    'that ends with the answer to %s is opened again',
    async (last, { expect }) => {
      const broker = await brokerThatEnds(last, code)
      await isMadeAgain(broker, { url: broker.url }, expect)
    },
  )

  it.for(['ConnectionOpen', 'ChannelOpen'] as const)(
    'of a reader that ends with the answer to %s is opened again',
    async (last, { expect }) => {
      const broker = await brokerThatEnds(last, code)
      await isMadeAgain(broker, { url: broker.url }, expect, READER)
    },
  )
})

it('a connection of `connect` that had ended when it was handed over is made again', async ({ expect }) => {
  const broker = await brokerThatEnds('ConnectionOpen', 320)
  const connect = async () => {
    const connection = await amqpConnect(broker.url)
    await systemClock.sleep(100)
    return connection
  }
  await isMadeAgain(broker, { connect }, expect)
})
