import type { DestinationSpec } from 'concordat/extension'
import { expect, it } from 'vitest'
import type { RabbitTransportOptions } from '../../../support/inside/binder.ts'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'
import { FakeBroker } from '../fake-broker.ts'
import { attached } from '../kit.ts'

const spec: DestinationSpec = { name: 'orders', partitions: 1, groups: ['g'], delays: true }
/** Longer than a new queue is left alone. */
const LONG_MS = 3_000
const SAYS_SO = 'concordat:delay:tests:settled:orders'

/** A process that begins to provision, and whether it is done. */
async function starting(
  broker: FakeBroker,
  destination: DestinationSpec = spec,
  queueType?: RabbitTransportOptions['queueType'],
) {
  const clock = new FakeClock()
  const transport = attached({ connect: broker.connect, queueType }, 10_000, clock)
  const state = { isDone: false }
  const done = transport.provision([destination]).then(() => (state.isDone = true))
  // Some tests end before the call does: the transport is closed then.
  done.catch(() => {})
  await drain()
  return { clock, transport, state, done }
}

it('a delay queue that another process has declared a moment ago is not relied on either', async () => {
  const broker = new FakeBroker()
  const first = await starting(broker)
  const second = await starting(broker)
  expect([first.state.isDone, second.state.isDone]).toEqual([false, false])
  expect(broker.hasQueue('concordat:delay:tests:due:orders')).toBe(true)
  expect(broker.exchanges.has(SAYS_SO)).toBe(false)

  await first.clock.advance(LONG_MS)
  await first.done
  expect(second.state.isDone).toBe(false)
  await second.clock.advance(LONG_MS)
  await second.done
  expect(broker.exchanges.has(SAYS_SO)).toBe(true)
})

it('a queue that has settled is never awaited again', async () => {
  const broker = new FakeBroker()
  const first = await starting(broker)
  await first.clock.advance(LONG_MS)
  await first.done
  expect((await starting(broker)).state.isDone).toBe(true)
  expect((await starting(broker, { ...spec, name: 'refunds' })).state.isDone).toBe(false)
})

it('a deleted queue that is made again has to settle again, for everyone', async () => {
  const broker = new FakeBroker()
  const first = await starting(broker)
  await first.clock.advance(LONG_MS)
  await first.done
  broker.deleteQueue('concordat:delay:tests:due:orders')
  const second = await starting(broker)
  const third = await starting(broker)
  expect([second.state.isDone, third.state.isDone]).toEqual([false, false])
  await third.clock.advance(LONG_MS)
  await third.done
  expect((await starting(broker)).state.isDone).toBe(true)
})

it('quorum queues of a group settle likewise, classic ones need not', async () => {
  const broker = new FakeBroker()
  const group = { ...spec, delays: false }
  const first = await starting(broker, group, 'quorum')
  const second = await starting(broker, group, 'quorum')
  expect([first.state.isDone, second.state.isDone]).toEqual([false, false])
  await second.clock.advance(LONG_MS)
  await second.done
  expect(broker.exchanges.has('orders:g:settled')).toBe(true)
  expect((await starting(broker, group, 'quorum')).state.isDone).toBe(true)
  expect((await starting(new FakeBroker(), group)).state.isDone).toBe(true)
})

it('one more declaration flushes a new classic queue, and not an existing one', async () => {
  const broker = new FakeBroker()
  const group = { ...spec, delays: false }
  expect((await starting(broker, group)).state.isDone).toBe(true)
  const declared = broker.declared.slice()
  expect(declared.slice(-2)).toEqual(['bind orders:g', 'exchange orders:written'])
  expect(broker.exchanges.has('orders:written')).toBe(false)
  expect((await starting(broker, group)).state.isDone).toBe(true)
  expect(broker.declared.slice(declared.length)).not.toContain('exchange orders:written')
})

it('without that permission, the queue settles when it is flushed by itself', async () => {
  const broker = new FakeBroker()
  broker.forbidden.add('assertExchange orders:written')
  const first = await starting(broker, { ...spec, delays: false })
  expect(first.state.isDone).toBe(false)
  await first.clock.advance(LONG_MS)
  await first.done
})

it('a close does not wait for it, and an unsettled queue does not count as settled', async () => {
  const broker = new FakeBroker()
  const { transport, done } = await starting(broker)
  const refused = expect(done).rejects.toMatchObject({ kind: 'closed' })
  await transport.close()
  await refused
  expect(broker.exchanges.has(SAYS_SO)).toBe(false)
})
