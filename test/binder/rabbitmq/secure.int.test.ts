import { readFile } from 'node:fs/promises'
import { connect, credentials } from 'amqplib'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { afterAll, beforeAll, it } from 'vitest'
import type { RabbitTransportOptions } from '../../support/inside/binder.ts'
import { type Certificates, makeCertificates } from '../../support/servers/certificates.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { freePort } from '../../support/servers/ports.ts'
import { tlsSettings } from '../../support/servers/rabbitmq.ts'
import {
  expectConnecting,
  expectExchange,
  expectRefused,
  type SecureService,
  secureService,
} from '../support/secure-service.ts'

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

  function setup(options: RabbitTransportOptions, password = 'guest'): SecureService {
    const url = options.connect === undefined ? `amqps://guest:${password}@127.0.0.1:${port}` : undefined
    return secureService(rabbitTransport({ url, ...options }))
  }

  it('sends and receives with the authority and the certificate it needs', async ({ expect }) => {
    const service = setup({ tls: { ca: certificates.ca, ...certificates.client } })
    await expectExchange(service)
    expect(service.binder.health().status).toBe('up')
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
    const service = setup({ connect: external(certificates.client) })
    await expectExchange(service)
    expect(service.binder.health().status).toBe('up')
  })

  it('stays connecting with the reason when its certificate names no user', async ({ expect }) => {
    const [cert, key] = await Promise.all(
      [certificates.files.cert, certificates.files.key].map((file) => readFile(file)),
    )
    const own = { cert: String(cert), key: String(key) }
    const service = setup({ connect: external(own) })
    await expectConnecting(service, /Check the user and password, or with EXTERNAL that the certificate names a user/)
    expect(service.shown()).not.toContain('PRIVATE KEY')
  })

  it.for([
    ['a wrong password', 'ca', true, WRONG, 'refused', /Check the user and password/],
    ['an authority that did not sign', 'otherCa', true, 'guest', 'unavailable', /Check the authority to trust/],
    ['no certificate of its own', 'ca', false, 'guest', 'unavailable', /could not connect to RabbitMQ/],
  ] as const)(
    'with %s stays connecting with the reason, and shows no secret',
    async ([, ca, hasOwn, password, kind, says]) => {
      const tls = { ca: certificates[ca], ...(hasOwn ? certificates.client : {}) }
      await expectRefused(setup({ tls }, password), says, kind, [WRONG, 'PRIVATE KEY'])
    },
  )
})
