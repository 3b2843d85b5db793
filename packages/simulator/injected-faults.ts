import { draw, shortName } from './draws.ts'
import type { FaultCoverage } from './fault-coverage.ts'
import { type FaultKind, type FaultPlan, nameOfPlace, type SimulatedFault } from './faults.ts'
import type { SimulatedProcess } from './simulated-process.ts'

const LONGEST_DELAY_MS = 10_000

/** Counts how often each instance has been at each point, asks the plan whether a fault happens there, and draws latencies. */
export class InjectedFaults {
  readonly fired: SimulatedFault[] = []
  readonly #seed: number
  readonly #plan: FaultPlan
  readonly #coverage: FaultCoverage
  readonly #note: (who: string, text: string) => void
  readonly #counts = new Map<string, number>()
  #isOver = false

  /** @param note writes a line of the history */
  constructor(seed: number, plan: FaultPlan, coverage: FaultCoverage, note: (who: string, text: string) => void) {
    this.#seed = seed
    this.#plan = plan
    this.#coverage = coverage
    this.#note = note
  }

  /** Injects no more faults from now on. */
  end(): void {
    this.#isOver = true
  }

  /**
   * A fault of this kind that happens here and now, or none.
   * @param atMs since the history began
   */
  at(instance: SimulatedProcess, point: string, kinds: readonly FaultKind[], atMs: number): SimulatedFault | undefined {
    const counted = `${instance.name} ${point}`
    const count = (this.#counts.get(counted) ?? 0) + 1
    this.#counts.set(counted, count)
    if (instance.service === '') return undefined
    const place = { instance: instance.name, point, count, atMs }
    const kind = this.#isOver || !instance.isAlive ? undefined : this.#plan.at(place, kinds)
    this.#coverage.passed(`${instance.service}: ${point}`, kinds, kind)
    if (kind === undefined) return undefined
    const name = nameOfPlace(place)
    const fault = { id: shortName(name), kind, place: name }
    this.fired.push(fault)
    this.#note(instance.name, `FAULT ${kind} at ${point} #${count} [${fault.id}]`)
    return fault
  }

  /** Latency of one direction. */
  latencyMs(instance: SimulatedProcess, what: string): number {
    const counted = `${instance.name} ${what}`
    const x = draw(this.#seed, counted, this.#counts.get(counted) ?? 0, 'latency')
    return x < 0.95 ? 0.5 + 3 * x : 5 + 1_000 * (x - 0.95)
  }

  delayMs(fault: SimulatedFault | undefined): number {
    return fault?.kind === 'delay' ? 50 + LONGEST_DELAY_MS * this.drawn(fault, 'delay') ** 2 : 0
  }

  drawn(fault: SimulatedFault, what: string): number {
    return draw(this.#seed, fault.id, what)
  }
}
