import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { admin, freshDestination } from './kit.ts'

describeWith(['rabbitmq'], 'a deleted queue of dead letters on RabbitMQ', () => {
  const url = serverUrl('rabbitmq') ?? ''

  it.each([
    ['the queue', true, false],
    ['its exchange', false, true],
    ['both', true, true],
  ])('is made again for the next dead letter, which is kept: %s', async (_, deletesQueue, deletesExchange) => {
    const name = freshDestination(url, ['g'], 1)
    const letters = `${name}.g.dlq`
    const remove = (queue: boolean, exchange: boolean): Promise<void> =>
      admin(url, async (channel) => {
        if (queue) await channel.deleteQueue(`${letters}:redrive`)
        if (exchange) for (const end of ['', ':partitions']) await channel.deleteExchange(letters + end)
      })
    onTestFinished(() => remove(true, true))
    const orders = defineChannel(name, { payload: z.number(), partitions: 1 })
    const handled: number[] = []
    const binding = sink(orders, { group: 'g', maxAttempts: 1 }, (n) => {
      if (n === 1) throw new Error('broken')
      handled.push(n)
    })
    const binder = createBinder({ service: 'shop', transport: rabbitTransport({ url }), bindings: [binding] })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready()
    await remove(deletesQueue, deletesExchange)
    for (const n of [0, 1, 2]) await binder.send(orders, n)
    await until('the others are handled', () => handled.length === 2)
    await until('it is a dead letter', () => binder.binding(`${name}.g`).status().deadLettered === 1)
    const { messageCount } = await admin(url, (channel) => channel.checkQueue(`${letters}:redrive`))
    expect(messageCount).toBe(1)
    expect(handled).toEqual([0, 2])
  })
})
