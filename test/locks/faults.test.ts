import { createLocks, type Lease, type Locks } from 'concordat/locks'
import { memoryLockServer, memoryLocks } from 'concordat/memory'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LeaseOptions } from '../support/inside/locks.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'
import { type Fault, FaultyNetwork, FaultyStore, faults } from '../support/locks/faulty-store.ts'
import { inputs } from '../support/suite/night.ts'

const TTL_MS = 1_000
const EXPECTED = ['locks.store_unavailable', 'locks.lost', 'locks.timeout']

/** Modes in which the two contenders take the lock. Two holders of one permit exclude each other like two writers. */
const MODES: ReadonlyArray<readonly [LeaseOptions, LeaseOptions]> = [
  [{}, {}],
  [{}, { mode: 'shared' }],
  [{ permits: 1 }, { permits: 1 }],
  [{ lockDelayMs: 700 }, { lockDelayMs: 700 }],
]

/**
 * The resource: accepts rising tokens only, and remembers every refusal. The writer must be the only one that believes
 * in a lease at that moment, by the clock that all share here.
 */
class Sink {
  readonly refused: string[] = []
  readonly #inside = new Set<Lease>()
  #last = 0

  enter(lease: Lease): void {
    this.#inside.add(lease)
  }

  leave(lease: Lease): void {
    this.#inside.delete(lease)
  }

  write(lease: Lease): void {
    if (lease.token < this.#last) this.refused.push(`${lease.token} after ${this.#last}`)
    const others = [...this.#inside].filter((other) => other !== lease && other.remainingMs() > 0)
    if (others.length > 0) this.refused.push(`${lease.token} beside ${others.map((other) => other.token).join()}`)
    this.#last = Math.max(this.#last, lease.token)
  }
}

/** Three sections per contender: short, long enough for renewals, and one under `await` without a check at the end. */
async function contend(
  locks: Locks,
  options: LeaseOptions,
  clock: FakeClock,
  sink: Sink,
  outcomes: string[],
): Promise<void> {
  for (const workMs of [50, 2_200, 300]) {
    try {
      await locks.using('k', { ...options, ttlMs: TTL_MS, waitMs: 15_000 }, async (lease) => {
        sink.enter(lease)
        try {
          for (let done = 0; done < workMs; done += 50) {
            lease.assertValid()
            sink.write(lease)
            await clock.sleep(50)
          }
        } finally {
          sink.leave(lease)
        }
      })
      outcomes.push('ok')
    } catch (error) {
      outcomes.push((error as { code?: string }).code ?? String(error))
    }
  }
}

/** Runs two contenders over a network with these faults and checks the invariants. Returns the steps taken. */
async function run(modes: readonly [LeaseOptions, LeaseOptions], plan: ReadonlyMap<number, Fault>): Promise<number> {
  const clock = new FakeClock()
  const server = memoryLockServer({ clock })
  const network = new FaultyNetwork(server, clock, plan)
  const sink = new Sink()
  const outcomes: string[] = []
  const contenders = ['a', 'b'].map((id) => createLocks(new FaultyStore(network, id), { clock, owner: id }))
  const all = Promise.all(contenders.map((locks, n) => contend(locks, modes[n as 0 | 1], clock, sink, outcomes)))
  let finished = false
  void all.then(() => {
    finished = true
  })
  for (let ms = 0; !finished && ms < 90_000; ms += 500) await clock.advance(500)
  expect(finished, 'every call settles').toBe(true)
  expect(outcomes.filter((outcome) => outcome !== 'ok' && !EXPECTED.includes(outcome))).toEqual([])
  // A write right after assertValid is never too late: the belief of one never overlaps the grant of another.
  expect(sink.refused).toEqual([])
  await clock.advance(2 * TTL_MS + (modes[0].lockDelayMs ?? 0))
  const left = server.keys().filter((key) => key !== 'concordat/probe')
  expect(left, 'nothing stays behind').toEqual([])
  expect(await memoryLocks({ server, clock }).tryAcquire('k')).toBeDefined()
  return network.steps
}

describe.for(MODES)('contenders over a network that fails (%j, %j)', (modes) => {
  it('keep every promise with any failure of any single step', { timeout: 120_000 }, async () => {
    const steps = await run(modes, new Map())
    expect(steps).toBeGreaterThan(15)
    for (let step = 0; step < steps; step++) {
      for (const fault of faults) {
        await run(modes, new Map([[step, fault]])).catch((error: unknown) => {
          throw new Error(`step ${step}, ${fault}`, { cause: error })
        })
      }
    }
  })

  it('keep every promise under many faults at random', { timeout: 120_000 }, async () => {
    const step = fc.tuple(fc.integer({ min: 0, max: 40 }), fc.constantFrom(...faults))
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 10 }), async (plan) => {
        await run(modes, new Map(plan))
      }),
      { numRuns: inputs(100) },
    )
  })
})
