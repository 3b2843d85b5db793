/** Rare and badly timed behaviour of kafkajs, played by a scripted consumer. The rest is tested on a broker. */
import { describe, it } from 'vitest'
import { createConsumer, resolveKafkaOptions } from '../inside.ts'
import { expelled, FakeConsumer, never, setup, ticks } from './scripted-subscription.ts'

describe('a subscription that opens', () => {
  it('has its place when the group is joined', async ({ expect }) => {
    const { consumer, subscription } = setup()
    let isOpen = false
    const opening = subscription.open().then(() => (isOpen = true))
    await ticks()
    expect([isOpen, consumer.calls]).toEqual([false, ['connect', 'subscribe', 'run']])
    consumer.join(0, 1)
    await opening
    expect(isOpen).toBe(true)
  })

  it('rejects with the reason of a crash, is not lost, and disconnects only after kafkajs has started', async ({
    expect,
  }) => {
    const { consumer, recorder, subscription } = setup()
    const opening = subscription.open()
    await ticks()
    consumer.emit('consumer.crash', { error: new Error('no coordinator') })
    await expect(opening).rejects.toMatchObject({ kind: 'unavailable', message: expect.stringContaining('no coord') })
    await ticks()
    expect(consumer.calls).not.toContain('disconnect')
    consumer.started.resolve()
    await ticks()
    expect([consumer.calls.at(-1), recorder.losses]).toEqual(['disconnect', []])
  })

  it('gives up when the group is not joined in time', async ({ expect }) => {
    const { clock, subscription } = setup()
    const opening = subscription.open()
    const failed = expect(opening).rejects.toMatchObject({ retryable: true })
    await ticks()
    for (let i = 0; i < 80; i++) clock.advance(500)
    await failed
  })

  it('rejects when it is closed during the start', async ({ expect }) => {
    const { consumer, subscription } = setup()
    const opening = subscription.open()
    await ticks()
    consumer.started.resolve()
    const failed = expect(opening).rejects.toMatchObject({ code: 'binder.transport' })
    await Promise.all([subscription.close(), failed])
  })
})

describe('a subscription that breaks', () => {
  it('is lost once, with the reason of the crash although the stop came first', async ({ expect }) => {
    const { clock, consumer, recorder, answers, opened, rejoin } = setup()
    await opened(0)
    void consumer.batch(0, 0, 3)
    await ticks()
    consumer.emit('consumer.stop')
    consumer.emit('consumer.crash', { error: new Error('fatal') })
    clock.advance(500)
    consumer.emit('consumer.crash', { error: new Error('again') })
    await ticks()
    expect(recorder.losses.map(({ message }) => message)).toEqual([expect.stringContaining('fatal')])
    expect(recorder.got.map(({ signal }) => signal.aborted)).toEqual([true, true, true])
    expect(answers.at(-1)?.message).toBe('fatal')
    await expect(rejoin()).rejects.toMatchObject({ code: 'binder.kafka.join_refused', retriable: false })
  })

  it('is lost when kafkajs stops without an error', async ({ expect }) => {
    const { clock, consumer, recorder, opened } = setup()
    await opened(0)
    consumer.emit('consumer.stop')
    expect(recorder.losses).toEqual([])
    clock.advance(500)
    expect(recorder.losses).toHaveLength(1)
  })

  it('is lost after a session timeout without an answer, not before', async ({ expect }) => {
    const { clock, consumer, recorder, opened } = setup()
    await opened(0)
    for (let i = 0; i < 19; i++) clock.advance(500)
    consumer.emit('consumer.heartbeat')
    for (let i = 0; i < 20; i++) clock.advance(500)
    expect(recorder.losses).toEqual([])
    clock.advance(500)
    expect(recorder.losses).toHaveLength(1)
  })

  it('cannot be restarted by kafkajs', async ({ expect }) => {
    let retry: { restartOnFailure?: (error: Error) => Promise<boolean> } = {}
    const kafka = {
      producer: never,
      admin: never,
      consumer: (config: { retry?: typeof retry }) => {
        retry = config.retry ?? {}
        return new FakeConsumer()
      },
    }
    const spec = { topic: 't', groupId: 'g', partitions: 4, prefetch: 1, prefetchBytes: 1, startAt: undefined }
    createConsumer(resolveKafkaOptions({ kafka }), spec, never)
    expect(await retry.restartOnFailure?.(new Error('crash'))).toBe(false)
  })
})

describe('a pause', () => {
  it('leaves batches where they are', async ({ expect }) => {
    const { consumer, recorder, subscription, opened } = setup()
    await opened(0)
    subscription.pause()
    await consumer.batch(0, 0, 3)
    expect([recorder.got.length, consumer.resolved]).toEqual([0, []])
    subscription.resume()
    await consumer.batch(0, 0, 3)
    expect(recorder.got).toHaveLength(3)
  })

  it('holds fetched messages', async ({ expect }) => {
    const { consumer, recorder, subscription, opened } = setup(undefined, 1)
    await opened(0)
    const taken = consumer.batch(0, 0, 3)
    await ticks()
    subscription.pause()
    await taken
    recorder.got[0]?.ack()
    expect(recorder.got).toHaveLength(1)
    subscription.resume()
    expect(recorder.got).toHaveLength(2)
  })
})

describe('a subscription without a group', () => {
  it('begins at its configured position, continues after its lowest unfinished message, and commits nothing', async ({
    expect,
  }) => {
    const { clock, consumer, recorder, opened, rejoin } = setup(new Map([[0, 100]]))
    await opened(0, 1)
    expect(consumer.seeks).toEqual(['0:100', '1:0'])
    await consumer.batch(0, 100, 5)
    for (const i of [0, 1]) recorder.got[i]?.ack()
    const joining = rejoin()
    for (const delivery of recorder.got) delivery.release()
    await joining
    consumer.join(0, 1)
    expect(consumer.seeks.slice(2)).toEqual(['0:102', '1:0'])
    clock.advance(1_000)
    await ticks()
    expect(consumer.committed).toEqual([])
  })

  it('takes no batch that was fetched before it was told where to begin', async ({ expect }) => {
    const { consumer, recorder, opened } = setup(new Map([[0, 100]]))
    await opened(0)
    consumer.isStale = true
    await consumer.batch(0, 0, 5)
    expect([recorder.got.length, consumer.resolved]).toEqual([0, []])
  })

  it('continues after its lowest unfinished message when it was expelled', async ({ expect }) => {
    const { clock, consumer, recorder, opened, rejoin } = setup(new Map([[0, 100]]))
    await opened(0)
    await consumer.batch(0, 100, 5)
    for (const i of [0, 1]) recorder.got[i]?.ack()
    consumer.heartbeat = expelled
    clock.advance(500)
    await ticks()
    await rejoin()
    consumer.join(0)
    expect(consumer.seeks).toEqual(['0:100', '0:102'])
  })
})
