/** A handler call that does not return: the status of its binding and the health of its service. */
import { defineChannel, sink, sinkBatch, source } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { createService } from 'concordat/service'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'

const jobs = defineChannel('jobs', { payload: z.object({}), groups: ['g'] })

test.each(['sink', 'sinkBatch'] as const)(
  'a call of a %s that hangs makes its service degraded, which stays ready, until it returns',
  async (kind) => {
    const hanging = Promise.withResolvers<void>()
    const options = { group: 'g', slowAfterMs: 10 }
    const handler = (): Promise<void> => hanging.promise
    const binding = kind === 'sink' ? sink(jobs, options, handler) : sinkBatch(jobs, options, handler)
    const shop = createService({ name: 'shop', transport: memoryTransport(), bindings: [binding], sends: [jobs] })
    onTestFinished(() => shop.close())
    await shop.start()
    expect(shop.binder.bindings()[0]).not.toHaveProperty('runningForMs')
    await shop.send(jobs, {})
    await until('it is seen', () => shop.health().status === 'degraded')
    expect(shop.binder.bindings()[0]).toMatchObject({ isSlow: true, runningForMs: expect.any(Number) })
    expect(shop.health()).toMatchObject({
      live: true,
      ready: true,
      parts: { binder: { status: 'degraded', detail: expect.stringContaining('jobs.g: a handler call has run for') } },
    })
    hanging.resolve()
    await until('it is well again', () => shop.health().status === 'up')
    expect(shop.binder.bindings()[0]).not.toHaveProperty('isSlow')
  },
)

test('a poll of a source that hangs makes its service degraded, which stays ready, until it returns', async () => {
  const hanging = Promise.withResolvers<void>()
  const binding = source(jobs, { everyMs: 60_000, slowAfterMs: 10 }, () => hanging.promise.then(() => undefined))
  const shop = createService({ name: 'shop', transport: memoryTransport(), bindings: [binding] })
  onTestFinished(() => shop.close())
  await shop.start()
  await until('it is seen', () => shop.health().status === 'degraded')
  expect(shop.binder.bindings()[0]).toMatchObject({ isSlow: true, runningForMs: expect.any(Number) })
  expect(shop.health()).toMatchObject({
    ready: true,
    parts: { binder: { status: 'degraded', detail: expect.stringContaining('jobs.source: a poll has run for') } },
  })
  hanging.resolve()
  await until('it is well again', () => shop.health().status === 'up')
  expect(shop.binder.bindings()[0]).not.toHaveProperty('isSlow')
})
