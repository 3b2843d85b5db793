import { createBinder, defineChannel, sink } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { namespaced } from '../../../../examples/order-payment/run/namespace.ts'
import { gate } from '../../../support/until.ts'

const greetings = defineChannel('greetings', { payload: z.string(), groups: ['readers'] })

test('two runs on one broker do not see each other, and handlers do not see the prefix', async () => {
  const broker = memoryBroker()
  const heard: string[] = []
  const both = gate()
  const start = async (run: string) => {
    const bindings = [
      sink(greetings, { group: 'readers' }, (text, { channel }) => {
        heard.push(`${run}: ${text} on ${channel}`)
        if (heard.length === 2) both.open()
      }),
    ]
    const binder = createBinder({
      service: run,
      transport: namespaced(memoryTransport({ broker }), `${run}.`),
      bindings,
    })
    await binder.start()
    return binder
  }
  await using one = await start('one')
  await using two = await start('two')
  await one.send(greetings, 'hello')
  await two.send(greetings, 'hi')
  await both.opened
  expect(heard.toSorted()).toEqual(['one: hello on greetings', 'two: hi on greetings'])
})
