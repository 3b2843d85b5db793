import { randomBytes } from 'node:crypto'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { type Certificates, makeCertificates } from '../../support/servers/certificates.ts'
import { runCommandOutput } from '../../support/servers/command.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { freePort } from '../../support/servers/ports.ts'
import { nodeName, tlsSettings, toolPath } from '../../support/servers/rabbitmq.ts'
import { until } from '../../support/until.ts'

describeWith(['rabbitmq'], 'certificates of RabbitMQ and its clients that expire', { private: true }, () => {
  const cookie = randomBytes(12).toString('hex')
  let certificates: Certificates
  let server: PrivateServer
  let port: number
  let own: { cert: string; key: string }

  beforeAll(async () => {
    certificates = await makeCertificates()
    port = await freePort()
    server = await startServer('rabbitmq', {
      settings: tlsSettings(port, certificates),
      env: { RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `+sbwt none +sbwtdcpu none +sbwtdio none -setcookie ${cookie}` },
    })
  }, 240_000)
  beforeEach(() => {
    own = { ...certificates.client }
  })
  afterAll(async () => {
    await server?.stop()
    await certificates?.[Symbol.asyncDispose]()
  })

  /** Closes all connections, as happens sooner or later after a renewal. */
  async function breakConnections(): Promise<void> {
    const args = ['--erlang-cookie', cookie, '-n', nodeName(Number(new URL(server.url).port)), '-q', 'eval']
    const code = 'ssl:clear_pem_cache(), rabbit_networking:close_all_user_connections(<<"guest">>, "renewed").'
    await runCommandOutput({ file: toolPath('rabbitmqctl'), args: [...args, code] }, '/')
  }

  async function setup(name: string) {
    const channel = defineChannel(`certificates.${name}`, { payload: TestPayload, partitions: 1, groups: ['g'] })
    const got: number[] = []
    const url = `amqps://guest:guest@127.0.0.1:${port}`
    const transport = rabbitTransport({ url, tls: () => ({ ca: certificates.ca, ...own }) })
    const work = sink(channel, { group: 'g' }, ({ n }) => void got.push(n))
    const binder = createBinder({ service: 'certificates', transport, bindings: [work], sendTimeoutMs: 3_000 })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready({ timeoutMs: 60_000 })
    const comes = async (n: number): Promise<void> => {
      await until(`${n} is sent`, () =>
        binder.send(channel, { key: 'k', n }).then(
          () => true,
          () => false,
        ),
      )
      await until('it came', () => got.includes(n))
    }
    await comes(1)
    return { binder, comes }
  }

  it('the broker’s own: reports the expiry, and continues with its replacement', async () => {
    const { binder, comes } = await setup('of-broker')
    await certificates.renewServer('expired')
    await breakConnections()
    await until('the binding says why', () => /certificate has expired/.test(binder.bindings()[0]?.error ?? ''))
    expect(binder.bindings()[0]?.error).toMatch(/Check the authority to trust and the certificate/)
    expect(binder.bindings()[0]?.state).toBe('connecting')
    await certificates.renewServer('good')
    await breakConnections()
    await comes(2)
    expect(binder.bindings()[0]?.state).toBe('running')
  })

  it('a client’s: is refused, and continues with the one that `tls` reads at the next connection', async () => {
    const { binder, comes } = await setup('of-client')
    own = { ...own, cert: await certificates.renewClient('expired') }
    await breakConnections()
    await until('the binding has no connection', () => binder.bindings()[0]?.state === 'connecting')
    await until('the binding says why', () => /could not connect to RabbitMQ/.test(binder.bindings()[0]?.error ?? ''))
    own = { ...own, cert: await certificates.renewClient('good') }
    await comes(2)
    expect(binder.bindings()[0]?.state).toBe('running')
  })
})
