import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { runCommandOutput } from '../../support/servers/command.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { nodeName, toolPath } from '../../support/servers/rabbitmq.ts'
import { until } from '../../support/until.ts'
import { memoryLogger } from '../support/memory-logger.ts'

const PASSWORD = 'correct-horse-battery'
const AUTH = 'rabbit_auth_backend_internal'
const ALL = '<<".*">>'
const GRANT = `${AUTH}:set_permissions(<<"app">>, <<"/">>, ${ALL}, ${ALL}, ${ALL}, <<"test">>)`
const ADD = `${AUTH}:add_user(<<"app">>, <<"${PASSWORD}">>, <<"test">>), ${GRANT}`

/** Each is taken from a service that runs, and given back. */
const TAKEN = [
  { what: 'the rights', take: `${AUTH}:clear_permissions(<<"app">>, <<"/">>, <<"test">>)`, give: GRANT },
  {
    what: 'the right to write and configure',
    take: `${AUTH}:set_permissions(<<"app">>, <<"/">>, <<"^$">>, <<"^$">>, ${ALL}, <<"test">>)`,
    give: GRANT,
  },
  {
    what: 'the password',
    take: `${AUTH}:change_password(<<"app">>, <<"another">>, <<"test">>)`,
    give: `${AUTH}:change_password(<<"app">>, <<"${PASSWORD}">>, <<"test">>)`,
  },
  { what: 'the user', take: `${AUTH}:delete_user(<<"app">>, <<"test">>)`, give: ADD },
] as const
const SAYS = /Check the virtual host|Check the user and password|Grant the user configure, write and read/

describeWith(['rabbitmq'], 'a user of RabbitMQ that loses its permissions', { private: true }, () => {
  const cookie = randomBytes(12).toString('hex')
  let server: PrivateServer

  beforeAll(async () => {
    server = await startServer('rabbitmq', {
      env: { RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `+sbwt none +sbwtdcpu none +sbwtdio none -setcookie ${cookie}` },
    })
    await evaluate(ADD)
  }, 240_000)
  afterAll(() => server?.stop())

  async function evaluate(code: string): Promise<void> {
    const node = nodeName(Number(new URL(server.url).port))
    const args = ['--erlang-cookie', cookie, '-n', node, '-q', 'eval', `${code}.`]
    await runCommandOutput({ file: toolPath('rabbitmqctl'), args }, '/')
  }

  it.for(TAKEN)(
    '$what: reports why, and continues by itself when the permission is back',
    async ({ what, take, give }) => {
      const channel = defineChannel(`rights.${what.replaceAll(' ', '-')}`, {
        payload: TestPayload,
        partitions: 2,
        groups: ['g'],
      })
      const url = new URL(server.url)
      url.username = 'app'
      url.password = PASSWORD
      const { logger, lines } = memoryLogger()
      const got: number[] = []
      const work = sink(channel, { group: 'g' }, ({ n }) => void got.push(n))
      const transport = rabbitTransport({ url: url.href })
      const binder = createBinder({ service: 'rights', transport, bindings: [work], logger, sendTimeoutMs: 3_000 })
      onTestFinished(() => binder.close())
      await binder.start()
      await binder.ready({ timeoutMs: 60_000 })
      await binder.send(channel, { key: 'k', n: 1 })
      await until('it came', () => got.includes(1))

      await evaluate(`${take}, rabbit_networking:close_all_user_connections(<<"app">>, "rights")`)
      await until('the binding says why', () => SAYS.test(binder.bindings()[0]?.error ?? ''))
      expect(binder.bindings()[0]?.state).toBe('connecting')
      const failed = await binder.send(channel, { key: 'k', n: 2 }).catch((error: unknown) => error)
      expect(failed).toMatchObject({ code: 'binder.send', retryable: true })
      expect(binder.bindings()[0]?.state).toBe('connecting')

      await evaluate(give)
      await binder.ready({ timeoutMs: 60_000 })
      await until('a send works again', () =>
        binder.send(channel, { key: 'k', n: 3 }).then(
          () => true,
          () => false,
        ),
      )
      await until('it came', () => got.includes(3))
      expect(binder.bindings()[0]).toMatchObject({ state: 'running', deadLettered: 0 })
      expect(inspect([failed, lines, binder.health()], { depth: 20 })).not.toContain(PASSWORD)
    },
  )

  it('a publisher without its write permission waits, on its existing connection', async () => {
    const channel = defineChannel('rights.open', { payload: TestPayload, partitions: 1, groups: ['g'] })
    const url = new URL(server.url)
    url.username = 'app'
    url.password = PASSWORD
    const transport = rabbitTransport({ url: url.href })
    const binder = createBinder({ service: 'rights', transport, sends: [channel], sendTimeoutMs: 3_000 })
    onTestFinished(() => binder.close())
    await binder.start()
    await evaluate(`${AUTH}:set_permissions(<<"app">>, <<"/">>, ${ALL}, <<"^$">>, ${ALL}, <<"test">>)`)
    const failed = await binder.send(channel, { key: 'k', n: 1 }).catch((error: unknown) => error)
    expect(failed).toMatchObject({ code: 'binder.send', retryable: true, cause: { kind: 'refused' } })
    expect(String(failed)).toMatch(/Grant the user configure, write and read/)
    await evaluate(GRANT)
    await binder.send(channel, { key: 'k', n: 2 })
  })
})
