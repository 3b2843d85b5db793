/** One history, from the first start to the last invariant. */
import { MINUTE, SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { SqlClient } from '../../core/sql.ts'
import type { Coverage } from './coverage.ts'
import { draw } from './draws.ts'
import { facadeOf, Servers } from './facade.ts'
import type { FaultPlan, SimulatedFault } from './faults.ts'
import type { Instance } from './instance.ts'
import type { SimulatedWorld, SimulationOptions } from './simulation.ts'
import { forgetDrawn, runIn, turn } from './surroundings.ts'
import { World } from './world.ts'

/** What is played. */
export interface Play {
  readonly options: SimulationOptions
  readonly databases: ReadonlyMap<string, PlayedDatabase>
  readonly coverage: Coverage
}

export interface PlayedDatabase {
  readonly sql: SqlClient
  /** Back to how it was. */
  restore(seed: number): Promise<void>
}

/** Where a history begins. */
export interface Beginning {
  readonly seed: number
  readonly size: number
  readonly plan: FaultPlan
}

export interface Played {
  readonly lines: readonly string[]
  readonly fired: readonly SimulatedFault[]
  readonly simulatedMs: number
  readonly failure: { readonly invariant: string; readonly error: Error } | undefined
}

const CLIENT = 'client'
const LOOK_MS = 500
const SETTLES_WITHIN_MS = 5 * MINUTE
/** A workload that has not ended by then never will. */
const LONGEST_WORKLOAD_MS = 60 * MINUTE
const MOST_EVENTS = 1_000_000
const STARTS_WITHIN_MS = 50
const START_AGAIN_MS = 1 * SECOND
/** Of code of dead instances that is not waiting for the world. */
const LAST_TURNS = 5

export async function play({ options, databases, coverage }: Play, { seed, size, plan }: Beginning): Promise<Played> {
  for (const database of databases.values()) await database.restore(seed)
  forgetDrawn()
  const world = new World(seed, plan, coverage)
  const company = new Company(world, options, new Map([...databases].map(([name, { sql }]) => [name, sql])))
  const failure = await company.play(size)
  const { lines, fired, timeline } = world
  const simulatedMs = timeline.nowMs
  company.end()
  for (let n = 0; n < LAST_TURNS; n++) await turn()
  for (const { sql } of databases.values()) await sql.query('ROLLBACK')
  forgetDrawn()
  return { lines, fired, simulatedMs, failure }
}

type Failure = NonNullable<Played['failure']>

/** The instances of all services, and who starts them. */
class Company {
  readonly #world: World
  readonly #options: SimulationOptions
  readonly #servers: Servers
  readonly #client: Instance
  /** What of the script is under way: whose name a failure gets. */
  #doing = 'the workload ends'
  #failure: Failure | undefined
  #isOver = false

  constructor(world: World, options: SimulationOptions, databases: ReadonlyMap<string, SqlClient>) {
    this.#world = world
    this.#options = options
    this.#servers = new Servers(world, databases)
    this.#client = world.start(CLIENT, '', 1)
    world.onDeath(({ name, service, generation }, startsInMs) => {
      if (!this.#isOver) world.timeline.after(startsInMs, () => this.#start(name, service, generation + 1))
    })
  }

  async play(size: number): Promise<Failure | undefined> {
    const onUnhandled = (reason: unknown): void => this.#fail('no rejection is unhandled', reason)
    process.on('unhandledRejection', onUnhandled)
    try {
      this.#startAll()
      this.#world.timeline.after(0, () => void runIn(this.#client, () => this.#script(size)))
      await this.#run()
      return this.#failure
    } finally {
      process.off('unhandledRejection', onUnhandled)
    }
  }

  /** Nothing of any of them runs any more. */
  end(): void {
    this.#isOver = true
    for (const instance of this.#world.instances.values()) instance.kill()
    this.#world.timeline.clear()
  }

  async #run(): Promise<void> {
    const { timeline } = this.#world
    for (let events = 0; !this.#isOver; events++) {
      const deadlineMs = this.#deadlineMs
      if (events > MOST_EVENTS) this.#fail('a history ends', `it has more than ${MOST_EVENTS} events`)
      else if (timeline.nowMs > deadlineMs)
        this.#fail(this.#doing, `not by second ${Math.round(deadlineMs / SECOND)} of its time`)
      else await this.#next()
    }
  }

  /** What a timer or a delivery throws at once is a failure of this history. */
  async #next(): Promise<void> {
    try {
      if (!(await this.#world.next())) this.#fail(this.#doing, 'nothing will ever happen any more')
    } catch (error) {
      this.#fail('no error is uncaught', error)
    }
  }

  #deadlineMs = LONGEST_WORKLOAD_MS

  async #script(size: number): Promise<void> {
    const facade = facadeOf(this.#world, this.#servers.connect(this.#client), size)
    try {
      await this.#options.workload(facade)
      this.#world.heal()
      await this.#settle(facade)
      for (const [name, holds] of Object.entries(this.#options.invariants)) {
        this.#doing = name
        this.#deadlineMs = this.#world.timeline.nowMs + LONGEST_WORKLOAD_MS
        await holds(facade)
      }
      this.#isOver = true
    } catch (error) {
      this.#fail(this.#doing, error)
    }
  }

  async #settle(facade: SimulatedWorld): Promise<void> {
    const { settled, settlesWithinMs = SETTLES_WITHIN_MS } = this.#options
    this.#doing = 'all is settled'
    this.#deadlineMs = this.#world.timeline.nowMs + settlesWithinMs
    while (settled !== undefined && !(await settled(facade))) await facade.sleep(LOOK_MS)
  }

  #startAll(): void {
    for (const [service, { instances = 2 }] of Object.entries(this.#options.services)) {
      for (let n = 1; n <= instances; n++) {
        const name = `${service}-${n}`
        this.#world.timeline.after(STARTS_WITHIN_MS * draw(this.#world.seed, name, 'start'), () =>
          this.#start(name, service, 1),
        )
      }
    }
  }

  #start(name: string, service: string, generation: number): void {
    const world = this.#world
    const instance = world.start(name, service, generation)
    world.note(name, generation === 1 ? 'starts' : `starts again (${generation})`)
    runIn(instance, () => this.#begin(service, instance)).catch((error: unknown) => {
      if (!instance.isAlive) return
      world.note(name, `does not start: ${toError(error).message}`)
      instance.kill()
      world.timeline.after(START_AGAIN_MS, () => this.#start(name, service, generation + 1))
    })
  }

  async #begin(service: string, instance: Instance): Promise<void> {
    await this.#options.services[service]?.start(this.#servers.connect(instance))
  }

  #fail(invariant: string, reason: unknown): void {
    this.#isOver = true
    if (this.#failure !== undefined) return
    const error = toError(reason)
    this.#failure = { invariant, error }
    this.#world.note('world', `"${invariant}" does not hold: ${error.message}`)
  }
}
