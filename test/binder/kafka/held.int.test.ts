import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { SECOND } from 'concordat/core'
import { it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { memoryLogger } from '../support/memory-logger.ts'
import { range } from './kit.ts'

const SESSION_MS = 3 * SECOND
const BACKLOG = 16
const LATER = 8

describeWith(['kafka'], 'Kafka, for longer than sessions and polls may last', () => {
  it('a rate limit, a pause and an open circuit keep the assignment, and lose and repeat nothing', async ({
    expect,
  }) => {
    const channel = defineChannel(`held-${randomUUID().slice(0, 8)}`, { payload: TestPayload, partitions: 1 })
    const got = { slow: [] as number[], paused: [] as number[], broken: [] as number[] }
    const handler =
      (group: keyof typeof got) =>
      ({ n }: TestPayload): void =>
        void got[group].push(n)
    let failures = 0
    const { logger, lines } = memoryLogger()
    // Far less than the backlog: fetched messages wait here, and kafkajs waits with the next batch.
    const prefetch = 2
    const binder = createBinder({
      service: 'held',
      logger,
      transport: kafkaOn(serverUrl('kafka') as string, {
        sessionTimeoutMs: SESSION_MS,
        rebalanceTimeoutMs: SESSION_MS,
        heartbeatIntervalMs: SESSION_MS / 10,
      }),
      bindings: [
        sink(channel, { group: 'slow', prefetch, rateLimit: { perSecond: 4, burst: 1 } }, handler('slow')),
        sink(channel, { group: 'paused', prefetch }, handler('paused')),
        sink(
          channel,
          {
            group: 'broken',
            prefetch,
            backoff: { initialMs: 1 },
            circuitBreaker: { failures: 1, pauseMs: 4 * SECOND },
          },
          (payload) => {
            if (failures++ === 0) throw new Error('away')
            handler('broken')(payload)
          },
        ),
      ],
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready({ timeoutMs: 60 * SECOND })
    const [, paused] = binder.bindings()
    const control = binder.binding(paused?.name ?? '')
    const key = 'k'
    await binder.sendBatch(
      channel,
      range(BACKLOG).map((n) => ({ key, n })),
    )
    await until('all have begun', () => got.slow.length > 0 && got.paused.length > 0 && failures > 0)
    control.pause()
    await binder.sendBatch(
      channel,
      range(LATER, BACKLOG).map((n) => ({ key, n })),
    )
    const begun = performance.now()
    const all = range(BACKLOG + LATER)
    await until('the slow one and the broken one have done it all', () =>
      [got.slow, got.broken].every(({ length }) => length >= all.length),
    )
    expect(performance.now() - begun).toBeGreaterThan(SESSION_MS)
    control.resume()
    await until('the paused one has too', () => got.paused.length >= all.length)
    expect(got).toEqual({ slow: all, paused: all, broken: all })
    expect(lines.filter(([, text]) => text === 'joined a Kafka group')).toHaveLength(Object.keys(got).length)
  })
})
