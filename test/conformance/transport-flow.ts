import { pollable, sink, TerminalError } from 'concordat/binder'
import { describe, it } from 'vitest'
import { gate, until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { collector, createTestChannel, deadLettersOf, NO_PAUSE, started, type TestPayload } from './transport-kit.ts'

const numbers = (count: number, key: (n: number) => string = () => 'k'): TestPayload[] =>
  Array.from({ length: count }, (_, n) => ({ key: key(n), n }))

export function flowCases(context: CaseContext): void {
  describe('a circuit breaker', () => {
    it('pauses the binding, tries one message, and loses and reorders nothing', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const handled: string[] = []
      let isDown = true
      const binding = sink(
        channel,
        {
          group: 'g',
          concurrency: 4,
          maxAttempts: 1_000,
          backoff: NO_PAUSE,
          circuitBreaker: { failures: 2, pauseMs: 50 },
        },
        ({ key, n }) => {
          if (isDown) throw new Error('the warehouse is down')
          handled.push(`${key}${n}`)
        },
      )
      const binder = await started(context.transport(), { bindings: [binding] })
      await binder.sendBatch(
        channel,
        numbers(20, (n) => 'abcd'.charAt(n % 4)),
      )
      const status = () => binder.binding(`${channel.name}.g`).status()
      await until('it is open', () => status().circuit === 'open')
      expect(status()).toMatchObject({ handled: 0, deadLettered: 0 })
      expect(binder.health().status).toBe('up')
      isDown = false
      await until('all were handled', () => status().handled === 20)
      expect(status()).toMatchObject({ state: 'running', circuit: 'closed', deadLettered: 0, subscribed: 1 })
      for (const [i, key] of ['a', 'b', 'c', 'd'].entries())
        expect(handled.filter((each) => each.startsWith(key))).toEqual(
          Array.from({ length: 5 }, (_, n) => `${key}${4 * n + i}`),
        )
    })

    it('counts no failed trial as an attempt, and a message that fails always ends by its attempts', async ({
      expect,
    }) => {
      const channel = createTestChannel(context.freshName())
      const attempts: number[] = []
      let trials = 0
      const binding = sink(
        channel,
        {
          group: 'g',
          concurrency: 2,
          maxAttempts: 2,
          backoff: NO_PAUSE,
          circuitBreaker: { failures: 1, pauseMs: 5 },
        },
        ({ n }, { attempt }) => {
          attempts.push(attempt)
          if (binder.binding(`${channel.name}.g`).status().circuit === 'half-open') trials++
          if (trials < 10 || n === 0) throw new Error('down')
        },
      )
      const dead = collector(deadLettersOf(channel, 'g'), 'redrive')
      const binder = await started(context.transport(), { bindings: [binding, dead.binding] })
      await binder.sendBatch(
        channel,
        numbers(6, (n) => `k${n}`),
      )
      const status = () => binder.binding(`${channel.name}.g`).status()
      await until('all ended', () => status().handled === 5 && dead.got.length === 1)
      expect(dead.got[0]).toMatchObject({ payload: { n: 0 }, context: { headers: { 'dead-letter-attempts': 2 } } })
      expect(trials).toBeGreaterThanOrEqual(10)
      expect(Math.max(...attempts)).toBe(2)
    })
  })

  describe('a rate limit', () => {
    it('lets a burst through, then its rate, and loses nothing', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const at: number[] = []
      const binding = sink(channel, { group: 'g', rateLimit: { perSecond: 20, burst: 5 } }, () => {
        at.push(performance.now())
      })
      const binder = await started(context.transport(), { bindings: [binding] })
      const startedAt = performance.now()
      await binder.sendBatch(channel, numbers(15))
      await until('all were handled', () => at.length >= 15)
      // Ten beyond the burst take at least half a second, however the machine stalls.
      expect((at[14] ?? 0) - startedAt).toBeGreaterThanOrEqual(490)
      expect(binder.binding(`${channel.name}.g`).status()).toMatchObject({ state: 'running', subscribed: 1 })
    })
  })

  describe('lag', () => {
    it('counts the group’s unsettled messages, and is unknown for a binding without a group', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { opened, open } = gate()
      const binding = sink(channel, { group: 'g' }, () => opened)
      const live = sink(channel, { name: 'live' }, () => {})
      const binder = await started(context.transport(), { bindings: [binding, live] })
      const lag = () => binder.lag(`${channel.name}.g`)
      await binder.sendBatch(
        channel,
        numbers(30, (n) => `k${n}`),
      )
      await until('all of them lag', async () => (await lag()) === 30)
      expect(await binder.lag('live')).toBeUndefined()
      open()
      await until('none lags', async () => (await lag()) === 0)
      await expect(binder.lag('nobody')).rejects.toThrow('binding: expected one of')
    })

    it('the lag of dead letters counts those not redriven, and is unknown for a binding without any', async ({
      expect,
    }) => {
      const channel = createTestChannel(context.freshName())
      const fails = (): never => {
        throw new TerminalError('no')
      }
      const bindings = [
        sink(channel, { group: 'g' }, fails),
        sink(channel, { group: 'drops', onFailure: 'drop' }, fails),
        sink(channel, { name: 'live' }, () => {}),
      ]
      const binder = await started(context.transport(), { bindings })
      expect(await binder.deadLetters(`${channel.name}.g`)).toBe(0)
      await binder.sendBatch(channel, numbers(3))
      await until('three lie there', async () => (await binder.deadLetters(`${channel.name}.g`)) === 3)
      expect([await binder.deadLetters(`${channel.name}.drops`), await binder.deadLetters('live')]).toEqual([
        undefined,
        undefined,
      ])
    })

    it('grows while the binding is stopped', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      await binder.binding(`${channel.name}.g`).stop()
      await binder.sendBatch(channel, numbers(3))
      await until('they lag', async () => (await binder.lag(`${channel.name}.g`)) === 3)
      expect(got).toEqual([])
    })
  })

  describe('poll', () => {
    it('pulls one message at a time, dead-letters failed ones, is false when there is none, and leaves the rest', async ({
      expect,
    }) => {
      const channel = createTestChannel(context.freshName())
      const jobs = pollable(channel, { group: 'g', maxAttempts: 2, backoff: NO_PAUSE, keepMs: 60_000 })
      const binder = await started(context.transport(), { bindings: [jobs], sends: [channel] })
      await binder.sendBatch(channel, numbers(4))
      const got: string[] = []
      const poll = (): Promise<boolean> =>
        binder.poll(
          jobs,
          ({ n }, { attempt }) => {
            got.push(`${n}/${attempt}`)
            if (n === 1) throw new Error('always')
          },
          { waitMs: 30_000 },
        )
      expect(await poll()).toBe(true)
      expect(await poll()).toBe(true)
      expect(got).toEqual(['0/1', '1/1', '1/2'])
      const control = binder.binding(`${channel.name}.g`)
      expect(control.status()).toMatchObject({ handled: 1, deadLettered: 1, queued: 0, running: 0 })
      // The member leaves, and another member continues from its position.
      await control.stop()
      const rest = collector(channel, 'g')
      const other = await started(context.transport(), { bindings: [rest.binding] })
      await until('the rest came', () => rest.got.length >= 2)
      expect(rest.got.map(({ payload }) => payload.n)).toEqual([2, 3])
      await other.close()
      expect(await binder.poll(jobs, () => {}, { waitMs: 100 })).toBe(false)
    })
  })

  describe('the byte budget', () => {
    it('bounds what one process holds of large messages', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { opened, open } = gate()
      const size = 200_000
      let handled = 0
      const binding = sink(channel, { group: 'g', prefetch: 20, prefetchBytes: 2 * size }, async () => {
        await opened
        handled++
      })
      const binder = await started(context.transport(), { bindings: [binding] })
      const large = Array.from({ length: 30 }, (_, n) => ({ key: `k${n}`.padEnd(size, '-'), n }))
      let most = 0
      const look = (): number => {
        const { running, queued } = binder.binding(`${channel.name}.g`).status()
        most = Math.max(most, running + queued)
        return handled
      }
      for (const each of large) await binder.send(channel, each, { key: `k${each.n % 7}` })
      await until('it holds some', () => look() === 0 && most > 0)
      open()
      await until('all were handled', () => look() === 30)
      // Two fit; a third does where the budget is checked before a message and not after.
      expect(most).toBeLessThanOrEqual(3)
    })
  })
}
