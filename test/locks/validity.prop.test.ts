import { createLocks } from 'concordat/locks'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { drain, FakeClock } from '../support/locks/fake-clock.ts'
import { ScriptedStore } from '../support/locks/scripted-store.ts'
import { inputs } from '../support/suite/night.ts'

type Step =
  | { readonly do: 'advance' | 'stall' | 'suspend'; readonly ms: number }
  | { readonly do: 'answer'; readonly as: 'extended' | 'lost' | 'fail' }

/** Either the machine sleeps or its clock is set back; both in one lease are documented as not covered. */
const steps = fc.boolean().chain((sleeps) => {
  const suspend = sleeps ? { min: 0, max: 700 } : { min: -2_000, max: 0 }
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ do: fc.constantFrom('advance' as const, 'stall' as const), ms: fc.integer({ min: 0, max: 700 }) }),
    fc.record({ do: fc.constant('suspend' as const), ms: fc.integer(suspend) }),
    fc.record({
      do: fc.constant('answer' as const),
      as: fc.constantFrom('extended' as const, 'lost' as const, 'fail' as const),
    }),
  )
  return fc.array(step, { maxLength: 40 })
})

/**
 * Runs the server's view in parallel: it counts the ttl from the moment it executed the last accepted request, on a
 * clock that sees every kind of passing time. The holder's belief must never outlive it, for any order of stalls,
 * sleeps, clock changes and late or lost answers.
 */
it('the holder never believes longer than the server keeps the lock, and a lost lock stays lost', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (scenario) => {
      const clock = new FakeClock()
      const store = new ScriptedStore()
      const locks = createLocks(store, { clock })
      let realMs = 0
      let serverUntil = 1_000
      const open: Array<PromiseWithResolvers<'extended' | 'lost'>> = []
      store.extend = () => {
        // The server executes at once and extends the lease; the scenario decides when the holder gets the answer.
        serverUntil = realMs < serverUntil ? realMs + 1_000 : serverUntil
        const reply = Promise.withResolvers<'extended' | 'lost'>()
        open.push(reply)
        return reply.promise
      }
      const lease = await locks.acquire('k', { ttlMs: 1_000 })
      let wasLost = false
      for (const current of scenario) {
        if (current.do === 'answer') {
          const reply = open.shift()
          if (current.as === 'fail') reply?.reject(new Error('scripted'))
          else reply?.resolve(current.as)
          await drain()
        } else if (current.do === 'advance') {
          for (let ms = 0; ms < current.ms; ms += 50) {
            const part = Math.min(50, current.ms - ms)
            // The server's clock is ahead of the holder's inside a step: the harsher order.
            realMs += part
            await clock.advance(part)
          }
        } else {
          if (current.do === 'stall') clock.stall(current.ms)
          else clock.suspend(current.ms)
          if (current.ms > 0) realMs += current.ms
        }
        const believes = lease.remainingMs() > 0
        if (believes) {
          expect(realMs).toBeLessThan(serverUntil)
          expect(wasLost).toBe(false)
          expect(lease.signal.aborted).toBe(false)
        }
        wasLost ||= !believes
      }
    }),
    { numRuns: inputs(300) },
  )
})
