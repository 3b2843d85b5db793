import { createOperator } from '@concordat/cli'
import { createBinder, defineChannel, sink, TerminalError } from 'concordat/binder'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { createDatabase } from '../outbox/support/postgres.ts'
import { kafkajsOn } from '../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { ranHere } from './support/cli.ts'

describeWith(['postgres', 'kafka'], 'a dead letter of a service that sends more than 1 MB', () => {
  test('goes back to its channel with the others', async () => {
    const kafka = serverUrl('kafka') as string
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    const operator = createOperator({ sql: database.sql })
    await operator.migrate({ by: 'ann', reason: 'setup', parts: ['operator'] })
    const channel = defineChannel(uniqueName('large'), { payload: z.string(), partitions: 1, groups: ['g'] })
    const handled: number[] = []
    let isBroken = true
    const binding = sink(channel, { group: 'g' }, (text) => {
      if (isBroken) throw new TerminalError('broken')
      handled.push(text.length)
    })
    const transport = kafkajsOn(kafka, {
      maxMessageBytes: 2_000_000,
      topicConfig: { 'max.message.bytes': '3000000' },
    })
    const binder = createBinder({ service: 'shop', transport, bindings: [binding], sends: [channel] })
    onTestFinished(() => binder.close())
    await binder.start()
    for (const length of [1, 1_500_000, 2]) await binder.send(channel, 'x'.repeat(length))
    await until('all are dead letters', () => binder.bindings()[0]?.deadLettered === 3)
    isBroken = false
    const redrive = ['dlq', 'redrive', channel.name, 'g', '--reason', 'it works again', '--by', 'ann', '--yes']
    const ran = await ranHere([...redrive, '--postgres', database.url, '--kafka', kafka], {})
    expect(ran).toMatchObject({ code: 0, stdout: '3 sent back to the channel, 0 kept.\n' })
    await until('all are handled', () => handled.length === 3)
    expect(handled).toEqual([1, 1_500_000, 2])
  })
})
