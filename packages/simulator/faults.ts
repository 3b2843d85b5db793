/** Defines the kinds of faults, and decides when one happens. */
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
 * - `kill`, `kill-after`: the instance ends before its request is sent, or after it was carried out; it starts again later
 * - `freeze`: the instance does not run for up to 30 s
 * - `drop`, `drop-after`: the connection breaks before the request arrives, or before the response does
 * - `delay`: the request takes up to 10 s
 * - `double`: a message is published once more, up to 2 s later
 * - `deafen`: a hint (a wake-up of a lock) is lost
 * - `restart`: the server is unavailable for up to 3 s; requests in progress are lost, or their responses are
 * - `forget`: as `restart`, and the lock server has lost all its data
 */
export type FaultKind = (typeof FAULT_KINDS)[number]

/** A fault that happened: `id` identifies its place in any history of the same services. */
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

/** Maximum number in one history; more would be one long outage. */
const MOST_FAULTS = 12
const RATES = [0.003, 0.01, 0.02, 0.05] as const
/** Each history prefers some kinds and leaves out others: a mixture of all hides effects that one kind alone would show. */
const WEIGHTS = [0, 0, 1, 1, 3] as const
/** Rare events are hit more often: most places are polls, and most decisions are made once. */
const RARE = 2
/** Lets a share of histories start without faults: otherwise all faults of many histories would hit their starts. */
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

/** Exactly these faults. */
export class GivenFaults implements FaultPlan {
  readonly #kinds: ReadonlyMap<string, FaultKind>
  /** The reason for each fault that has not happened, by its id. */
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
