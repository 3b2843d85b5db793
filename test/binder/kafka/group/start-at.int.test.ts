import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { kafkaOn } from '../../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'
import { attached, freshTopic, numbered } from '../kit.ts'

const url = (): string => serverUrl('kafka') as string

async function reader(name: string, group: string, startAt: 'latest' | 'earliest' | Date, count = 1) {
  const channel = defineChannel(name, { payload: z.number(), partitions: 2 })
  const got: number[] = []
  const binders = Array.from({ length: count }, () => {
    const transport = kafkaOn(url(), { startAt: { [name]: { [group]: startAt } } })
    return createBinder({ service: 's', transport, bindings: [sink(channel, { group }, (n) => void got.push(n))] })
  })
  const close = (): Promise<unknown> => Promise.all(binders.map((binder) => binder.close()))
  onTestFinished(() => close().then(() => undefined))
  await Promise.all(binders.map((binder) => binder.start()))
  for (const binder of binders) await binder.ready()
  return { got, close }
}

describeWith(['kafka'], 'a new Kafka group', () => {
  it('begins at startAt once, and does not skip messages sent later while no member runs', async () => {
    const setup = attached(url())
    const name = await freshTopic(setup, 2)
    const group = `g-${randomUUID().slice(0, 8)}`
    const keys = ['a', 'b', 'c', 'd', 'e', 'f']
    await setup.publish(numbered(name, 6, keys))
    const first = await reader(name, group, 'latest')
    await first.close()
    expect(first.got).toEqual([])
    await setup.publish(numbered(name, 6, keys, 6))
    const second = await reader(name, group, 'latest', 2)
    await until('what came meanwhile is read', () => second.got.length === 6)
    expect(second.got.toSorted((a, b) => a - b)).toEqual([6, 7, 8, 9, 10, 11])
    await second.close()
  })

  it('begins at a time, and by default at the beginning', async () => {
    const setup = attached(url())
    const name = await freshTopic(setup, 2)
    const keys = ['a', 'b', 'c', 'd']
    await setup.publish(numbered(name, 4, keys))
    await new Promise((resolve) => setTimeout(resolve, 50))
    const at = new Date()
    await setup.publish(numbered(name, 4, keys, 4))
    const late = await reader(name, 'late', at)
    const whole = await reader(name, 'whole', 'earliest')
    await until('both have read', () => late.got.length >= 4 && whole.got.length >= 8)
    expect(late.got.toSorted((a, b) => a - b)).toEqual([4, 5, 6, 7])
    expect(whole.got.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  it.for([
    [{ orders: { audit: 'end' } }, "Transport.startAt.orders.audit: expected 'earliest', 'latest' or a valid Date"],
    [{ orders: { audit: new Date(Number.NaN) } }, 'a valid Date'],
    [{ orders: 'latest' }, 'Transport.startAt.orders: expected an object of names'],
  ] as const)('refuses %j', ([startAt, message]) => {
    expect(() => kafkaOn(url(), { startAt: startAt as never })).toThrow(message)
  })
})
