/** Which faults there are, and when one comes. */
import { draw, shortName } from './draws.ts'

/** Faults that the world may inject where code makes a request. `docs/contributing/how-we-test.md` explains each. */
export const FAULT_KINDS = [
  'kill',
  'kill-after',
  'freeze',
  'drop',
  'drop-after',
  'delay',
  'double',
  'deafen',
  'restart',
  'forget',
] as const

/**
 * - `kill`, `kill-after`: the instance ends before its request left, or when it was carried out; it starts again later
 * - `freeze`: nothing of it runs for a while, up to 30 s
 * - `drop`, `drop-after`: the connection breaks before the request arrives, or before the answer does
 * - `delay`: the request is under way for up to 10 s
 * - `double`: a message is published once more, up to 2 s later
 * - `deafen`: a hint (a wake-up of a lock) is lost
 * - `restart`: the server is away for up to 3 s; what was under way to it is lost, or its answer is
 * - `forget`: as `restart`, and the server of locks has forgotten everything
 */
export type FaultKind = (typeof FAULT_KINDS)[number]

/** A fault as it happened: `id` names its place in any history of the same services. */
export interface SimulatedFault {
  readonly id: string
  readonly kind: FaultKind
  /** Instance, point, occurrence. */
  readonly place: string
}

/** Decides what happens at each place. */
export interface FaultPlan {
  at(place: FaultPlace, kinds: readonly FaultKind[]): FaultKind | undefined
}

export interface FaultPlace {
  readonly instance: string
  readonly point: string
  /** 1 for the first time that this instance is there. */
  readonly count: number
  /** Since the history began. */
  readonly atMs: number
}

export function nameOfPlace({ instance, point, count }: Omit<FaultPlace, 'atMs'>): string {
  return `${instance} ${point} #${count}`
}

/** Largest number in one history; more would be one long outage. */
const MOST_FAULTS = 12
const RATES = [0.003, 0.01, 0.02, 0.05] as const
/** Each history prefers some kinds and leaves out others: a mixture of all hides what one alone would show. */
const WEIGHTS = [0, 0, 1, 1, 3] as const
/** Rare events are hit more often: most places are polls, and most decisions are made once. */
const RARE = 2
/** Lets a share of histories begin without faults: otherwise all faults of many would hit their starts. */
const LONGEST_PEACE_MS = 4_000

/** Draws the faults from the seed. @see Groce et al., "Swarm Testing", ISSTA 2012 */
export class DrawnFaults implements FaultPlan {
  readonly #seed: number
  readonly #rate: number
  readonly #weights: ReadonlyMap<FaultKind, number>
  readonly #peaceMs: number
  #left = MOST_FAULTS

  constructor(seed: number, only: readonly FaultKind[] = FAULT_KINDS) {
    this.#seed = seed
    this.#peaceMs = LONGEST_PEACE_MS * Math.max(0, draw(seed, 'peace') * 1.5 - 0.5) ** 2
    this.#rate = RATES[Math.floor(draw(seed, 'rate') * RATES.length)] ?? RATES[0]
    this.#weights = new Map(
      only.map((kind) => [kind, WEIGHTS[Math.floor(draw(seed, 'weight', kind) * WEIGHTS.length)] ?? 0]),
    )
  }

  at(place: FaultPlace, kinds: readonly FaultKind[]): FaultKind | undefined {
    if (this.#left === 0 || place.atMs < this.#peaceMs) return undefined
    const name = nameOfPlace(place)
    const chance = this.#rate * Math.max(0.25, RARE / Math.sqrt(place.count))
    if (draw(this.#seed, 'fault', name) >= chance) return undefined
    const kind = this.#kindFor(name, kinds)
    if (kind !== undefined) this.#left--
    return kind
  }

  #kindFor(name: string, kinds: readonly FaultKind[]): FaultKind | undefined {
    const weights = kinds.map((kind) => this.#weights.get(kind) ?? 0)
    let left = draw(this.#seed, 'kind', name) * weights.reduce((sum, weight) => sum + weight, 0)
    return kinds.find((_, index) => (left -= weights[index] ?? 0) < 0)
  }
}

/** A fault's fields that are known before it happens. */
export type GivenFault = Pick<SimulatedFault, 'id' | 'kind'>

/** These faults and no others. */
export class GivenFaults implements FaultPlan {
  readonly #kinds: ReadonlyMap<string, FaultKind>
  /** Why not, by the id of each that has not come. */
  readonly #missing: Map<string, string>

  constructor(faults: readonly GivenFault[]) {
    this.#kinds = new Map(faults.map(({ id, kind }) => [id, kind]))
    this.#missing = new Map(faults.map(({ id }) => [id, 'was not met']))
  }

  at(place: FaultPlace, kinds: readonly FaultKind[]): FaultKind | undefined {
    if (this.#kinds.size === 0) return undefined
    const name = nameOfPlace(place)
    const id = shortName(name)
    const kind = this.#kinds.get(id)
    if (kind === undefined) return undefined
    if (kinds.includes(kind)) this.#missing.delete(id)
    else this.#missing.set(id, `cannot come at ${name}, but ${kinds.join(', ')} can`)
    return kinds.includes(kind) ? kind : undefined
  }

  /** Faults that did not happen, each with its reason. */
  get missing(): readonly string[] {
    return [...this.#missing].map(([id, why]) => `fault ${id}:${this.#kinds.get(id)} ${why}`)
  }
}
