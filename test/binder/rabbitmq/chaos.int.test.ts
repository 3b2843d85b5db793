import { connect } from 'amqplib'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { AmqpConnection } from '../../support/inside/binder.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { admin, cut, freshDestination, numbers } from './kit.ts'

const KEYS = numbers(16).map((n) => `key-${n}`)
const CUTS = 15

describeWith(['rabbitmq'], 'RabbitMQ over a bad network', () => {
  const url = serverUrl('rabbitmq') ?? ''

  it('loses nothing and keeps the order of every key while connections break', { timeout: 120_000 }, async () => {
    const name = freshDestination(url)
    onTestFinished(() =>
      admin(url, async (channel) => {
        await channel.deleteQueue(`${name}.g.dlq:redrive`)
        await channel.deleteExchange(`${name}.g.dlq`)
        await channel.deleteExchange(`${name}.g.dlq:partitions`)
      }),
    )
    const payload = z.object({ key: z.string(), n: z.number() })
    const channel = defineChannel(name, { payload, key: ({ key }) => key, groups: ['g'] })
    const live: AmqpConnection[] = []
    const transport = () =>
      rabbitTransport({
        rebalanceMs: 50,
        connect: async () => {
          const connection = await connect(`${url}?heartbeat=10`)
          live.push(connection)
          return connection
        },
      })

    const begun = new Map<string, number>()
    const done = new Map<string, number>()
    const jumps: string[] = []
    let handled = 0
    const consumer = sink(channel, { group: 'g', concurrency: 4 }, async ({ key, n }) => {
      if (n > (begun.get(key) ?? -1) + 1) jumps.push(`${key}: ${n} after ${begun.get(key)}`)
      begun.set(key, Math.max(n, begun.get(key) ?? -1))
      await new Promise((resolve) => setImmediate(resolve))
      done.set(key, Math.max(n, done.get(key) ?? -1))
      handled++
    })
    const binders = [[consumer], [consumer], []].map((bindings, i) =>
      createBinder({ service: `chaos-${i}`, transport: transport(), bindings, sends: [channel] }),
    )
    onTestFinished(async () => void (await Promise.all(binders.map((binder) => binder.close()))))
    for (const binder of binders) await binder.start()

    let stopped = false
    /** Sends one key in order; a message is repeated with the same id until the broker accepts it. */
    const send = async (key: string): Promise<number> => {
      let n = 0
      for (; !stopped; n++) {
        const id = `${key}-${n}`
        for (let accepted = false; !accepted; ) {
          accepted = await (binders[2] as (typeof binders)[0]).send(channel, { key, n }, { id }).then(
            () => true,
            () => false,
          )
        }
      }
      return n
    }
    const senders = Promise.all(KEYS.map(send))
    for (let i = 0; i < CUTS; i++) {
      const before = handled
      await until('work goes on', () => handled > before + 200)
      cut(live.splice(Math.floor(Math.random() * live.length), 1)[0])
    }
    stopped = true
    const counts = await senders
    await until('all were handled', () => KEYS.every((key, i) => done.get(key) === (counts[i] as number) - 1))
    expect(jumps).toEqual([])
  })
})
