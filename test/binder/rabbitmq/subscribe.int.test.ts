import { expect, it } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { admin, attached, freshDestination, numbered, numberOf, numbers, Recorder, subscribe } from './kit.ts'
import { plainMessage } from './messages.ts'

describeWith(['rabbitmq'], 'subscribing to RabbitMQ', () => {
  const url = serverUrl('rabbitmq') ?? ''

  /** A transport with a provisioned destination that holds `count` messages. */
  async function filled(count: number, keys: readonly (string | null)[], options = {}, partitions = 4) {
    const transport = attached({ url, ...options })
    const destination = freshDestination(url, ['g'], partitions)
    await transport.provision([{ name: destination, partitions, groups: ['g'] }])
    await transport.publish(numbered(destination, count, keys))
    return { transport, destination }
  }

  it('lends at most prefetch, with any number of partitions', async () => {
    const { transport, destination } = await filled(40, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])
    for (const prefetch of [1, 2, 5]) {
      const recorder = Recorder.keeping()
      const subscription = await subscribe(transport, destination, recorder, { prefetch })
      await until('the window is full', () => recorder.got.length >= prefetch)
      recorder.got[0]?.ack()
      await until('one came for the one settled', () => recorder.got.length > prefetch)
      expect(recorder.got.length).toBe(prefetch + 1)
      await subscription.close()
    }
  })

  it('lends nothing more while the bodies exceed the budget, and continues after', async () => {
    const transport = attached({ url })
    const destination = freshDestination(url, ['g'], 1)
    await transport.provision([{ name: destination, partitions: 1, groups: ['g'] }])
    const messages = numbers(60).map((n) =>
      plainMessage({ id: `m${n}`, destination, key: 'k', body: new Uint8Array(10_000) }),
    )
    await transport.publish(messages)
    const recorder = Recorder.keeping()
    await subscribe(transport, destination, recorder, { partitions: 1, prefetch: 20, prefetchBytes: 35_000 })
    let most = 0
    for (let settled = 0; settled < 60; settled++) {
      await until('another came', () => recorder.got.length > settled)
      most = Math.max(most, recorder.got.length - settled)
      recorder.got[settled]?.ack()
    }
    expect(most).toBeLessThanOrEqual(4)
    expect(recorder.got.map(({ message }) => message.id)).toEqual(messages.map(({ id }) => id))
  })

  it('returns unsettled messages, in order and marked, when it closes', async () => {
    const { transport, destination } = await filled(30, ['k'])
    const first = Recorder.keeping()
    const subscription = await subscribe(transport, destination, first)
    await until('all came', () => first.got.length >= 30)
    for (const n of [0, 1, 2, 7, 9]) first.got[n]?.ack()
    await subscription.close()
    expect(first.got[3]?.signal.aborted).toBe(true)
    const second = new Recorder()
    await subscribe(transport, destination, second)
    const rest = numbers(30).filter((n) => ![0, 1, 2, 7, 9].includes(n))
    await until('the rest came', () => second.got.length >= rest.length)
    expect(second.numbers).toEqual(rest)
    expect(second.got.every(({ redelivered }) => redelivered === true)).toBe(true)
    expect(first.got.every(({ redelivered }) => redelivered === false)).toBe(true)
  })

  it('redelivers released messages, before later ones', async () => {
    const { transport, destination } = await filled(20, ['k'], {}, 1)
    const recorder = Recorder.keeping()
    await subscribe(transport, destination, recorder, { partitions: 1, prefetch: 5 })
    await until('the window is full', () => recorder.got.length >= 5)
    for (const n of [4, 2, 3]) recorder.got[n]?.release()
    await until('they came again', () => recorder.got.length >= 8)
    expect(recorder.numbers).toEqual([0, 1, 2, 3, 4, 2, 3, 4])
    expect(recorder.got.map(({ redelivered }) => redelivered)).toEqual([
      ...numbers(5).map(() => false),
      true,
      true,
      true,
    ])
    for (const delivery of recorder.got.slice(2, 5)) delivery.ack()
    for (const n of [0, 1, 5, 6, 7]) recorder.got[n]?.ack()
    await until('the next came', () => recorder.got.length >= 13)
    expect(recorder.numbers.slice(8)).toEqual([5, 6, 7, 8, 9])
  })

  it('delivers nothing while paused, stays subscribed, and loses nothing', async () => {
    const { transport, destination } = await filled(10, ['k'])
    const recorder = new Recorder()
    const subscription = await subscribe(transport, destination, recorder)
    await until('all came', () => recorder.got.length >= 10)
    subscription.pause()
    subscription.pause()
    const waiting = new Recorder()
    await subscribe(attached({ url, rebalanceMs: 0 }), destination, waiting)
    await transport.publish(numbered(destination, 20, ['k']).slice(10))
    await until('the paused member holds them', async () => {
      const states = await admin(url, (channel) =>
        Promise.all(numbers(4).map((p) => channel.checkQueue(`${destination}:g:${p}`))),
      )
      return states.every(({ messageCount }) => messageCount === 0)
    })
    expect([recorder.got.length, waiting.got.length]).toEqual([10, 0])
    subscription.resume()
    await until('the others came', () => recorder.got.length >= 20)
    expect(recorder.numbers).toEqual(numbers(20))
  })

  it('takes over from a member that died, in order', async () => {
    const { transport, destination } = await filled(100, ['a', 'b', 'c', 'd', 'e', 'f'])
    const dying = attached({ url, rebalanceMs: 0 })
    const first = Recorder.keeping()
    await subscribe(dying, destination, first)
    await until('it has some', () => first.got.length >= 50)
    const second = new Recorder()
    await subscribe(transport, destination, second)
    for (const delivery of first.got.slice(0, 20)) delivery.ack()
    await dying.close()
    await until('the rest came', () => second.got.length >= 80)
    const done = new Set(first.numbers.slice(0, 20))
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const own = second.got.filter(({ message }) => message.key === key).map(numberOf)
      expect(own).toEqual(numbers(100).filter((n) => !done.has(n) && 'abcdef'[n % 6] === key))
    }
  })

  it('gives an anonymous reader all later messages, and leaves nothing behind', async () => {
    const { transport, destination } = await filled(5, ['old'])
    const readers = [new Recorder(), new Recorder()]
    const subscriptions = await Promise.all(
      readers.map((reader) => subscribe(attached({ url }), destination, reader, { group: null })),
    )
    await transport.publish(numbered(destination, 50, ['a', 'b', 'c', 'd', null]))
    for (const reader of readers) await until('all came', () => reader.got.length >= 50)
    for (const reader of readers) expect(reader.numbers.sort((a, b) => a - b)).toEqual(numbers(50))
    const queue = /^queue (amq\.gen-\S+) delivery 1$/.exec(readers[0]?.got[0]?.position ?? '')?.[1] ?? ''
    expect(queue).not.toBe('')
    await Promise.all(subscriptions.map((subscription) => subscription.close()))
    await expect(admin(url, (channel) => channel.checkQueue(queue))).rejects.toThrow(/NOT_FOUND/)
  })

  it('is lost, once, when its queue is deleted', async () => {
    const { transport, destination } = await filled(3, ['k'])
    const recorder = Recorder.keeping()
    const subscription = await subscribe(transport, destination, recorder)
    await until('all came', () => recorder.got.length >= 3)
    await admin(url, async (channel) => {
      for (const p of numbers(4)) await channel.deleteQueue(`${destination}:g:${p}`)
    })
    await until('it is lost', () => recorder.losses.length > 0)
    expect(recorder.losses[0]?.message).toMatch(/the queue is gone/)
    expect(recorder.got[0]?.signal.aborted).toBe(true)
    recorder.got[0]?.ack()
    recorder.got[1]?.release()
    await subscription.close()
    expect(recorder.losses).toHaveLength(1)
  })

  it('works the same on quorum queues', { timeout: 60_000 }, async () => {
    const { transport, destination } = await filled(60, ['a', 'b', 'c'], { queueType: 'quorum' })
    const first = Recorder.keeping()
    const subscription = await subscribe(transport, destination, first)
    await until('all came', () => first.got.length >= 60)
    for (const delivery of first.got.slice(0, 10)) delivery.ack()
    await subscription.close()
    const second = new Recorder()
    await subscribe(transport, destination, second)
    await until('the rest came', () => second.got.length >= 50)
    for (const key of ['a', 'b', 'c']) {
      const own = [...first.got.slice(0, 10), ...second.got].filter(({ message }) => message.key === key).map(numberOf)
      expect(own).toEqual(numbers(60).filter((n) => 'abc'[n % 3] === key))
    }
  })

  it('survives a close in the middle of opening', async () => {
    const { transport, destination } = await filled(10, ['k'])
    const broken = attached({ url })
    const attempt = subscribe(broken, destination, new Recorder()).catch((error: unknown) => error)
    await broken.close()
    await attempt
    const recorder = new Recorder()
    await subscribe(transport, destination, recorder)
    await until('all came', () => recorder.got.length >= 10)
    expect(recorder.numbers).toEqual(numbers(10))
  })
})
