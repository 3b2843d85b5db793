import { createLocks, type Lease, type Locks } from 'concordat/locks'
import { memoryLockServer, memoryLocks } from 'concordat/locks/memory'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FakeClock } from '../support/locks/fake-clock.ts'
import { type Fault, FaultyNetwork, FaultyStore, faults } from '../support/locks/faulty-store.ts'

const TTL_MS = 1_000
const EXPECTED = ['locks.store_unavailable', 'locks.lost', 'locks.timeout']

/** The resource: accepts rising tokens only, and remembers every refusal. */
class Sink {
  readonly refused: string[] = []
  #last = 0

  write(lease: Lease): void {
    if (lease.token < this.#last) this.refused.push(`${lease.token} after ${this.#last}`)
    this.#last = Math.max(this.#last, lease.token)
  }
}

/** Three sections per contender: short, long enough for renewals, and one under `await` without a check at the end. */
async function contend(locks: Locks, clock: FakeClock, sink: Sink, outcomes: string[]): Promise<void> {
  for (const workMs of [50, 2_200, 300]) {
    try {
      await locks.using('k', { ttlMs: TTL_MS, waitMs: 15_000 }, async (lease) => {
        for (let done = 0; done < workMs; done += 50) {
          lease.assertValid()
          sink.write(lease)
          await clock.sleep(50)
        }
      })
      outcomes.push('ok')
    } catch (error) {
      outcomes.push((error as { code?: string }).code ?? String(error))
    }
  }
}

/** Two contenders over a network with these faults; checks what must hold whatever happens. Returns the steps taken. */
async function run(plan: ReadonlyMap<number, Fault>): Promise<number> {
  const clock = new FakeClock()
  const server = memoryLockServer({ clock })
  const network = new FaultyNetwork(server, clock, plan)
  const sink = new Sink()
  const outcomes: string[] = []
  const contenders = ['a', 'b'].map((id) => createLocks(new FaultyStore(network, id), { clock, owner: id }))
  const all = Promise.all(contenders.map((locks) => contend(locks, clock, sink, outcomes)))
  let finished = false
  void all.then(() => {
    finished = true
  })
  for (let ms = 0; !finished && ms < 90_000; ms += 500) await clock.advance(500)
  expect(finished, 'every call settles').toBe(true)
  expect(outcomes.filter((outcome) => outcome !== 'ok' && !EXPECTED.includes(outcome))).toEqual([])
  // A write right after assertValid is never too late: the belief of one never overlaps the grant of another.
  expect(sink.refused).toEqual([])
  await clock.advance(2 * TTL_MS)
  expect(server.keys(), 'nothing stays behind').toEqual([])
  expect(await memoryLocks({ server, clock }).tryAcquire('k')).toBeDefined()
  return network.steps
}

describe('contenders over a network that fails', () => {
  it('keep every promise whichever single step fails in whichever way', { timeout: 120_000 }, async () => {
    const steps = await run(new Map())
    expect(steps).toBeGreaterThan(15)
    for (let step = 0; step < steps; step++) {
      for (const fault of faults) {
        await run(new Map([[step, fault]])).catch((error: unknown) => {
          throw new Error(`step ${step}, ${fault}`, { cause: error })
        })
      }
    }
  })

  it('keep every promise under many faults at random', { timeout: 120_000 }, async () => {
    const step = fc.tuple(fc.integer({ min: 0, max: 40 }), fc.constantFrom(...faults))
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 10 }), async (plan) => {
        await run(new Map(plan))
      }),
      { numRuns: 100 },
    )
  })
})
