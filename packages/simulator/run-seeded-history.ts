/** A history, from the first start to the last invariant. */
import { MINUTE, SECOND, type SqlClient } from 'concordat/core'
import { toError, wrongKind } from 'concordat/extension'
import { forgetDrawn, runIn, turn } from './current-process.ts'
import type { FaultCoverage } from './fault-coverage.ts'
import type { FaultPlan, SimulatedFault } from './faults.ts'
import { InstanceStarts } from './instance-starts.ts'
import { forgetRealWaits, possibleWaits, type RealWait } from './process/real-waits.ts'
import { hearUncaught } from './process/uncaught.ts'
import type { Kept } from './restore-database.ts'
import type { SimulatedWorld, SimulationOptions } from './simulate-options.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import { facadeOf, Servers } from './simulated-servers.ts'
import { World } from './world.ts'

/** A history to run. */
export interface Play {
  readonly options: SimulationOptions
  readonly databases: ReadonlyMap<string, PlayedDatabase>
  readonly coverage: FaultCoverage
}

export interface PlayedDatabase extends Kept {
  readonly sql: SqlClient
}

/** Initial state of a history. */
export interface Beginning {
  readonly seed: number
  readonly size: number
  readonly plan: FaultPlan
}

export interface Played {
  readonly lines: readonly string[]
  readonly fired: readonly SimulatedFault[]
  readonly simulatedMs: number
  readonly failure: Failure | undefined
}

/** A violated invariant. */
export interface Failure {
  readonly invariant: string
  readonly error: Error
  /** Other irregularities that may be the cause. */
  readonly hints: readonly string[]
}

const CLIENT = 'client'
const LOOK_MS = 500
const SETTLES_WITHIN_MS = 5 * MINUTE
/** A workload that has not ended by then never will. */
const LONGEST_WORKLOAD_MS = 60 * MINUTE
const MOST_EVENTS = 1_000_000
/** Turns for code of dead instances that does not wait for the world. */
const LAST_TURNS = 5

export async function play({ options, databases, coverage }: Play, { seed, size, plan }: Beginning): Promise<Played> {
  for (const database of databases.values()) await database.restore(seed)
  forgetDrawn()
  forgetRealWaits()
  const world = new World(seed, plan, coverage)
  const script = new Script(world, options, new Map([...databases].map(([name, { sql }]) => [name, sql])))
  const ended = await script.play(size)
  for (const { sql } of databases.values()) await sql.query('ROLLBACK')
  forgetDrawn()
  await requireUnchanged(databases, seed)
  return { lines: world.lines, fired: world.faults.fired, ...ended }
}

/** Only rows are restored: with other changes, the next history would be a different one. @throws TypeError */
async function requireUnchanged(databases: Play['databases'], seed: number): Promise<void> {
  for (const [name, database] of databases) {
    const change = await database.change()
    if (change === undefined) continue
    throw new TypeError(
      `simulate.databases.${name}.prepare: ${change} in the history of seed ${seed}, and the next one would begin with that. ` +
        'Only rows are put back, so make everything else in `prepare`',
    )
  }
}

/** The script of a history: the workload, then healing and settling, then the invariants. */
class Script {
  readonly #world: World
  readonly #options: SimulationOptions
  readonly #servers: Servers
  readonly #starts: InstanceStarts
  readonly #client: SimulatedProcess
  /** Current phase: a failure gets its name. */
  #doing = 'the workload ends'
  /** Deadline of the current phase. */
  #deadlineMs = LONGEST_WORKLOAD_MS
  #awaitsStarts = false
  #failure: Failure | undefined
  #isOver = false

  constructor(world: World, options: SimulationOptions, databases: ReadonlyMap<string, SqlClient>) {
    this.#world = world
    this.#options = options
    this.#servers = new Servers(world, databases)
    this.#client = world.start(CLIENT, '', 1)
    this.#starts = new InstanceStarts(world, options.services, this.#servers)
    world.onReal((wait) => this.#failReal(wait))
  }

  async play(size: number): Promise<Pick<Played, 'failure' | 'simulatedMs'>> {
    const stop = hearUncaught((invariant, reason) => this.#fail(invariant, reason))
    try {
      this.#starts.begin()
      this.#world.timeline.after(0, () => void runIn(this.#client, () => this.#play(size)))
      await this.#run()
      const ended = { failure: this.#failure, simulatedMs: this.#world.timeline.nowMs }
      this.#starts.end()
      for (let n = 0; n < LAST_TURNS; n++) await turn()
      return ended
    } finally {
      stop()
    }
  }

  async #run(): Promise<void> {
    for (let events = 0; !this.#isOver; events++) {
      if (events > MOST_EVENTS) this.#fail('a history ends', `it has more than ${MOST_EVENTS} events`)
      else if (this.#world.timeline.nowMs > this.#deadlineMs) this.#failLate()
      else await this.#next()
    }
  }

  /** An exception of a timer or a delivery is a failure of this history. */
  async #next(): Promise<void> {
    try {
      if (!(await this.#world.next())) this.#fail(this.#doing, 'nothing will ever happen any more', { isStill: true })
    } catch (error) {
      this.#fail('no error is uncaught', error)
    }
  }

  async #play(size: number): Promise<void> {
    const facade = facadeOf(this.#world, this.#servers.connect(this.#client), size)
    try {
      await this.#options.workload(facade)
      this.#world.heal()
      await this.#settle(facade)
      for (const [name, holds] of Object.entries(this.#options.invariants)) {
        this.#doing = name
        this.#deadlineMs = this.#world.timeline.nowMs + LONGEST_WORKLOAD_MS
        if ((await holds(facade)) === false) throw new Error('it answered false')
      }
      this.#isOver = true
    } catch (error) {
      this.#fail(this.#doing, error)
    }
  }

  /** Requires that instances started: without any work, many invariants hold trivially. */
  async #settle(facade: SimulatedWorld): Promise<void> {
    const { settled, settlesWithinMs = SETTLES_WITHIN_MS } = this.#options
    this.#deadlineMs = this.#world.timeline.nowMs + settlesWithinMs
    this.#awaitsStarts = true
    while (this.#starts.late.length > 0) await facade.sleep(LOOK_MS)
    this.#awaitsStarts = false
    this.#doing = 'all is settled'
    while (settled !== undefined && !settledBy(await settled(facade))) await facade.sleep(LOOK_MS)
  }

  #failLate(): void {
    const [late] = this.#awaitsStarts ? this.#starts.late : []
    const isStill = true
    if (late !== undefined) this.#fail(`${late.name} starts`, late.error, { isStill })
    else this.#fail(this.#doing, `not by second ${Math.round(this.#deadlineMs / SECOND)} of its time`, { isStill })
  }

  #failReal({ who, kind }: RealWait): void {
    const invariant = who === CLIENT ? this.#doing : 'services wait for nothing real'
    this.#fail(
      invariant,
      `${who} waits for a real ${kind}, which this world has not: give it something of the world, or a stand-in that answers by itself`,
    )
  }

  /** Records the first failure, which ends the history. */
  #fail(invariant: string, reason: unknown, { isStill = false } = {}): void {
    this.#isOver = true
    if (this.#failure !== undefined) return
    const error = toError(reason)
    const late = this.#starts.late.filter(({ name }) => `${name} starts` !== invariant)
    const hints = [
      ...late
        .filter(({ hasRejected }) => isStill || hasRejected)
        .map((each) => `${each.name} is not up: ${each.error.message}`),
      ...(isStill ? possibleWaits().map(({ who, kind }) => `${who} may wait for a real ${kind}`) : []),
    ]
    this.#failure = { invariant, error, hints: [...new Set(hints)] }
    this.#world.note('world', `"${invariant}" does not hold: ${error.message}`)
  }
}

/** Rows would be truthy even if there are none. @throws TypeError */
function settledBy(answer: unknown): boolean {
  if (typeof answer === 'boolean') return answer
  throw wrongKind('simulate.settled', answer, 'an answer of true or false')
}
