import { createServer, type Socket } from 'node:net'
import { Connection, NetworkError, UserError } from '@platformatic/kafka'
import type { TransportError } from 'concordat/binder'
import { platformaticTransport } from 'concordat/binder/kafka/platformatic'
import { silentLogger, systemClock } from 'concordat/core'
import { describe, it, onTestFinished } from 'vitest'

/** A port of which each connection is answered so. */
async function setup(onBytes: (socket: Socket) => unknown): Promise<string> {
  const server = createServer((socket) => socket.on('error', () => {}).once('data', () => onBytes(socket)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return `127.0.0.1:${(server.address() as { readonly port: number }).port}`
}

async function failureOf(kafka: Parameters<typeof platformaticTransport>[0]['kafka']): Promise<TransportError> {
  const transport = platformaticTransport({ kafka, connectTimeoutMs: 10_000, requestTimeoutMs: 10_000 })
  onTestFinished(() => transport.close())
  transport.attach({ service: 'shop', instance: 'shop-1', logger: silentLogger, clock: systemClock })
  return transport.provision([{ name: 'orders', partitions: 1, groups: [] }]).then(
    () => Promise.reject(new Error('it was provisioned')),
    (error: TransportError) => error,
  )
}

/** TLS alert that a server sends for a ClientHello it does not understand. */
const TLS_ALERT = Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46])
const AWAY = 'Check that the brokers are up and reachable'

describe('a connection on platformatic that options keep from being made', () => {
  it.for([
    ['of the wrong kind', { tls: { ca: 5 } }],
    ['that Node does not know', { tls: { minVersion: 'TLSv9' } }],
  ] as const)('is not tried again: `tls` %s', async ([, options], { expect }) => {
    const error = await failureOf({ Connection, bootstrapBrokers: ['127.0.0.1:9'], ...options })
    expect(error).toMatchObject({ kind: 'mismatch', retryable: false })
    expect(error.message).not.toContain(AWAY)
    expect(error.message).toMatch(/`tls`/)
  })

  it('is not tried again when the class is another one than it should be', async ({ expect }) => {
    class Other extends Connection {
      override connect(): never {
        throw new TypeError('other.shake is not a function')
      }
    }
    const error = await failureOf({ Connection: Other, bootstrapBrokers: ['127.0.0.1:9'] })
    expect(error).toMatchObject({ kind: 'mismatch', retryable: false })
    expect(error.message).toContain('other.shake is not a function. Check `Connection`, `tls` and `sasl` of `kafka`')
  })

  it('is not tried again when the library calls it an error of its user', async ({ expect }) => {
    class Picky extends Connection {
      override async connect(): Promise<void> {
        throw new NetworkError('failed', { cause: new UserError('SASL mechanism X not supported.') })
      }
    }
    const error = await failureOf({ Connection: Picky, bootstrapBrokers: ['127.0.0.1:9'] })
    expect(error).toMatchObject({ kind: 'mismatch', retryable: false })
  })
})

describe('a connection on platformatic that is made lazily', () => {
  it('is tried again when the port speaks TLS, with the hint that `tls` is missing', async ({ expect }) => {
    const port = await setup((socket) => socket.end(TLS_ALERT))
    const error = await failureOf({ Connection, bootstrapBrokers: [port] })
    expect(error).toMatchObject({ kind: 'unavailable', retryable: true })
    expect(error.message).toContain('Give `tls` of `kafka`')
  })

  it('is tried again when it ends before TLS, as in a restart, with other possible causes', async ({ expect }) => {
    const port = await setup((socket) => socket.destroy())
    const error = await failureOf({ Connection, bootstrapBrokers: [port], tls: {} })
    expect(error).toMatchObject({ kind: 'unavailable', retryable: true })
    expect(error.message).toContain('Check that the brokers are up, and that this port speaks TLS')
  })

  it('is tried again when a password cannot be fetched', async ({ expect }) => {
    const port = await setup((socket) => socket.destroy())
    const password = (): Promise<string> => Promise.reject(new TypeError('fetch failed'))
    const error = await failureOf({
      Connection,
      bootstrapBrokers: [port],
      sasl: { mechanism: 'PLAIN', username: 'app', password },
    })
    expect(error).toMatchObject({ retryable: true })
  })
})
