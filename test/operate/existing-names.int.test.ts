/** Groups and queues that another program named: the command line finds them by what `concordat.config.ts` exports. */
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'amqplib'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { createDatabase } from '../outbox/support/postgres.ts'
import { kafkajsOn } from '../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { ranHere } from './support/cli.ts'

/** A folder's module with a sink of the channel in the group `billing`, and these names at the broker. */
async function moduleWith(channel: string, names: object): Promise<string> {
  const input = { name: channel, partitions: 1, groups: ['billing'] }
  const service = { name: 'shop', bindings: [{ kind: 'sink', input, options: { group: 'billing' } }] }
  const path = join(await mkdtemp(join(tmpdir(), 'concordat-names-')), 'concordat.config.mjs')
  const lines = Object.entries({ service, ...names }).map(
    ([name, value]) => `export const ${name} = ${JSON.stringify(value)}`,
  )
  await writeFile(path, lines.join('\n'))
  return path
}

async function lagOf(module: string, broker: 'kafka' | 'rabbitmq'): Promise<string> {
  const database = await createDatabase()
  onTestFinished(() => database.drop())
  const where = ['--postgres', database.url, `--${broker}`, serverUrl(broker) as string]
  return (await ranHere(['lag', module, ...where], {})).stdout
}

describeWith(['postgres', 'kafka'], 'npx concordat lag with `groupIds`', () => {
  test('counts what the named Kafka group has not committed, and says so where no name is given', async () => {
    const name = uniqueName('named')
    const orders = defineChannel(name, { payload: z.number(), partitions: 1, groups: ['billing'] })
    const groupIds = { [name]: { billing: `${name}-v3` } }
    const handled: number[] = []
    const binder = createBinder({
      service: 'shop',
      transport: kafkajsOn(serverUrl('kafka') as string, { groupIds }),
      bindings: [sink(orders, { group: 'billing' }, (n) => void handled.push(n))],
    })
    await binder.start()
    await binder.sendBatch(orders, [1, 2, 3])
    await until('all are handled', () => handled.length === 3)
    await binder.close()
    expect(await lagOf(await moduleWith(name, { groupIds }), 'kafka')).toMatch(new RegExp(`${name}\\s+billing\\s+0\\b`))
    expect(await lagOf(await moduleWith(name, {}), 'kafka')).toContain('has committed nothing')
  })
})

describeWith(['postgres', 'rabbitmq'], 'npx concordat lag with `places`', () => {
  test('counts what is ready in the queue of another program', async () => {
    const name = uniqueName('placed')
    const connection = await connect(serverUrl('rabbitmq') as string)
    onTestFinished(() => connection.close())
    const channel = await connection.createConfirmChannel()
    await channel.assertQueue(`${name}-q`, { durable: true, arguments: { 'x-single-active-consumer': true } })
    channel.sendToQueue(`${name}-q`, Buffer.from('1'))
    await channel.waitForConfirms()
    const places = { [name]: { queues: { billing: `${name}-q` } } }
    expect(await lagOf(await moduleWith(name, { places }), 'rabbitmq')).toMatch(
      new RegExp(`${name}\\s+billing\\s+1\\b`),
    )
    await channel.deleteQueue(`${name}-q`)
  })
})
