import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, sinkBatch } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { SECOND, silentLogger } from 'concordat/core'
import { expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { numbers } from './kit.ts'

const HEARTBEAT_S = 1

/** A handler that computes, and waits for nothing. */
function compute(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

describeWith(['rabbitmq'], 'a batch on RabbitMQ', () => {
  it('loses only the message that blocks beyond the heartbeats', { timeout: 120_000 }, async () => {
    const channel = defineChannel(`busy-${randomUUID().slice(0, 8)}`, { payload: TestPayload, partitions: 1 })
    const calls: number[][] = []
    const handler = (items: ReadonlyArray<{ readonly payload: TestPayload }>): void => {
      calls.push(items.map(({ payload }) => payload.n))
      if (items.some(({ payload }) => payload.n === 5)) compute(5 * HEARTBEAT_S * SECOND)
    }
    const binder = createBinder({
      service: 'busy',
      transport: rabbitTransport({ url: `${serverUrl('rabbitmq')}?heartbeat=${HEARTBEAT_S}` }),
      bindings: [sinkBatch(channel, { group: 'g', maxAttempts: 2, batch: { maxSize: 10, maxWaitMs: 200 } }, handler)],
      logger: silentLogger,
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready({ timeoutMs: 30 * SECOND })
    await binder.sendBatch(
      channel,
      numbers(10).map((n) => ({ key: 'k', n })),
    )
    const status = () => binder.bindings()[0]
    await until('the one is a dead letter', () => status()?.deadLettered === 1, 100_000)
    await until('the others are handled', () => calls.at(-1)?.at(-1) === 9)
    expect(calls.slice(0, 2)).toEqual([numbers(10), numbers(10)])
    const alone = calls.slice(2)
    expect(alone.filter(({ length }) => length > 1)).toEqual([])
    // A message handled just before the assignment was lost may be delivered again.
    expect(alone.flat().filter((n) => n !== 4)).toEqual([0, 1, 2, 3, 5, 5, 6, 7, 8, 9])
    expect(status()).toMatchObject({ deadLettered: 1 })
  })
})
