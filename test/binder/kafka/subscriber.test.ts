import { silentLogger, systemClock } from 'concordat/core'
import { expect, it } from 'vitest'
import { gate } from '../../support/until.ts'
import { Recorder } from '../rabbitmq/kit.ts'
import { Subscriber, type SubscriberParts } from './inside.ts'

it('takes no place in a group once the transport closes, however far a subscription had come', async () => {
  const looked = gate()
  let members = 0
  const member = {
    open: async () => {},
    ended: async () => {},
    close: async () => {},
    pause: () => {},
    resume: () => {},
  }
  const parts = {
    settings: { groupIds: new Map(), startAt: new Map() },
    link: { admin: {}, createMember: () => (members++, member) },
    topics: { verify: () => looked.opened.then(() => 4) },
    host: { service: 'shop', instance: 'shop-1', logger: silentLogger, clock: systemClock },
    onAnswer: () => {},
  }
  const subscriber = new Subscriber(parts as unknown as SubscriberParts)
  const spec = { destination: 'orders', partitions: 4, group: 'g', prefetch: 10, prefetchBytes: 1_000 }
  const subscribing = subscriber.subscribe(spec, Recorder.keeping())
  await subscriber.close()
  looked.open()
  await expect(subscribing).rejects.toMatchObject({ code: 'binder.transport', kind: 'closed' })
  expect(members).toBe(0)
})
