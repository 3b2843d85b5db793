import { createElection, createSchedule, type Election } from 'concordat/election'
import { memoryLockServer, memoryLocks } from 'concordat/memory'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { JobRun } from '../../support/inside/election.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { inputs } from '../../support/suite/night.ts'

const EVERY_MS = 700
const NODES = 3

type Step =
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'stall'; readonly ms: number }
  | { readonly do: 'set forward'; readonly ms: number }
  | { readonly do: 'resign'; readonly who: number }

/** Three instances with the same job on one clock; what must hold is checked at each run. */
class World {
  readonly clock = new FakeClock()
  readonly elections: readonly Election[]
  readonly problems: string[] = []
  readonly ticks: number[] = []
  readonly #running = new Map<number, number>()
  readonly #durations: number[]
  #isOver = false

  constructor(durations: readonly number[], overlap: 'skip' | 'queue', hasRecord: boolean) {
    this.#durations = [...durations]
    const server = memoryLockServer({ clock: this.clock })
    this.elections = Array.from({ length: NODES }, (_, who) => {
      const { clock } = this
      const locks = memoryLocks({ server, clock })
      const election = createElection({ locks, role: 'r', instance: `${who}`, ttlMs: 2_000, stopGraceMs: 500, clock })
      const jobs = [{ name: 'j', everyMs: EVERY_MS, overlap, work: (run: JobRun) => this.#work(who, run) }]
      const lastTick = hasRecord ? (): number | undefined => this.ticks.at(-1) : undefined
      createSchedule({ election, clock, jobs, lastTick }).start()
      election.start()
      return election
    })
  }

  #check(what: string, holds: boolean): void {
    if (!holds) this.problems.push(what)
  }

  async #work(who: number, run: JobRun): Promise<void> {
    this.#check('it runs only while its instance leads', this.elections[who]?.current() === run.term)
    this.#check('the tick has come', run.scheduledAt <= this.clock.now())
    this.#check('it is a tick', run.scheduledAt % EVERY_MS === 0)
    this.#check('ticks rise, each once, whichever candidate leads', run.scheduledAt > (this.ticks.at(-1) ?? 0))
    this.#check('one at a time', (this.#running.get(who) ?? 0) === 0)
    this.ticks.push(run.scheduledAt)
    this.#running.set(who, 1)
    const duration = this.#isOver ? 0 : (this.#durations.shift() ?? 0)
    // Some runs obey their signal, others ignore it.
    await this.clock.sleep(duration, duration % 2 === 0 ? run.signal : undefined).catch(() => {})
    this.#running.set(who, 0)
  }

  async perform(step: Step): Promise<void> {
    if (step.do === 'advance') await this.clock.advance(step.ms)
    else if (step.do === 'stall') this.clock.stall(step.ms)
    else if (step.do === 'set forward') this.clock.suspend(step.ms)
    else void this.elections[step.who]?.resign()
  }

  async end(): Promise<void> {
    this.#isOver = true
    await this.clock.advance(10_000)
    const before = this.ticks.length
    await this.clock.advance(10 * EVERY_MS)
    this.#check('it goes on in the end', this.ticks.length >= before + 9)
    const closing = Promise.all(this.elections.map((election) => election.close()))
    await this.clock.advance(2_000)
    await closing
    this.#check('nothing is left', this.clock.pendingTimers === 0)
  }
}

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 3_000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stall' as const), ms: fc.integer({ min: 1, max: 4_000 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('set forward' as const), ms: fc.integer({ min: 1, max: 4_000 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('resign' as const), who: fc.integer({ min: 0, max: NODES - 1 }) }),
  },
)

it('a job runs while its instance leads, one at a time, and each tick at most once over all leaders', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 2_500 }), { maxLength: 20 }),
      fc.constantFrom('skip' as const, 'queue' as const),
      fc.boolean(),
      fc.array(step, { minLength: 5, maxLength: 25 }),
      async (durations, overlap, hasRecord, steps) => {
        const world = new World(durations, overlap, hasRecord)
        for (const each of steps) await world.perform(each)
        await world.end()
        expect(world.problems).toEqual([])
      },
    ),
    { numRuns: inputs(100) },
  )
})
