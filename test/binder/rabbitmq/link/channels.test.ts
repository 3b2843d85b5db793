import { expect, it } from 'vitest'
import type { Stall } from '../../../support/inside/binder.ts'
import { until } from '../../../support/until.ts'
import { FakeBroker } from '../fake-broker.ts'
import { attached, Recorder, subscribe } from '../kit.ts'

it('a binding for which the connection has too few channels is refused, with the limit and the remedy', async () => {
  const broker = new FakeBroker()
  broker.channelMax = 20
  const transport = attached({ connect: broker.connect })
  await subscribe(transport, 'orders', new Recorder())
  await subscribe(transport, 'bills', new Recorder())
  const refused = subscribe(transport, 'notes', new Recorder())
  await expect(refused).rejects.toMatchObject({ kind: 'mismatch', retryable: false, destination: 'notes' })
  await expect(refused).rejects.toThrow(
    /the binding of "notes" needs 5 channels .* 10 are in use and 8 are kept for declarations and lag, but RabbitMQ allows 20 on a connection \(channel_max\)\. Raise channel_max/,
  )
  await expect(refused).rejects.not.toThrow('Check that RabbitMQ is up')
})

it('enough channels are left for declarations after all bindings have started', async () => {
  const broker = new FakeBroker()
  broker.channelMax = 18
  const transport = attached({ connect: broker.connect })
  await subscribe(transport, 'orders', new Recorder())
  await subscribe(transport, 'bills', new Recorder())
  const names = Array.from({ length: 8 }, (_, n) => ({ name: `more-${n}`, partitions: 1, groups: ['g'] }))
  await Promise.all(names.map((each) => transport.provision([each])))
})

it('a subscription that was closed gives its channels back', async () => {
  const broker = new FakeBroker()
  broker.channelMax = 13
  const transport = attached({ connect: broker.connect })
  for (let round = 0; round < 3; round++) {
    const subscription = await subscribe(transport, 'orders', new Recorder())
    await subscription.close()
  }
})

it('a member that cannot compare its share reports that in the status of its binding, until it can', async () => {
  const broker = new FakeBroker()
  const told: (Stall | undefined)[] = []
  broker.mute.set('orders:g:members', 0)
  const transport = attached({ connect: broker.connect, rebalanceMs: 1, requestTimeoutMs: 20 })
  const receiver = Object.assign(new Recorder(), { stalled: (stall?: Stall) => void told.push(stall) })
  await subscribe(transport, 'orders', receiver)
  await until('it is told', () => told.length > 0)
  expect(told[0]?.reason.message).toMatch(
    /compare partition shares of "orders"|join the group.*some members of the group/,
  )
  expect(told[0]).toMatchObject({ isPassing: true })
  broker.mute.clear()
  await until('it is told that all is well', () => told.at(-1) === undefined)
})
