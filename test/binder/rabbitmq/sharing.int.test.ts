import type { Subscription, TransportDelivery } from 'concordat/extension'
import { expect, it, onTestFinished } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { attached, freshDestination, numberOf, numbers, Recorder, subscribe } from './kit.ts'
import { plainMessage } from './messages.ts'

const KEYS = numbers(64).map((n) => `key-${n}`)

describeWith(['rabbitmq'], 'sharing partitions on RabbitMQ', () => {
  const url = serverUrl('rabbitmq') ?? ''

  class Member extends Recorder {
    readonly partitions: Set<string> = new Set()

    constructor() {
      super((delivery) => {
        this.partitions.add(delivery.position.split(' ')[1] ?? '')
        setImmediate(() => this.#end(delivery))
      })
    }

    #end(delivery: TransportDelivery): void {
      if (!this.kept.delete(delivery)) return
      delivery.ack()
    }
  }

  /** Sends without end until the test is over; each message under each key has the next number. */
  function traffic(destination: string, partitions: number) {
    const transport = attached({ url })
    let stopped = false
    let n = 0
    const run = async (): Promise<void> => {
      await transport.provision([{ name: destination, partitions, groups: ['g'] }])
      while (!stopped) {
        const round = KEYS.map((key) =>
          plainMessage({ id: `${key}-${n}`, destination, key, body: new TextEncoder().encode(String(n)) }),
        )
        await transport.publish(round)
        n++
      }
    }
    const done = run()
    const stop = async (): Promise<number> => {
      stopped = true
      await done
      return n
    }
    onTestFinished(async () => void (await stop()))
    return { stop }
  }

  async function join(
    destination: string,
    partitions: number,
  ): Promise<{ member: Member; subscription: Subscription }> {
    const member = new Member()
    const transport = attached({ url, rebalanceMs: 100 })
    const subscription = await subscribe(transport, destination, member, { partitions, prefetch: 40 })
    return { member, subscription }
  }

  /** Number of messages per partition that each member receives now. */
  async function spread(members: readonly Member[]): Promise<number[]> {
    for (const member of members) member.partitions.clear()
    const before = members.reduce((sum, { got }) => sum + got.length, 0)
    await until('some rounds went through', () => members.reduce((sum, { got }) => sum + got.length, 0) > before + 640)
    return members.map(({ partitions }) => partitions.size).sort((a, b) => a - b)
  }

  it.for([
    [4, 2, [2, 2]],
    [4, 3, [1, 1, 2]],
    [4, 4, [1, 1, 1, 1]],
    [6, 4, [1, 1, 2, 2]],
    [2, 3, [0, 1, 1]],
  ] as const)(
    'spreads %i partitions over %i members that came one after the other',
    { timeout: 60_000 },
    async ([partitions, count, fair]) => {
      const destination = freshDestination(url, ['g'], partitions)
      const { stop } = traffic(destination, partitions)
      const members: Member[] = []
      for (let i = 0; i < count; i++) members.push((await join(destination, partitions)).member)
      await until('the shares are fair', async () => JSON.stringify(await spread(members)) === JSON.stringify(fair))
      const rounds = await stop()
      const all = (): TransportDelivery[] => members.flatMap(({ got }) => got)
      await until('all came', () => new Set(all().map(({ message }) => message.id)).size === rounds * KEYS.length)
      expect(members.flatMap(({ losses }) => losses)).toEqual([])
    },
  )

  it('keeps the order of every key while members come and go', { timeout: 60_000 }, async () => {
    const destination = freshDestination(url)
    const { stop } = traffic(destination, 4)
    const handled: Array<readonly [key: string, n: number]> = []
    const violations: string[] = []
    const last = new Map<string, number>()
    const running = new Set<string>()
    /**
     * Worker that acts like a binder: one message at a time per member, asynchronous; `recall` gives back messages not
     * yet begun.
     */
    const worker = () => {
      const queue: TransportDelivery[] = []
      let busy = false
      const next = (): void => {
        const delivery = busy ? undefined : queue.shift()
        if (delivery === undefined) return
        busy = true
        const { key } = delivery.message
        const n = numberOf(delivery)
        if (key === null || running.has(key)) violations.push(`${key} ${n} began while it was running`)
        if (n > (last.get(key ?? '') ?? -1) + 1) violations.push(`${key} ${n} after ${last.get(key ?? '')}`)
        running.add(key ?? '')
        setImmediate(() => {
          running.delete(key ?? '')
          last.set(key ?? '', Math.max(n, last.get(key ?? '') ?? -1))
          handled.push([key ?? '', n])
          busy = false
          delivery.ack()
          next()
        })
      }
      return {
        deliver: (delivery: TransportDelivery) => (queue.push(delivery), next()),
        recall: () => queue.splice(0).forEach((delivery) => delivery.release()),
        lost: (error: Error) => violations.push(`a member lost its place: ${error.message}`),
        isBusy: () => busy,
      }
    }
    const enter = async () => {
      const receiver = worker()
      const subscription = await subscribe(attached({ url, rebalanceMs: 50 }), destination, receiver, { prefetch: 40 })
      /** Stops like a binder: gives back messages not yet begun, waits for those begun, and then leaves. */
      const leave = async (): Promise<void> => {
        subscription.pause()
        receiver.recall()
        await until('its handler is done', () => !receiver.isBusy())
        await subscription.close()
      }
      return { leave }
    }
    const members = [await enter()]
    for (let step = 0; step < 12; step++) {
      const before = handled.length
      await until('work goes on', () => handled.length > before + 300)
      if (step % 3 === 2) {
        await members.shift()?.leave()
      } else members.push(await enter())
    }
    const rounds = await stop()
    await until('all were handled', () => KEYS.every((key) => last.get(key) === rounds - 1))
    expect(violations).toEqual([])
  })
})
