import { randomBytes } from 'node:crypto'
import { connect } from 'amqplib'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { runCommandOutput } from '../../support/servers/command.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { nodeName, toolPath } from '../../support/servers/rabbitmq.ts'
import { until } from '../../support/until.ts'

const PASSWORD = 'correct-horse-battery'
/** Queue in which `payments` delays failed messages. */
const RETRIES = 'pay.commands.pay.retry'
const AUTH = 'rabbit_auth_backend_internal'

/** Rights that docs/production/permissions.md lists for a service, for channels that begin with `prefix`. */
function rightsOf(prefix: string, service: string): Rights {
  const own = `^(${prefix}\\..*|concordat:delay:${service}:.*)$`
  return { configure: own, write: `^(${prefix}\\..*|concordat:delay:${service}:.*|[0-9]+)$`, read: own }
}

interface Rights {
  readonly configure: string
  readonly write: string
  readonly read: string
}

describeWith(['rabbitmq'], 'accounts of RabbitMQ with rights by channel', { private: true }, () => {
  const cookie = randomBytes(12).toString('hex')
  let server: PrivateServer

  beforeAll(async () => {
    server = await startServer('rabbitmq', {
      env: { RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `+sbwt none +sbwtdcpu none +sbwtdio none -setcookie ${cookie}` },
    })
    await addUser('payments', rightsOf('pay', 'payments'))
    await addUser('mallory', rightsOf('mallory', 'mallory'))
    await addUser('shop', { configure: '^$', write: '^pay\\.commands$', read: '^$' })
  }, 240_000)
  afterAll(() => server?.stop())

  async function addUser(name: string, { configure, write, read }: Rights): Promise<void> {
    const text = (value: string): string => `<<"${value.replaceAll('\\', '\\\\')}">>`
    const rights = [configure, write, read].map(text).join(', ')
    const code =
      `${AUTH}:add_user(${text(name)}, ${text(PASSWORD)}, <<"test">>), ` +
      `${AUTH}:set_permissions(${text(name)}, <<"/">>, ${rights}, <<"test">>)`
    const node = nodeName(Number(new URL(server.url).port))
    const args = ['--erlang-cookie', cookie, '-n', node, '-q', 'eval', `${code}.`]
    await runCommandOutput({ file: toolPath('rabbitmqctl'), args }, '/')
  }

  function urlOf(user: string): string {
    const url = new URL(server.url)
    url.username = user
    url.password = PASSWORD
    return url.href
  }

  /** Makes one attempt on a channel of its own, since a refusal closes it. @returns the reply code of the refusal */
  async function refusal(work: (channel: AmqpChannel) => Promise<unknown>): Promise<number | undefined> {
    const connection = await connect(urlOf('mallory'))
    connection.on('error', () => {})
    try {
      const channel = await connection.createConfirmChannel()
      const closed = new Promise<number | undefined>((resolve) => {
        channel.on('error', (error: { code?: number }) => resolve(error.code))
      })
      return await Promise.race([closed, work(channel).then(() => undefined)])
    } catch (error) {
      return (error as { code?: number }).code
    } finally {
      await connection.close().catch(() => {})
    }
  }

  const forged = (channel: AmqpChannel, exchange: string): Promise<void> => {
    const headers = { 'concordat-delay-to': RETRIES, 'concordat-retry-attempts': 0 }
    const body = Buffer.from(JSON.stringify({ key: 'k', n: 666 }))
    channel.publish(exchange, '0', body, { headers, messageId: 'forged', contentType: 'application/json' })
    return channel.waitForConfirms()
  }

  it('a right to delay messages of its own takes an account into no other channel', async () => {
    const commands = defineChannel('pay.commands', { payload: TestPayload, partitions: 1, groups: ['pay'] })
    const calls: number[] = []
    const pay = sink(
      commands,
      { group: 'pay', retry: 'delayed', backoff: { initialMs: 100, maxMs: 100 } },
      ({ n }, { attempt }) => {
        calls.push(n)
        if (attempt === 1) throw new Error('not yet')
      },
    )
    const transport = rabbitTransport({ url: urlOf('payments') })
    const payments = createBinder({ service: 'payments', transport, bindings: [pay] })
    onTestFinished(() => payments.close())
    await payments.start()
    await payments.ready({ timeoutMs: 60_000 })

    const shop = createBinder({
      service: 'shop',
      transport: rabbitTransport({ url: urlOf('shop'), provision: 'none' }),
      sends: [commands],
    })
    onTestFinished(() => shop.close())
    await shop.start()
    await shop.send(commands, { key: 'k', n: 1 })
    await until('it was delayed and came again', () => calls.length === 2)

    const own = defineChannel('mallory.notes', { payload: TestPayload, partitions: 1, groups: ['g'] })
    const notes: number[] = []
    const mallory = createBinder({
      service: 'mallory',
      transport: rabbitTransport({ url: urlOf('mallory') }),
      bindings: [sink(own, { group: 'g' }, ({ n }) => void notes.push(n))],
    })
    onTestFinished(() => mallory.close())
    await mallory.start()
    await mallory.ready({ timeoutMs: 60_000 })
    await mallory.send(own, { key: 'k', n: 2 }, { delayMs: 100 })
    await until('a delayed message of its own came', () => notes.length === 1)

    const exchanges = ['pay.commands', RETRIES]
    for (const level of [0, 1, 24]) exchanges.push(`concordat:delay:payments:level:${level}`)
    exchanges.push('concordat:delay:payments:due')
    for (const exchange of exchanges) expect(await refusal((channel) => forged(channel, exchange))).toBe(403)

    const stolen = { deadLetterExchange: RETRIES, messageTtl: 1 }
    expect(await refusal((channel) => channel.assertQueue('mallory.thief', stolen))).toBe(403)
    expect(
      await refusal((channel) => channel.assertExchange('mallory.thief', 'fanout', { alternateExchange: RETRIES })),
    ).toBe(403)
    await refusal(async (channel) => {
      await channel.assertQueue('mallory.queue')
      await channel.bindQueue('mallory.queue', 'concordat:delay:payments:due', '')
    }).then((code) => expect(code).toBe(403))

    // Through its own ladder the message is confirmed, and delivered nowhere.
    expect(await refusal((channel) => forged(channel, 'concordat:delay:mallory:level:0'))).toBeUndefined()
    await shop.send(commands, { key: 'k', n: 3 })
    await until('what was sent after it came twice', () => calls.filter((n) => n === 3).length === 2)
    expect(calls).toEqual([1, 1, 3, 3])
  })
})

type AmqpChannel = Awaited<ReturnType<Awaited<ReturnType<typeof connect>>['createConfirmChannel']>>
