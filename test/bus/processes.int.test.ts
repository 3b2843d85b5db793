import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { Shutdown } from 'concordat/bus'
import { afterEach, expect, it } from 'vitest'
import { started } from '../conformance/bus-kit.ts'
import { Ping, type Report, SECRET } from '../support/bus/contract.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

interface Process {
  readonly child: ChildProcess
  readonly reports: Report[]
}

const running: Process[] = []

async function start(channel: string, service: string, instance: string): Promise<Process> {
  const program = fileURLToPath(new URL('../support/bus/instance.ts', import.meta.url))
  const args = [serverUrl('rabbitmq') as string, channel, service, instance]
  const child = fork(program, args, { execArgv: ['--conditions=concordat-source'] })
  const reports: Report[] = []
  child.on('message', (report) => reports.push(report as Report))
  running.push({ child, reports })
  await until(`${instance} is ready`, () => reports.some(({ did }) => did === 'ready'))
  return { child, reports }
}

async function signal({ child }: Process, name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = name === 'SIGKILL' ? once(child, 'exit') : undefined
  child.kill(name)
  await gone
}

const pings = ({ reports }: Process): number[] => reports.flatMap((each) => (each.did === 'ping' ? [each.n] : []))

describeWith(['rabbitmq'], 'three services in processes', () => {
  afterEach(async () => {
    await Promise.all(running.splice(0).map((each) => signal(each, 'SIGKILL')))
  })

  it('a killed instance is named as missing, then forgotten; a frozen one is missing and gets the event when it thaws', async () => {
    const channel = `b${randomUUID().slice(0, 8)}`
    const [orders, stock, payments] = await Promise.all([
      start(channel, 'orders', 'orders-1'),
      start(channel, 'stock', 'stock-1'),
      start(channel, 'payments', 'payments-1'),
    ])
    const transport = rabbitTransport({ url: serverUrl('rabbitmq') as string })
    const { bus } = await started(transport, {
      service: 'operator',
      instance: 'o',
      channel,
      secret: SECRET,
      heartbeatMs: 1_000,
    })
    const all = ['operator', 'orders', 'payments', 'stock'].map((name) =>
      name === 'operator' ? 'operator:default:o' : `${name}:default:${name}-1`,
    )
    await until('they know each other', async () => (await bus.members()).length === 4)
    expect(await bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 10_000 })).toMatchObject({
      acked: all,
      missing: [],
    })

    await signal(stock, 'SIGKILL')
    const afterKill = await bus.publish(Ping, { n: 2 }, { to: '**', ackTimeoutMs: 600 })
    expect(afterKill.missing).toEqual(['stock:default:stock-1'])
    expect(afterKill.acked).toHaveLength(3)
    await until('it is dead', async () => (await bus.members()).length === 3)

    await signal(payments, 'SIGSTOP')
    const whileFrozen = await bus.publish(Ping, { n: 3 }, { to: 'payments:**', ackTimeoutMs: 600 })
    expect(whileFrozen).toMatchObject({ acked: [], missing: ['payments:default:payments-1'] })
    await signal(payments, 'SIGCONT')
    await until('it has handled the event', () => pings(payments).includes(3))

    expect([pings(orders), pings(payments)]).toEqual([
      [1, 2],
      [1, 2, 3],
    ])
    const gone = once(orders.child, 'exit')
    const shutdown = await bus.publish(Shutdown, { reason: 'the end' }, { to: 'orders:**', ackTimeoutMs: 10_000 })
    expect(shutdown.acked).toEqual(['orders:default:orders-1'])
    expect(await gone).toEqual([0, null])
  })
})
