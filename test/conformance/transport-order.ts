import { setTimeout as pause } from 'node:timers/promises'
import { sink } from 'concordat/binder'
import { describe, it } from 'vitest'
import { until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { createTestChannel, started, type TestChannel, type TestPayload } from './transport-kit.ts'

const KEYS = 12
const PER_KEY = 30

/**
 * Checks handlers: order per key, and never two messages of one key at once. A repeat of an earlier number is legal, a
 * jump is not.
 */
class OrderWatch {
  readonly violations: string[] = []
  readonly #last: Map<string, number> = new Map()
  readonly #busy: Set<string> = new Set()
  repeats = 0

  begin({ key, n }: TestPayload): void {
    const last = this.#last.get(key) ?? -1
    if (this.#busy.has(key)) this.violations.push(`${key}: ${n} began while another was running`)
    if (n > last + 1) this.violations.push(`${key}: ${n} after ${last}`)
    if (n <= last) this.repeats++
    this.#busy.add(key)
  }

  end({ key, n }: TestPayload): void {
    this.#busy.delete(key)
    this.#last.set(key, Math.max(n, this.#last.get(key) ?? -1))
  }

  abandon({ key }: TestPayload): void {
    this.#busy.delete(key)
  }

  get complete(): boolean {
    return this.#last.size === KEYS && [...this.#last.values()].every((last) => last === PER_KEY - 1)
  }
}

const workload = (): TestPayload[] =>
  Array.from({ length: KEYS * PER_KEY }, (_, i) => ({ key: `k${i % KEYS}`, n: Math.floor(i / KEYS) }))

export function orderCases(context: CaseContext): void {
  const watched = (channel: TestChannel, watch: OrderWatch, onBegin: () => void = () => {}) =>
    sink(channel, { group: 'g', concurrency: 6 }, async (payload) => {
      watch.begin(payload)
      onBegin()
      await pause(Math.random() * 4)
      watch.end(payload)
    })

  describe('order per key', () => {
    it('holds under concurrency', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const watch = new OrderWatch()
      const binder = await started(context.transport(), { bindings: [watched(channel, watch)] })
      await binder.sendBatch(channel, workload())
      await until('all were handled', () => watch.complete)
      expect(watch.violations).toEqual([])
      expect(watch.repeats).toBe(0)
    })

    it('holds across a blocking retry', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const watch = new OrderWatch()
      const seen: string[] = []
      const flaky = sink(
        channel,
        { group: 'g', concurrency: 6, maxAttempts: 3, backoff: { initialMs: 5, maxMs: 10 } },
        async (payload, { attempt }) => {
          watch.begin(payload)
          await pause(Math.random() * 2)
          if (payload.n % 5 === 0 && attempt < 3) {
            watch.abandon(payload)
            seen.push(`${payload.key}:${payload.n}`)
            throw new Error('again, please')
          }
          watch.end(payload)
        },
      )
      const binder = await started(context.transport(), { bindings: [flaky] })
      await binder.sendBatch(channel, workload())
      await until('all were handled', () => watch.complete)
      expect(watch.violations).toEqual([])
      expect(seen.length).toBe(2 * KEYS * (PER_KEY / 5))
    })

    it('holds while members join and leave', { timeout: 120_000 }, async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const watch = new OrderWatch()
      let begun = 0
      const binding = watched(channel, watch, () => begun++)
      const first = await started(context.transport(), { bindings: [binding], drainTimeoutMs: 10_000 })
      await first.sendBatch(channel, workload())
      await until('the first member works', () => begun > 20)
      const second = await started(context.transport(), { bindings: [binding], drainTimeoutMs: 10_000 })
      await first.close()
      await until('the second member handled the rest', () => watch.complete, 60_000)
      await second.close()
      expect(watch.violations).toEqual([])
    })
  })
}
