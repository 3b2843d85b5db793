/** The processes of a run: two of each role, hired again when they die. */
import { setPriority } from 'node:os'
import { Actor } from '../../faults/harness/actor.ts'
import type { Event } from '../../faults/harness/events.ts'
import { Reaper } from '../../faults/harness/reaper.ts'
import { type Order, type Place, ROLES, type Role } from '../place.ts'
import { INSTANCES } from '../settings.ts'

const WORKER = new URL('../worker/main.ts', import.meta.url)
const BEGINS_WITHIN_MS = 120_000

export interface Member {
  readonly role: Role
  /** Number in its role, from 0. */
  readonly number: number
  readonly name: string
  readonly actor: Actor<Order>
}

export interface StaffOptions {
  readonly place: Place
  readonly broken: string | undefined
  /** Receives the processes' events. */
  readonly told: (event: Event) => void
}

export class Staff {
  /** Failures of the run itself: processes that ended by themselves, unhandled rejections. */
  readonly troubles: string[] = []
  readonly #options: StaffOptions
  readonly #reaper = new Reaper()
  readonly #members = new Map<string, Member>()
  #isClosed = false

  constructor(options: StaffOptions) {
    this.#options = options
  }

  get members(): readonly Member[] {
    return [...this.#members.values()]
  }

  of(role: Role, number: number): Member {
    const member = this.#members.get(nameOf(role, number))
    if (member === undefined) throw new Error(`there is no ${nameOf(role, number)}`)
    return member
  }

  /** Starts consumers first, so that they exist for all messages. */
  async hireAll(): Promise<void> {
    for (const role of ROLES.toReversed()) {
      await Promise.all(Array.from({ length: INSTANCES }, (_, number) => this.hire(role, number)))
    }
  }

  async hire(role: Role, number: number): Promise<Member> {
    const name = nameOf(role, number)
    const actor = new Actor<Order>(name, WORKER)
    const { pid } = actor
    const member = { role, number, name, actor }
    this.#members.set(name, member)
    this.#reaper.add(pid)
    actor.watch((event) => this.#hear(name, event))
    actor.onExit(() => {
      this.#reaper.gone(pid)
      if (!actor.wasKilled) this.#deserted(member)
    })
    const began = actor.next(`${name} begins`, ({ op }) => op === 'began', BEGINS_WITHIN_MS)
    const { place, broken } = this.#options
    actor.order({ do: 'begin', role, name, number, place, broken })
    await began
    yieldToBeginners(pid)
    return member
  }

  order(order: Order): void {
    for (const { actor } of this.#members.values()) {
      // The events are not read again: a run of hours must not keep them.
      actor.events.length = 0
      if (actor.isAlive && !actor.isStopped) actor.order(order)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.members.map(({ actor }) => actor.kill()))
    await this.#reaper.dismiss()
  }

  #hear(name: string, event: Event): void {
    if (event.op === 'unhandled' || event.op === 'uncaught' || event.op === 'failed') {
      this.#trouble(`${name}: ${event.op}: ${event.error}`)
    }
    this.#options.told(event)
  }

  /** Records an unexpected exit; the run continues. */
  #deserted({ role, number, name }: Member): void {
    if (this.#isClosed) return
    this.#trouble(`${name} ended by itself`)
    this.hire(role, number).catch((error: unknown) => this.#trouble(`${name} did not begin again: ${String(error)}`))
  }

  #trouble(line: string): void {
    if (this.troubles.length < MOST_TROUBLES && !this.#isClosed) this.troubles.push(line)
  }
}

const MOST_TROUBLES = 100
/** Niceness of the running processes; a starting one has 0. */
const NICE = 5

/**
 * Lowers the priority of running processes. On a machine with busy cores a killed process took 9 s and more to come
 * back, and the run waited.
 */
function yieldToBeginners(pid: number): void {
  try {
    setPriority(pid, NICE)
  } catch {
    // The process has ended again.
  }
}

export function nameOf(role: Role, number: number): string {
  return `${role}-${number + 1}`
}
