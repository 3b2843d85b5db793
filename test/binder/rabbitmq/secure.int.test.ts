import { readFile } from 'node:fs/promises'
import { inspect } from 'node:util'
import { connect, credentials } from 'amqplib'
import { type Binder, createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { afterAll, beforeAll, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import type { RabbitTransportOptions } from '../../support/inside/binder.ts'
import { type Certificates, makeCertificates } from '../../support/servers/certificates.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { freePort } from '../../support/servers/ports.ts'
import { tlsSettings } from '../../support/servers/rabbitmq.ts'
import { until } from '../../support/until.ts'
import { memoryLogger } from '../support/memory-logger.ts'

const WRONG = 'hunter2-hunter2'

describeWith(['rabbitmq'], 'RabbitMQ over TLS', { private: true }, () => {
  let certificates: Certificates
  let server: PrivateServer
  let port: number

  beforeAll(async () => {
    certificates = await makeCertificates()
    port = await freePort()
    server = await startServer('rabbitmq', {
      settings: {
        ...tlsSettings(port, certificates),
        'auth_mechanisms.1': 'PLAIN',
        'auth_mechanisms.2': 'EXTERNAL',
        ssl_cert_login_from: 'common_name',
      },
      env: { RABBITMQ_ENABLED_PLUGINS: 'rabbitmq_auth_mechanism_ssl' },
    })
  }, 240_000)
  afterAll(async () => {
    await server?.stop()
    await certificates?.[Symbol.asyncDispose]()
  })

  const channel = defineChannel('secure', { payload: TestPayload, partitions: 1, groups: ['g'] })

  function setup(
    options: RabbitTransportOptions,
    password = 'guest',
  ): { readonly binder: Binder; readonly got: number[]; readonly shown: () => string } {
    const got: number[] = []
    const { logger, lines } = memoryLogger()
    const url = options.connect === undefined ? `amqps://guest:${password}@127.0.0.1:${port}` : undefined
    const transport = rabbitTransport({ url, ...options })
    const work = sink(channel, { group: 'g' }, ({ n }) => void got.push(n))
    const binder = createBinder({ service: 'secure', transport, bindings: [work], logger, sendTimeoutMs: 15_000 })
    onTestFinished(() => binder.close())
    const shown = (): string =>
      [binder.health(), binder.bindings(), binder.describe(), transport, binder, ...lines]
        .map((each) => `${inspect(each, { depth: 20, showHidden: true })}${JSON.stringify(each)}`)
        .join('\n')
    return { binder, got, shown }
  }

  it('sends and receives with the authority and the certificate it needs', async ({ expect }) => {
    const { binder, got } = setup({ tls: { ca: certificates.ca, ...certificates.client } })
    await binder.start()
    await binder.ready({ timeoutMs: 60_000 })
    await binder.send(channel, { key: 'k', n: 7 })
    await until('it came', () => got.includes(7))
    expect(binder.health().status).toBe('up')
  })

  /** Logs in as whom the certificate names. */
  const external =
    (own: { readonly cert: string; readonly key: string }): RabbitTransportOptions['connect'] =>
    (name) =>
      connect(`amqps://127.0.0.1:${port}?heartbeat=10`, {
        ca: certificates.ca,
        ...own,
        credentials: credentials.external(),
        clientProperties: { connection_name: name },
      })

  it('sends and receives as the user that its certificate names, without a password', async ({ expect }) => {
    const { binder, got } = setup({ connect: external(certificates.client) })
    await binder.start()
    await binder.ready({ timeoutMs: 60_000 })
    await binder.send(channel, { key: 'k', n: 8 })
    await until('it came', () => got.includes(8))
    expect(binder.health().status).toBe('up')
  })

  it('stays connecting with the reason when its certificate names no user', async ({ expect }) => {
    const [cert, key] = await Promise.all(
      [certificates.files.cert, certificates.files.key].map((file) => readFile(file)),
    )
    const own = { cert: String(cert), key: String(key) }
    const { binder, shown } = setup({ connect: external(own) })
    await binder.start()
    const says = /Check the user and password, or with EXTERNAL that the certificate names a user/
    await until('the state says why', () => says.test(binder.bindings()[0]?.error ?? ''))
    expect(binder.bindings()[0]?.state).toBe('connecting')
    expect(shown()).not.toContain('PRIVATE KEY')
  })

  it.for([
    ['a wrong password', 'ca', true, WRONG, 'refused', /Check the user and password/],
    ['an authority that did not sign', 'otherCa', true, 'guest', 'unavailable', /Check the authority to trust/],
    ['no certificate of its own', 'ca', false, 'guest', 'unavailable', /could not connect to RabbitMQ/],
  ] as const)(
    'with %s stays connecting with the reason, and shows no secret',
    async ([, ca, hasOwn, password, kind, says], { expect }) => {
      const { binder, shown } = setup(
        { tls: { ca: certificates[ca], ...(hasOwn ? certificates.client : {}) } },
        password,
      )
      await binder.start()
      await until('the state says why', () => says.test(binder.bindings()[0]?.error ?? ''))
      expect(binder.bindings()[0]?.state).toBe('connecting')
      expect(binder.health()).toMatchObject({ status: 'down', transport: { status: 'down' } })
      let notReady: unknown
      await until('ready() says why', async () => {
        notReady = await binder.ready({ timeoutMs: 1 }).catch((error: unknown) => error)
        return says.test(String(notReady))
      })
      let failed: unknown
      await until('a send says why', async () => {
        failed = await binder.send(channel, { key: 'k', n: 1 }).catch((error: unknown) => error)
        return says.test(String(failed))
      })
      expect(failed).toMatchObject({ code: 'binder.send', retryable: true, cause: { kind } })
      const all = [shown(), inspect(notReady, { depth: 20 }), inspect(failed, { depth: 20, showHidden: true })].join(
        '\n',
      )
      expect(all).toContain('binding has no subscription, connecting')
      expect(all).not.toContain(WRONG)
      expect(all).not.toContain('PRIVATE KEY')
    },
  )
})
