import type { Receiver } from 'concordat/extension'
import { expect, it } from 'vitest'
import type { Displacement, Stall } from '../../../support/inside/binder.ts'
import { DelayedMessageListeners } from '../inside.ts'

const stall = (message: string, isPassing = false): Stall => ({ reason: new Error(message), isPassing })

async function subscribed(news: DelayedMessageListeners, destination: string) {
  const told: Array<string | undefined> = []
  const displaced: Displacement[] = []
  let inner: Receiver | undefined
  const receiver: Receiver = {
    deliver() {},
    recall() {},
    lost() {},
    stalled: (each) => void told.push(each?.reason.message),
    displaced: (each) => void displaced.push(each),
    isHeld: () => true,
  }
  const subscription = await news.subscribed(destination, receiver, async (each) => {
    inner = each
    return { pause() {}, resume() {}, close: async () => {} }
  })
  return { told, displaced, subscription, own: () => inner }
}

it('a forwarder reports to the subscriptions of a destination why its delayed messages wait, for as long as they exist', async () => {
  const news = new DelayedMessageListeners()
  const open = await subscribed(news, 'orders')
  const closed = await subscribed(news, 'orders')
  const lost = await subscribed(news, 'orders')
  const other = await subscribed(news, 'stock')
  await closed.subscription.close()
  lost.own()?.lost(new Error('lost'))
  news.stalled('orders', stall('denied'))
  const late = await subscribed(news, 'orders')
  news.stalled('orders', undefined)
  expect(open.told).toEqual(['denied', undefined])
  expect(late.told).toEqual(['denied', undefined])
  for (const each of [closed, lost, other]) expect(each.told).toEqual([])
})

it('a forwarder reports a problem for an operator before a temporary one, of the subscription or of its delayed messages', async () => {
  const news = new DelayedMessageListeners()
  const { told, own } = await subscribed(news, 'orders')
  own()?.stalled?.(stall('a transaction', true))
  news.stalled('orders', stall('denied'))
  own()?.stalled?.(stall('unreadable'))
  news.stalled('orders', undefined)
  own()?.stalled?.(undefined)
  expect(told).toEqual(['a transaction', 'denied', 'unreadable', 'unreadable', undefined])
})

it('a forwarder reports lost delayed messages to the subscriptions of their destination', async () => {
  const news = new DelayedMessageListeners()
  const { displaced } = await subscribed(news, 'orders')
  const loss = { reason: 'deleted', skipped: 3, repeated: 0, isLoss: true }
  news.displaced('orders', loss)
  expect(displaced).toEqual([loss])
})

it('a subscription of Kafka learns that its binding is paused, so that a join does not wait for it', async () => {
  const { own } = await subscribed(new DelayedMessageListeners(), 'orders')
  expect(own()?.isHeld?.()).toBe(true)
})
