import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { SECOND } from 'concordat/core'
import { expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { kafkajsOn, platformaticOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { memoryLogger } from '../support/memory-logger.ts'
import { range } from './kit.ts'

const SESSION_MS = 2 * SECOND
const DRIVERS = { kafkajs: kafkajsOn, platformatic: platformaticOn }

/** A handler that computes, and waits for nothing. */
function compute(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

function setup(driver: keyof typeof DRIVERS, work: (n: number, calls: number) => void) {
  const channel = defineChannel(`busy-${randomUUID().slice(0, 8)}`, { payload: TestPayload, partitions: 1 })
  const calls: number[] = []
  const { logger, lines } = memoryLogger()
  const binder = createBinder({
    service: 'busy',
    logger,
    transport: DRIVERS[driver](serverUrl('kafka') as string, {
      sessionTimeoutMs: SESSION_MS,
      rebalanceTimeoutMs: 3 * SESSION_MS,
      heartbeatIntervalMs: SESSION_MS / 10,
      // Commits are late, so a member that loses its assignment loses the commit of everything settled.
      commitIntervalMs: 60 * SECOND,
    }),
    bindings: [
      sink(channel, { group: 'g' }, ({ n }) => {
        calls.push(n)
        work(n, calls.filter((each) => each === n).length)
      }),
    ],
  })
  onTestFinished(() => binder.close())
  const send = async (count: number): Promise<void> => {
    await binder.start()
    await binder.ready({ timeoutMs: 60 * SECOND })
    await binder.sendBatch(
      channel,
      range(count).map((n) => ({ key: 'k', n })),
    )
  }
  return { binder, calls, lines, send }
}

describeWith(['kafka'], 'a Kafka group whose handlers compute', () => {
  it.for(['kafkajs', 'platformatic'] as const)(
    'handles a backlog that takes three sessions once, on %s',
    { timeout: 120_000 },
    async (driver) => {
      const { binder, calls, send } = setup(driver, () => compute(60))
      await send(100)
      await until('all are handled', () => binder.bindings()[0]?.handled === 100, 60_000)
      expect(calls).toEqual(range(100))
      expect(binder.bindings()[0]).toMatchObject({ subscribed: 1 })
    },
  )

  it.for(['kafkajs', 'platformatic'] as const)(
    'keeps settled messages when a handler takes longer than the session, and reports that as the reason, on %s',
    { timeout: 120_000 },
    async (driver) => {
      const { binder, calls, lines, send } = setup(driver, (n, call) => {
        if (n === 20 && call === 1) compute(2 * SESSION_MS)
      })
      await send(40)
      await until('all are handled', () => new Set(calls).size === 40 && binder.health().status === 'up', 60_000)
      await until('the last one is settled', () => binder.bindings()[0]?.handled === 40, 60_000)
      expect(calls.filter((n) => n !== 20)).toEqual(range(40).filter((n) => n !== 20))
      expect(calls.filter((n) => n === 20).length).toBeLessThanOrEqual(2)
      const reasons = lines.flatMap(([fields]) => {
        const { err } = fields as { readonly err?: unknown }
        return err instanceof Error ? [err.message] : []
      })
      expect(reasons.find((reason) => reason.includes('the event loop was blocked for 4 s'))).toBeDefined()
    },
  )
})
