import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, redrive, sink, TerminalError } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { kafkaOn } from '../../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'
import { attached, client, freshTopic, KEYS, numbered } from '../kit.ts'

const url = (): string => serverUrl('kafka') as string

describeWith(['kafka'], 'a Kafka group with a name of its own', () => {
  it('continues from the offsets of another program, dead letters and redrive included', async ({ expect }) => {
    const setup = attached(url())
    const name = await freshTopic(setup, 1)
    const groupId = `ledger-${randomUUID()}`
    await setup.publish(numbered(name, 5, ['k']))
    const other = client(url()).consumer({ groupId })
    await other.connect()
    await other.subscribe({ topic: name, fromBeginning: true })
    const theirs: string[] = []
    await other.run({
      eachMessage: ({ message }) => Promise.resolve(void theirs.push(String(message.value))),
    })
    await until('the other has read', () => theirs.length === 5)
    await other.disconnect()
    await setup.publish(numbered(name, 2, ['k'], 5))
    const channel = defineChannel(name, { payload: z.number(), partitions: 1 })
    const handled: number[] = []
    let isFixed = false
    const open = (): Transport => kafkaOn(url(), { groupIds: { [name]: { payments: groupId } } })
    const binder = createBinder({
      service: 'ledger',
      transport: open(),
      bindings: [
        sink(channel, { group: 'payments' }, (n) => {
          if (n === 6 && !isFixed) throw new TerminalError('not yet')
          handled.push(n)
        }),
      ],
    })
    onTestFinished(() => binder.close())
    expect(binder.describe().destinations.flatMap(({ parts }) => parts.map((part) => part.name))).toContain(groupId)
    await binder.start()
    await until('both are settled', async () => (await binder.lag(`${name}.payments`)) === 0)
    expect(handled).toEqual([5])
    isFixed = true
    expect(await redrive({ service: 'operator', transport: open() }, channel, 'payments')).toMatchObject({ sent: 1 })
    await until('it is handled', () => handled.length === 2)
    expect(handled).toEqual([5, 6])
  })

  it('is not healthy while a program that reads another topic is in it', async ({ expect }) => {
    const setup = attached(url())
    const [name, theirs] = [await freshTopic(setup), await freshTopic(setup)]
    const groupId = `shared-${randomUUID()}`
    const channel = defineChannel(name, { payload: z.number() })
    const handled: number[] = []
    const binder = createBinder({
      service: 'ledger',
      transport: kafkaOn(url(), { groupIds: { [name]: { payments: groupId } } }),
      bindings: [sink(channel, { group: 'payments' }, (n) => void handled.push(n))],
      logger: silentLogger,
    })
    onTestFinished(() => binder.close())
    await binder.start()
    const other = client(url()).consumer({ groupId })
    onTestFinished(() => other.disconnect())
    await other.connect()
    await other.subscribe({ topic: theirs })
    await other.run({ eachMessage: () => Promise.resolve() })
    const says = `the Kafka group "${groupId}" read "${theirs}" beside "${name}"`
    await until('it says so', () => JSON.stringify(binder.health()).includes(JSON.stringify(says).slice(1, -1)))
    expect(binder.health().status).not.toBe('up')
    await other.disconnect()
    await until('it is up again', () => binder.health().status === 'up')
    await setup.publish(numbered(name, 8, KEYS))
    await until('all are handled', () => handled.length === 8)
  })
})
