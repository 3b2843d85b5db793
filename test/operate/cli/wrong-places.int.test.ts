/** Channels, groups, ids and numbers of partitions that do not exist, as a person mistypes them at night. */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/extension'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../../outbox/support/messages.ts'
import { createDatabase } from '../../outbox/support/postgres.ts'
import { kafkajsOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { ranHere } from '../support/cli.ts'

const openers = {
  rabbitmq: (url: string): Transport => rabbitTransport({ url }),
  kafka: (brokers: string): Transport => kafkajsOn(brokers),
}
/** Remedies for programmers. */
const OF_CODE = /createOperator|describe\(\)|provision:|Transport\(|defineChannel|this service declares/

/** A channel with two partitions; three of its messages are dead letters, two of one customer. */
async function setup(broker: keyof typeof openers) {
  const database = await createDatabase()
  onTestFinished(() => database.drop())
  const address = serverUrl(broker) as string
  const name = uniqueName('wrong')
  const orders = defineChannel(name, { payload: z.string(), key: (customer) => customer, partitions: 2 })
  const stock = sink(orders, { group: 'stock', maxAttempts: 1 }, () => Promise.reject(new Error('no stock')))
  const binder = createBinder({
    service: 'shop',
    transport: openers[broker](address),
    bindings: [stock],
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  })
  onTestFinished(() => binder.close())
  await binder.start()
  for (const [id, customer] of [
    ['o-1', 'ada'],
    ['o-2', 'ada'],
    ['p-3', 'bob'],
  ] as const)
    await binder.send(orders, customer, { id })
  const cli = (...args: string[]) => ranHere([...args, '--postgres', database.url, `--${broker}`, address], {})
  const listed = async () => (await cli('dlq', 'list', name, 'stock')).stdout
  await until('they are dead letters', async () => (await listed()).includes('p-3') && (await listed()).includes('o-2'))
  const migrate = ['migrate', 'apply', '--part', 'operator', '--reason', 'x', '--yes', '--postgres', database.url]
  expect((await ranHere(migrate, {})).code).toBe(0)
  return { cli, name }
}

describeWith(['postgres', 'rabbitmq', 'kafka'], 'npx concordat, given what is not there', () => {
  test.for(['rabbitmq', 'kafka'] as const)('on %s', { timeout: 60_000 }, async (broker) => {
    const { cli, name } = await setup(broker)
    const show = async (what: string) => {
      const { code, stdout } = await cli('dlq', 'show', name, 'stock', what)
      return { code, ids: Array.from(stdout.matchAll(/^id +(\S+)$/gm), ([, id]) => id), stdout }
    }
    expect(await show('o-1')).toMatchObject({ code: 0, ids: ['o-1'] })
    expect(await show('ada')).toMatchObject({ code: 0, ids: ['o-1', 'o-2'] })
    expect(await show('p')).toMatchObject({ code: 0, ids: ['p-3'] })
    expect(await show('o-')).toMatchObject({ code: 1, ids: [], stdout: expect.stringContaining('several ids begin') })
    expect(await show('none')).toMatchObject({
      code: 1,
      stdout: `none: no dead letter has this id or key. npx concordat dlq list ${name} stock lists them\n`,
    })
    for (const line of [`dlq list ${name} stok`, `lag no.such.channel stock --partitions 2`]) {
      const { code, stderr } = await cli(...line.split(' '))
      expect({ line, code }).toEqual({ line, code: 1 })
      expect(stderr).toContain('Check CHANNEL and GROUP: npx concordat lag lists the groups')
      expect(stderr).not.toMatch(OF_CODE)
    }
    const toGroup = await cli('dlq', 'redrive', name, 'stock', '--to', 'group', '--reason', 'x', '--yes')
    expect(toGroup).toMatchObject({ code: 1, stderr: expect.stringContaining('Give --to channel') })
    const redrive = ['dlq', 'redrive', name, 'stock', '--id', 'p-3', '--reason', 'x', '--yes']
    const refusal = `concordat: "${name}" has 2 partitions on ${broker}, and this command took 1. Give --partitions 2\n`
    expect(await cli(...redrive, '--partitions', '1')).toMatchObject({ code: 1, stderr: refusal })
    expect(await cli(...redrive)).toMatchObject({ code: 0, stdout: expect.stringContaining('1 sent back') })
    // RabbitMQ does not count what consumers hold, and without a bus the service reports none of it.
    expect((await cli('lag', name, 'stock')).code).toBe(broker === 'kafka' ? 0 : 1)
    if (broker === 'kafka') return // A topic's lag is that of all its partitions, whatever their number.
    for (const partitions of ['1', '4']) {
      const { code, stderr } = await cli('lag', name, 'stock', '--partitions', partitions)
      expect({ code, stderr }).toEqual({ code: 1, stderr: refusal.replace('took 1', `took ${partitions}`) })
    }
  })
})
