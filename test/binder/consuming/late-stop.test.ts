import { createBinder, defineChannel, sink } from 'concordat/binder'
import type { Transport } from 'concordat/extension'
import { memoryTransport } from 'concordat/memory'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'

const channel = defineChannel('numbers', { payload: z.number() })

it('a binding that was stopped while it subscribed is not lent the same messages again and again', async () => {
  const inner = memoryTransport()
  const slow = gate()
  let [asked, lent] = [0, 0]
  const subscribe: Transport['subscribe'] = async (spec, receiver) => {
    if (++asked > 1) await slow.opened
    const deliver: typeof receiver.deliver = (delivery) => {
      if (++lent > 100) throw new Error('lent without end')
      receiver.deliver(delivery)
    }
    return inner.subscribe(spec, { ...receiver, deliver })
  }
  const transport = new Proxy(inner, {
    get: (target, name) => {
      if (name === 'subscribe') return subscribe
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const got: number[] = []
  const binder = createBinder({
    service: 'test',
    transport,
    bindings: [sink(channel, { group: 'g' }, (n) => void got.push(n))],
    sends: [channel],
  })
  onTestFinished(() => binder.close())
  await binder.start()
  const control = binder.binding('numbers.g')
  await control.stop()
  await binder.send(channel, 7)
  const starting = control.start().catch(() => {})
  await until('it takes its place', () => asked === 2)
  const stopping = control.stop()
  slow.open()
  await Promise.all([starting, stopping])
  expect(lent).toBeLessThan(5)
  expect(got).toEqual([])
  await control.start()
  await until('it is handled once it may be', () => got.length === 1)
})
