/**
 * The processes of a run that have roles: the run starts them, sends them orders, kills them, and catches them in the
 * middle of an operation.
 */
import { join } from 'node:path'
import type { Actor } from './actor.ts'
import { Crew } from './crew.ts'
import { type Event, EventLog, nowMs } from './events.ts'
import { Reaper } from './reaper.ts'
import type { Setting } from './suite.ts'

export interface Member<Role extends string, Order extends object> {
  readonly role: Role
  readonly name: string
  readonly actor: Actor<Order>
}

/** A process in the middle of an operation, and its next step. */
export interface Lingerer<Role extends string, Order extends object> {
  readonly member: Member<Role, Order>
  readonly key: string
  readonly operation: string
}

/** Description of a process' place: plain data. */
export interface Place<Role extends string> {
  readonly role: Role
  readonly name: string
  /** The file of its history. */
  readonly history: string
  readonly seed: string
  readonly broken: string | undefined
}

export interface Orders<Role extends string, Order extends object> {
  readonly begin: (place: Place<Role>) => Order
  /**
   * Order to report `lingers` at the point and pause for `ms`; with `blocks` the event loop is blocked. 0 ms: cancel, or
   * continue.
   */
  readonly linger: (ms: number, blocks: boolean) => Order
}

/** Processes that are started ahead: as many as die at a time. */
const SPARE = 2
const BEGINS_WITHIN_MS = 60_000

export class Staff<Role extends string, Order extends object> {
  /** Histories of all processes so far, and of the run itself. */
  readonly histories: string[] = []
  readonly #setting: Setting
  readonly #orders: Orders<Role, Order>
  readonly #reaper = new Reaper()
  readonly #crew: Crew<Order>
  readonly #log: EventLog
  #members: Member<Role, Order>[] = []
  #hired = 0

  /**
   * @param worker the program of the processes: it reports `began` after its start
   */
  constructor(setting: Setting, worker: URL, orders: Orders<Role, Order>) {
    this.#setting = setting
    this.#orders = orders
    this.#crew = new Crew<Order>(worker, this.#reaper)
    const history = join(setting.folder, 'run.jsonl')
    this.histories.push(history)
    this.#log = new EventLog(history, 'run', () => {})
  }

  get members(): readonly Member<Role, Order>[] {
    return this.#members
  }

  of(role: Role): readonly Member<Role, Order>[] {
    return this.#members.filter((member) => member.role === role)
  }

  note(op: 'act' | 'fault' | 'killed' | 'healed', text: string): number {
    this.#log.note(op, { text })
    return nowMs()
  }

  order(order: Order): void {
    for (const { actor } of this.#members) actor.order(order)
  }

  async hireAll(roles: readonly Role[]): Promise<void> {
    this.#crew.prepare(roles.length)
    await Promise.all(roles.map((role) => this.hire(role)))
    this.#crew.prepare(SPARE)
  }

  /** Starts another process in the place of a killed one. */
  async hire(role: Role): Promise<Member<Role, Order>> {
    const [actor] = this.#crew.take(1)
    if (actor === undefined) throw new Error('no worker')
    const name = `${role}-${++this.#hired}`
    const history = join(this.#setting.folder, `${name}.jsonl`)
    this.histories.push(history)
    const { seed, broken } = this.#setting
    const began = actor.next(`${name} begins`, ({ op }) => op === 'began', BEGINS_WITHIN_MS)
    actor.order(this.#orders.begin({ role, name, history, broken, seed: `${seed} ${name}` }))
    const member = { role, name, actor }
    this.#members.push(member)
    await began
    return member
  }

  /** Kills the process with SIGKILL, or records that it is dead already. */
  async kill(member: Member<Role, Order>): Promise<void> {
    this.#members = this.#members.filter((each) => each !== member)
    this.note('killed', `${member.name}, ${member.role}`)
    await member.actor.kill()
    this.#crew.prepare(SPARE)
  }

  /**
   * Finds the first of these processes in the middle of an operation, where it pauses for `ms`, deaf with `blocks`.
   * Others that paused too get the order to continue; a deaf one is late by `ms`.
   */
  async lingerer(among: readonly Member<Role, Order>[], ms: number, blocks: boolean): Promise<Lingerer<Role, Order>> {
    const found = Promise.withResolvers<{ member: Member<Role, Order>; event: Event }>()
    const unwatch = among.map((member) =>
      member.actor.watch((event) => void (event.op === 'lingers' && found.resolve({ member, event }))),
    )
    const timer = setTimeout(() => found.reject(new Error('nobody has anything to do')), BEGINS_WITHIN_MS)
    const { linger } = this.#orders
    for (const { actor } of among) actor.order(linger(ms, blocks))
    try {
      const { member, event } = await found.promise
      for (const each of among) if (each !== member) each.actor.order(linger(0, blocks))
      return { member, key: event.key ?? '', operation: event.mode ?? '' }
    } finally {
      clearTimeout(timer)
      for (const stop of unwatch) stop()
    }
  }

  /** Processes that ended and were not killed. */
  deserters(): readonly Member<Role, Order>[] {
    return this.#members.filter(({ actor }) => !actor.isAlive)
  }

  /** Ends all of them. Later notes are lost. */
  async close(): Promise<void> {
    await this.#crew.close()
  }

  /** Ends the reaper, when no process is left for it to end. */
  async dismiss(): Promise<void> {
    await this.#reaper.dismiss()
    this.#log.close()
  }
}
