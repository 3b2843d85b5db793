/** Groups and queues that another program named: the command line finds them by what `concordat.config.ts` exports. */
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createOperator } from '@concordat/cli'
import { connect } from 'amqplib'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/extension'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { createDatabase } from '../outbox/support/postgres.ts'
import { kafkajsOn } from '../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { ranHere } from './support/cli.ts'

const BINDER = new URL('../../binder/index.ts', import.meta.url).href

/** A module with a sink of the channel in the group `billing`, and these names at the broker. */
async function moduleWith(channel: string, names: object): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'concordat-names-')), 'concordat.config.mjs')
  const exported = Object.entries(names).map(([name, value]) => `export const ${name} = ${JSON.stringify(value)}`)
  await writeFile(
    path,
    `import { defineChannel, sink } from '${BINDER}'
const payload = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } }
const orders = defineChannel('${channel}', { payload, partitions: 1, groups: ['billing'] })
export const shop = { name: 'shop', bindings: [sink(orders, { group: 'billing' }, () => {})] }
${exported.join('\n')}`,
  )
  return path
}

async function lagOf(module: string, broker: 'kafka' | 'rabbitmq'): Promise<string> {
  const database = await createDatabase()
  onTestFinished(() => database.drop())
  const where = ['--postgres', database.url, `--${broker}`, serverUrl(broker) as string]
  const { stdout, stderr } = await ranHere(['lag', module, ...where], {})
  return `${stdout}${stderr}`
}

const onKafka = uniqueName('named')
const groupIds = { [onKafka]: { billing: `${onKafka}-v3` } }
const onRabbit = uniqueName('placed')
const places = { [onRabbit]: { queues: { billing: `${onRabbit}-q` } } }

/** Runs a sink of the group `billing` until `handled` messages of it have been handled. */
async function consume(name: string, transport: Transport, handled: number): Promise<void> {
  const orders = defineChannel(name, { payload: z.number(), partitions: 1, groups: ['billing'] })
  const bindings = [sink(orders, { group: 'billing' }, () => {})]
  const binder = createBinder({ service: 'shop', transport, bindings, sends: [orders] })
  await binder.start()
  for (let n = 0; n < handled; n++) await binder.send(orders, n)
  await until('all are handled', () => binder.bindings()[0]?.handled === handled)
  await binder.close()
}

describeWith(['postgres', 'kafka', 'rabbitmq'], 'npx concordat lag', () => {
  // A process that has read declarations starts nothing any more.
  beforeAll(async () => {
    await consume(onKafka, kafkajsOn(serverUrl('kafka') as string, { groupIds }), 3)
    const connection = await connect(serverUrl('rabbitmq') as string)
    const channel = await connection.createConfirmChannel()
    await channel.assertQueue(`${onRabbit}-q`, { durable: true, arguments: { 'x-single-active-consumer': true } })
    await consume(onRabbit, rabbitTransport({ url: serverUrl('rabbitmq') as string, places }), 0)
    channel.sendToQueue(`${onRabbit}-q`, Buffer.from('1'))
    await channel.waitForConfirms()
    await connection.close()
  }, 60_000)

  test('counts what the Kafka group of `groupIds` has not committed, and says so where no name is given', async () => {
    const line = new RegExp(`${onKafka}\\s+billing\\s+0\\b`)
    expect(await lagOf(await moduleWith(onKafka, { groupIds }), 'kafka')).toMatch(line)
    expect(await lagOf(await moduleWith(onKafka, {}), 'kafka')).toContain('has committed nothing')
  })

  test('counts what is ready in the queue of `places`', async () => {
    const line = new RegExp(`${onRabbit}\\s+billing\\s+1\\b`)
    expect(await lagOf(await moduleWith(onRabbit, { places }), 'rabbitmq')).toMatch(line)
  })

  test('counts the queue of `places` once, without a declaration that says its number of partitions', async () => {
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    const transport = () => rabbitTransport({ url: serverUrl('rabbitmq') as string, places, provision: 'check' })
    const { letters } = createOperator({ sql: database.sql, transport })
    expect(await letters.lag({ channel: onRabbit, group: 'billing' })).toBe(1)
  })
})
