import { createElection, type Election, type Term } from 'concordat/election'
import { createLocks, type Locks } from 'concordat/locks'
import { type MemoryLockServer, memoryLockServer } from 'concordat/memory'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { type Fault, FaultyNetwork, FaultyStore, faults } from '../../support/locks/faulty-store.ts'
import { inputs } from '../../support/suite/night.ts'

const TTL_MS = 1_000
const GRACE_MS = 400
const KEY = 'election/r'

/** Behaviours of a handler during its term. */
const behaviours = ['return', 'until aborted', 'outlive', 'throw', 'reject late', 'stall', 'resign', 'close'] as const
type Behaviour = (typeof behaviours)[number]

type Step =
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'stall'; readonly ms: number }
  | { readonly do: 'resign' | 'close'; readonly who: number }

/** An instance, with the invariants that concern it alone. A closed one is replaced by a new one of the same name. */
class Instance {
  readonly name: string
  readonly #world: World
  readonly #locks: Locks
  election: Election
  running = 0
  lastEvent: 'granted' | 'revoked' = 'revoked'

  constructor(name: string, world: World, network: FaultyNetwork) {
    this.name = name
    this.#world = world
    this.#locks = createLocks(new FaultyStore(network, name), { clock: world.clock, owner: name })
    this.election = this.#campaign()
  }

  #campaign(): Election {
    const { clock } = this.#world
    const election = createElection({
      locks: this.#locks,
      role: 'r',
      instance: this.name,
      ttlMs: TTL_MS,
      stopGraceMs: GRACE_MS,
      retryMs: 50,
      coolDownMs: 50,
      clock,
      onGranted: (term) => this.#during(() => this.#world.behave(election, term)),
      onRevoked: (term) => this.#during(async () => this.#world.check('revoked after the signal', term.signal.aborted)),
    })
    election.subscribe((event) => {
      this.#world.check(`events of ${this.name} alternate`, event.type !== this.lastEvent)
      this.lastEvent = event.type
      if (event.type === 'granted') {
        this.#world.check(`handlers of ${this.name} have ended before its next term`, this.running === 0)
        this.#world.granted(event.term)
      }
      this.#world.probe()
    })
    election.start()
    return election
  }

  async close(): Promise<void> {
    const { election } = this
    this.#world.background(election.close())
    if (this.running === 0) await Promise.resolve()
  }

  /** Starts the next life, once the last one has ended. */
  revive(): void {
    if (this.election.status().state === 'closed' && this.running === 0) {
      this.lastEvent = 'revoked'
      this.election = this.#campaign()
    }
  }

  async end(): Promise<void> {
    await this.election.close()
    await this.#locks.close()
  }

  async #during(handler: () => Promise<void>): Promise<void> {
    this.running++
    try {
      await handler()
    } finally {
      this.running--
    }
  }
}

/** All instances on one clock and one server, and what must hold over all of them. */
class World {
  readonly clock = new FakeClock()
  readonly server: MemoryLockServer = memoryLockServer({ clock: this.clock })
  readonly instances: readonly Instance[]
  readonly problems: unknown[] = []
  readonly #behaviours: Behaviour[]
  readonly #outliving: Array<() => void> = []
  #isOver = false
  #lastTerm = 0
  grants = 0

  constructor(plan: ReadonlyMap<number, Fault>, handlers: readonly Behaviour[]) {
    this.#behaviours = [...handlers]
    const network = new FaultyNetwork(this.server, this.clock, plan)
    this.instances = ['a', 'b', 'c'].map((name) => new Instance(name, this, network))
  }

  granted(term: number): void {
    this.check('terms rise over all instances', term > this.#lastTerm)
    this.#lastTerm = term
    this.grants++
  }

  /** Checks at any moment: at most one instance believes that it leads, and that one holds the lease on the server. */
  probe(): void {
    const believed =
      this.instances?.map(({ election }) => election?.current()).filter((term) => term !== undefined) ?? []
    this.check('at most one believes', believed.length <= 1)
    const held = this.server.inspect(KEY)?.holders.map(({ token }) => token) ?? []
    for (const { term } of believed) this.check('who believes holds the lease', held.length === 1 && held[0] === term)
  }

  /** Records a failed check, since the caller may swallow an error. */
  check(what: string, holds: boolean): void {
    if (!holds) this.problems.push(what)
  }

  background(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.problems.push(error))
  }

  async behave(election: Election, term: Term): Promise<void> {
    const behaviour = this.#isOver ? 'return' : (this.#behaviours.shift() ?? 'until aborted')
    const untilAborted = async (): Promise<void> => {
      if (!term.signal.aborted) await new Promise((resolve) => term.signal.addEventListener('abort', resolve))
    }
    switch (behaviour) {
      case 'return':
        return
      case 'until aborted':
        return untilAborted()
      case 'outlive':
        await untilAborted()
        return this.#isOver ? undefined : new Promise((resolve) => this.#outliving.push(resolve))
      case 'throw':
        throw new Error('scripted')
      case 'reject late':
        await this.clock.sleep(300)
        throw new Error('scripted')
      case 'stall':
        this.clock.stall(TTL_MS + 200)
        this.probe()
        return
      case 'resign':
        await this.clock.sleep(100)
        return election.resign()
      case 'close':
        return election.close()
      default:
        return behaviour satisfies never
    }
  }

  async advance(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 20) {
      await this.clock.advance(Math.min(20, ms - passed))
      this.probe()
    }
  }

  async perform(step: Step): Promise<void> {
    if (step.do === 'advance') return this.advance(step.ms)
    if (step.do === 'stall') {
      this.clock.stall(step.ms)
      return this.probe()
    }
    const instance = this.instances[step.who] as Instance
    if (step.do === 'resign') this.background(instance.election.resign())
    else if (instance.election.status().state === 'closed') instance.revive()
    else await instance.close()
    this.probe()
  }

  /** Ends faults and bad behaviour: everything that can recover has to recover. */
  async heal(): Promise<void> {
    this.#isOver = true
    for (const end of this.#outliving.splice(0)) end()
    await this.advance(2_000)
    for (const instance of this.instances) instance.revive()
    for (let ms = 0; ms < 70_000 && !this.instances.some(({ election }) => election.current() !== undefined); ms += 500)
      await this.advance(500)
    expect(
      this.instances.filter(({ election }) => election.current() !== undefined),
      'a candidate leads in the end',
    ).toHaveLength(1)
  }

  async end(): Promise<void> {
    const closing = Promise.all(this.instances.map((instance) => instance.end()))
    let isClosed = false
    void closing.then(() => {
      isClosed = true
    })
    for (let ms = 0; !isClosed && ms < 10_000; ms += 100) await this.clock.advance(100)
    expect(isClosed, 'all close').toBe(true)
    await this.clock.advance(3 * TTL_MS)
    expect(this.server.keys(), 'nothing stays behind').toEqual([])
  }
}

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 1_500 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stall' as const), ms: fc.integer({ min: 1, max: 2_500 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('resign' as const, 'close' as const),
      who: fc.integer({ min: 0, max: 2 }),
    }),
  },
)
const fault = fc.tuple(fc.integer({ min: 0, max: 80 }), fc.constantFrom(...faults))

it('at most one candidate believes that it leads, events alternate, terms rise, handlers end before the next term, and a leader is found in the end', {
  timeout: 240_000,
}, async () => {
  let grants = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fault, { maxLength: 15 }),
      fc.array(fc.constantFrom(...behaviours), { maxLength: 15 }),
      fc.array(step, { minLength: 5, maxLength: 25 }),
      async (plan, handlers, steps) => {
        const world = new World(new Map(plan), handlers)
        for (const each of steps) await world.perform(each)
        await world.heal()
        await world.end()
        grants += world.grants
        expect(world.problems).toEqual([])
      },
    ),
    { numRuns: inputs(200) },
  )
  expect(grants).toBeGreaterThan(inputs(500))
})
