/**
 * Whatever calls back or answers in microtasks gives the event loop its turns: a loop of such calls stops no timer, no socket
 * and no signal of the process. Consumers of each transport have the same test in `test/conformance/transport-turns.ts`.
 */
import { createBinder, defineChannel, redrive, sink, TerminalError } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/binder/memory'
import { redisStateStore } from 'concordat/cluster/redis'
import { silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { redisFence, redisLocks } from 'concordat/locks/redis'
import { redisTokens } from 'concordat/tokens/redis'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

/** Nothing listens there. */
const AWAY = { url: 'redis://127.0.0.1:1', logger: silentLogger, answerMs: 100 }
const LOOP_MS = 100

/** Repeats `work` without a pause for a while. @returns how often a timer fired meanwhile */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let fired = 0
  const timer = setInterval(() => fired++, 1)
  onTestFinished(() => clearInterval(timer))
  const endsAt = performance.now() + LOOP_MS
  while (performance.now() < endsAt) await work().catch(() => {})
  return fired
}

const closing = <T extends { close(): Promise<void> }>(part: T): T => {
  onTestFinished(() => part.close())
  return part
}

const CALLS: Readonly<Record<string, () => () => Promise<unknown>>> = {
  'locks on Redis': () => {
    const locks = closing(redisLocks(AWAY))
    return () => locks.tryAcquire('k')
  },
  'tokens on Redis': () => {
    const tokens = closing(redisTokens(AWAY))
    return () => tokens.take('hash')
  },
  'cluster state on Redis': () => {
    const store = closing(redisStateStore({ url: AWAY.url, answerMs: 100 }))
    return () => store.members('cluster')
  },
  'a fence on Redis': () => {
    const fence = redisFence(AWAY)
    onTestFinished(() => fence[Symbol.asyncDispose]())
    return () => fence.write('resource', 1, [['SET', 'k', 'v']])
  },
}

it.each(Object.keys(CALLS))(
  'a caller of %s who tries again without a pause lets timers fire while the store is away',
  async (name) => {
    const call = CALLS[name]?.()
    if (call === undefined) throw new Error(name)
    await expect(call()).rejects.toThrow()
    expect(await turnsDuring(call)).toBeGreaterThan(LOOP_MS / 20)
  },
)

it('statements on PGlite one after the other let timers fire, outside of transactions and within one', async () => {
  const database = freshPglite()
  onTestFinished(() => database.close())
  const sql = pgliteClient(database)
  await sql.query('SELECT 1')
  expect(await turnsDuring(() => sql.query('SELECT 1'))).toBeGreaterThan(2)
  const fired = await sql.transaction((tx) => turnsDuring(() => tx.query('SELECT 1')))
  expect(fired).toBeGreaterThan(2)
})

it('a redrive whose filter computes lets timers fire between two letters', async () => {
  const broker = memoryBroker()
  const channel = defineChannel('orders', { payload: z.number(), groups: ['g'] })
  const binding = sink(channel, { group: 'g' }, () => {
    throw new TerminalError('never')
  })
  await using binder = createBinder({
    service: 's',
    transport: memoryTransport({ broker }),
    bindings: [binding],
    logger: silentLogger,
  })
  await binder.start()
  await binder.sendBatch(
    channel,
    Array.from({ length: 20 }, (_, n) => n),
  )
  await until('all are dead letters', () => binder.binding('orders.g').status().deadLettered === 20)
  let inThisTurn = 0
  let most = 0
  const timer = setInterval(() => (inThisTurn = 0), 1)
  onTestFinished(() => clearInterval(timer))
  const report = await redrive({ service: 's', transport: memoryTransport({ broker }) }, channel, 'g', {
    filter: () => {
      most = Math.max(most, ++inThisTurn)
      const endsAt = performance.now() + 12
      while (performance.now() < endsAt);
      return true
    },
  })
  expect(report.sent).toBe(20)
  expect(most).toBeLessThanOrEqual(3)
})
