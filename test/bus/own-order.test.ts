import type { Transport } from 'concordat/extension'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { expect, it } from 'vitest'
import { Ping, started } from '../conformance/bus-kit.ts'
import { gate, until } from '../support/until.ts'

/**
 * Transport whose broker accepts every message at once but delivers none back in time; it confirms ping number 1 when
 * the test says so.
 */
function confirmingLate(inner: Transport) {
  const late = gate()
  const publish: Transport['publish'] = async (...args) => {
    const outcomes = await inner.publish(...args)
    if (args[0].some(({ body }) => body !== null && Buffer.from(body).toString() === '{"n":1}')) await late.opened
    return outcomes
  }
  const subscribe: Transport['subscribe'] = (spec, receiver) =>
    inner.subscribe(spec, {
      deliver: (delivery) =>
        delivery.message.headers['bus-event'] === 'ping' ? undefined : receiver.deliver(delivery),
      recall: () => receiver.recall(),
      lost: (error) => receiver.lost(error),
    })
  const own: Partial<Transport> = { publish, subscribe }
  const transport = new Proxy(inner, {
    get(target, property) {
      const value: unknown = Reflect.get(Object.hasOwn(own, property) ? own : target, property)
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value
    },
  })
  return { transport, late }
}

async function setup() {
  const broker = memoryBroker()
  const { transport, late } = confirmingLate(memoryTransport({ broker }))
  const a = await started(transport, { instance: 'a' })
  const b = await started(memoryTransport({ broker }), { instance: 'b' })
  return { a, b, late }
}

it('own events are handled in the order of the publish calls, for any order of confirms', async () => {
  const { a, b, late } = await setup()
  const first = a.bus.publish(Ping, { n: 1 }, { to: '**' })
  const second = a.bus.publish(Ping, { n: 2 }, { to: '**' })
  await second
  await until('the other instance has both', () => b.pings.length === 2)
  late.open()
  await first
  await until('it has handled both itself', () => a.pings.length === 2)
  expect([a.pings, b.pings]).toEqual([
    [1, 2],
    [1, 2],
  ])
})

it('an own event is handled once it is confirmed, also when its caller no longer waits for that', async () => {
  const { a, b, late } = await setup()
  const patience = new AbortController()
  const publishing = a.bus.publish(Ping, { n: 1 }, { to: '**', signal: patience.signal })
  await until('the other instance has it', () => b.pings.length === 1)
  patience.abort(new Error('no more patience'))
  await expect(publishing).rejects.toThrow('no more patience')
  late.open()
  await until('it has handled it itself', () => a.pings.length === 1, 5_000)
  expect(a.pings).toEqual([1])
})
