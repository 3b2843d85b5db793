import { inspect } from 'node:util'
import { type Binder, createBinder, defineChannel, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { Kafka, type KafkaConfig, logLevel } from 'kafkajs'
import { afterAll, beforeAll, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { type Certificates, makeCertificates } from '../../support/servers/certificates.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { freePort } from '../../support/servers/ports.ts'
import { until } from '../../support/until.ts'
import { memoryLogger } from '../support/memory-logger.ts'

const PASSWORD = 'correct-horse-battery'
const WRONG = 'hunter2-hunter2'

describeWith(['kafka'], 'Kafka over TLS with a password', { private: true }, () => {
  let certificates: Certificates
  let server: PrivateServer
  let port: number

  beforeAll(async () => {
    certificates = await makeCertificates()
    port = await freePort()
    server = await startServer('kafka', {
      settings: {
        listeners: `PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{innerPort},SECURE://127.0.0.1:${port}`,
        'advertised.listeners': `PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:${port}`,
        'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL',
        'listener.name.secure.ssl.keystore.type': 'PEM',
        'listener.name.secure.ssl.keystore.location': certificates.files.keyAndCert,
        'listener.name.secure.sasl.enabled.mechanisms': 'PLAIN',
        'listener.name.secure.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required user_app="${PASSWORD}";`,
      },
    })
  }, 240_000)
  afterAll(async () => {
    await server?.stop()
    await certificates?.[Symbol.asyncDispose]()
  })

  const channel = defineChannel('secure', { payload: TestPayload, partitions: 1, groups: ['g'] })

  function setup(config: Partial<KafkaConfig>): {
    readonly binder: Binder
    readonly got: number[]
    readonly shown: () => string
  } {
    const kafka = new Kafka({
      brokers: [`127.0.0.1:${port}`],
      clientId: 'secure',
      logLevel: logLevel.NOTHING,
      ...config,
    })
    const got: number[] = []
    const { logger, lines } = memoryLogger()
    const transport = kafkaTransport({ kafka, connectTimeoutMs: 15_000 })
    const work = sink(channel, { group: 'g' }, ({ n }) => void got.push(n))
    const binder = createBinder({ service: 'secure', transport, bindings: [work], logger, sendTimeoutMs: 15_000 })
    onTestFinished(() => binder.close())
    const shown = (): string =>
      [binder.health(), binder.bindings(), binder.describe(), transport, binder, ...lines]
        .map((each) => `${inspect(each, { depth: 20, showHidden: true })}${JSON.stringify(each)}`)
        .join('\n')
    return { binder, got, shown }
  }

  it('sends and receives with the authority and the password it needs', async ({ expect }) => {
    const { binder, got, shown } = setup({
      ssl: { ca: [certificates.ca] },
      sasl: { mechanism: 'plain', username: 'app', password: PASSWORD },
    })
    await binder.start()
    await binder.ready({ timeoutMs: 60_000 })
    await binder.send(channel, { key: 'k', n: 7 })
    await until('it came', () => got.includes(7))
    expect(shown()).not.toContain(PASSWORD)
  })

  it.for([
    ['a wrong password', 'ca', WRONG, 'refused', /Check the user, the password and the mechanism/],
    ['an authority that did not sign', 'otherCa', PASSWORD, 'unavailable', /certificate.*Check the authority to trust/],
  ] as const)(
    'with %s it is connecting, says why, and shows no secret',
    async ([, ca, password, kind, says], { expect }) => {
      const { binder, shown } = setup({
        ssl: { ca: [certificates[ca]] },
        sasl: { mechanism: 'plain', username: 'app', password },
      })
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
      expect(all).not.toContain(PASSWORD)
      expect(all).not.toContain(WRONG)
    },
  )

  it('without TLS it is connecting and says so', async ({ expect }) => {
    const { binder } = setup({})
    await binder.start()
    await until('it says so', () => binder.bindings()[0]?.error?.startsWith('kafka: ') === true)
    expect(binder.bindings()[0]?.state).toBe('connecting')
  })
})
