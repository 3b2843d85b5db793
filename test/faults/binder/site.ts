import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { LossyDisk, type PrivateServer, type ServerKind, startServer } from '../../support/servers/index.ts'
import type { Actor } from '../harness/actor.ts'
import { Crew } from '../harness/crew.ts'
import { type Event, EventLog, nowMs } from '../harness/events.ts'
import { Link } from '../harness/link.ts'
import { Reaper } from '../harness/reaper.ts'
import type { Setting } from '../harness/suite.ts'
import type { Known, Span } from './judge.ts'
import { Ledger, type Op } from './ledger.ts'
import { LogDatabase } from './log-database.ts'
import type { Lingers, Order, Role, TransportName } from './place.ts'
import { Pooler } from './pooler.ts'
import { CONSUMERS, DELAYED_KEYS, HOPELESS_MS, KEYS, QUIET_WITHIN_MS } from './settings.ts'

export interface Member {
  readonly role: Role
  readonly name: string
  readonly actor: Actor<Order>
  /** Link of the process to the broker. */
  readonly link: Link
}

/** A process in the middle of a handler, and the message that it handles. */
export interface Lingerer {
  readonly member: Member
  readonly key: string
  readonly n: number
  /** The id of an entry. */
  readonly text: string
}

const WORKER = new URL('./worker.ts', import.meta.url)
/** Processes that are started ahead. */
const SPARE = 1
const BEGINS_WITHIN_MS = 90_000
const FAILURES = new Set(['unhandled', 'uncaught', 'failed'])

const SETTINGS: Readonly<Partial<Record<ServerKind, Readonly<Record<string, string>>>>> = {
  postgres: { wal_writer_delay: '10s' },
}
/** Settings of a single broker that must not lose confirmed messages when its power fails. */
const SYNCING: Readonly<Partial<Record<ServerKind, Readonly<Record<string, string>>>>> = {
  postgres: { fsync: 'on' },
  kafka: { 'log.flush.interval.messages': '1' },
}

/** A private broker and the processes at it. */
export class Site {
  readonly transport: TransportName
  readonly server: PrivateServer
  readonly ledger = new Ledger()
  readonly #setting: Setting
  readonly #crew: Crew<Order>
  readonly #reaper: Reaper
  readonly #log: EventLog
  readonly #faults: Span[] = []
  readonly #cutOff: Array<Span & { readonly process: string }> = []
  readonly #killed = new Map<string, number>()
  readonly #absent: string[] = []
  #database: LogDatabase | undefined
  #pooler: Pooler | undefined
  #afflicted = new Map<string, number>()
  #brokenAt: number | undefined
  #members: Member[] = []
  #hired = 0
  #prefix = ''

  private constructor(setting: Setting, server: PrivateServer, transport: TransportName, reaper: Reaper) {
    this.transport = transport
    this.server = server
    this.#setting = setting
    this.#reaper = reaper
    this.#crew = new Crew<Order>(WORKER, reaper)
    this.#log = new EventLog(this.#historyOf('run'), `${transport}-run`, () => {})
  }

  static async open(setting: Setting, transport: TransportName): Promise<Site> {
    const broker = transport === 'pgbouncer' ? 'postgres' : transport
    const { signal, losesPower, broken } = setting
    const disk = losesPower === true ? await LossyDisk.create() : undefined
    const settings = { ...SETTINGS[broker], ...(losesPower === true && broken === undefined && SYNCING[broker]) }
    const server = await startServer(broker, { signal, settings, disk }).catch(async (error: unknown) => {
      await disk?.[Symbol.asyncDispose]()
      throw error
    })
    const reaper = new Reaper()
    const site = new Site(setting, server, transport, reaper)
    try {
      if (broker === 'postgres') site.#database = new LogDatabase(server)
      if (transport === 'pgbouncer') site.#pooler = await Pooler.start(portOf(server))
      const others: Role[] = ['sender', ...Array.from({ length: CONSUMERS - 1 }, () => 'consumer' as const)]
      site.#crew.prepare(others.length + 1)
      // The first one creates what the others need.
      await site.hire('consumer')
      await site.#database?.open(setting.broken)
      await Promise.all(others.map((role) => site.hire(role)))
      site.#crew.prepare(SPARE)
      return site
    } catch (error) {
      await site.close()
      throw error
    }
  }

  /** A mistake is built in. */
  get isBroken(): boolean {
    return this.#setting.broken !== undefined
  }

  get members(): readonly Member[] {
    return this.#members
  }

  of(role: Role): readonly Member[] {
    return this.#members.filter((member) => member.role === role)
  }

  get sender(): Member {
    return this.of('sender')[0] as Member
  }

  /** @throws where the broker is no PostgreSQL */
  get log(): LogDatabase {
    if (this.#database === undefined) throw new Error(`${this.transport} has no database`)
    return this.#database
  }

  note(op: 'act' | 'healed', text: string): void {
    this.#log.note(op, { text: `${this.transport}: ${text}` })
  }

  /**
   * Records that a fault begins; processes cut off from the broker may overlap with others that continue without them.
   */
  fault(text: string, cutOff: readonly Member[]): void {
    this.#log.note('fault', { text: `${this.transport}: ${text}` })
    const at = nowMs()
    this.#brokenAt ??= at
    for (const { name } of cutOff) if (!this.#afflicted.has(name)) this.#afflicted.set(name, at)
  }

  /**
   * Records that the process is back and recovered: from now on two messages of one key may not overlap there either.
   */
  back({ name }: Member): void {
    const from = this.#afflicted.get(name)
    if (from !== undefined) this.#cutOff.push({ process: name, from, to: nowMs() })
    this.#afflicted.delete(name)
  }

  /** The sender accepts nothing new; everything it has sent is handled. */
  async idle(): Promise<void> {
    if (await this.#comes(this.sender, 'rested', { do: 'rest' }))
      await this.#until('everything is handled', () => this.ledger.missing.length === 0, 'missing')
  }

  /** New keys, and no others. */
  async begin(episode: number): Promise<void> {
    this.#prefix = `e${episode}`
    this.send('')
    const own = `${this.#prefix}-`
    const flows = (op: Op): boolean => [...this.ledger.done(op)].some((name) => name.startsWith(own))
    await this.#until('messages flow', () => flows('audit') && flows('remind'), 'begun')
  }

  /**
   * @param more distinguishes the keys of one sender of an episode from those of the next
   */
  send(more: string): void {
    const keys = Array.from({ length: KEYS }, (_, n) => `${this.#prefix}${more}-k${n}`)
    const delayed = Array.from({ length: DELAYED_KEYS }, (_, n) => `${this.#prefix}${more}-d${n}`)
    this.sender.actor.order({ do: 'send', keys, delayed })
  }

  /** Lets everything come to its end: sends accepted, messages handled, bindings running. Notes who does not. */
  async quiet(): Promise<void> {
    const { sender } = this
    const rested = this.#comes(sender, 'rested', { do: 'rest' })
    if (await rested) await this.#until('everything is handled', () => this.ledger.missing.length === 0, 'missing')
    await this.#database?.booked(this.isBroken ? HOPELESS_MS : QUIET_WITHIN_MS)
    const up = this.#members.filter(({ role }) => role !== 'drifter')
    await Promise.all(up.map((member) => this.#comes(member, 'up', { do: 'report' })))
    // Leaves time for repeated deliveries that nothing has requested.
    await sleep(500)
    this.ledger.read()
    this.#close()
  }

  /**
   * Evidence of an episode that only this broker can give. @returns `undefined`: there is no proof that the fault
   * happened
   */
  shown(): Promise<string | undefined> {
    return this.#database === undefined ? Promise.resolve('') : this.#database.shown()
  }

  /** Facts recorded about the whole run so far. */
  known(): Known {
    this.ledger.read()
    const failures = this.ledger.events
      .filter(({ op }) => FAILURES.has(op))
      .map(({ process, op, error }) => `${process}: ${op}: ${error}`)
    const deserters = this.#members.filter(({ actor }) => !actor.isAlive)
    for (const { name } of deserters) failures.push(`${name} ended by itself`)
    return {
      transport: this.transport,
      events: this.ledger.events.toSorted((a, b) => a.at - b.at),
      faults: this.#faults,
      cutOff: this.#cutOff,
      killed: this.#killed,
      absent: this.#absent,
      failures,
      setBack: this.#database?.setBack,
      book: this.#database?.book,
    }
  }

  /** `kill -9`. */
  async kill(member: Member): Promise<void> {
    this.fault(`kill -9 of ${member.name}`, [member])
    this.#members = this.#members.filter((each) => each !== member)
    await member.actor.kill()
    this.#killed.set(member.name, nowMs())
    await member.link.close()
    this.#crew.prepare(SPARE)
  }

  async hire(role: Role): Promise<Member> {
    const [actor] = this.#crew.take(1)
    if (actor === undefined) throw new Error('no worker')
    const name = `${this.transport}-${role}-${++this.#hired}`
    const history = this.#historyOf(name)
    const link = await Link.to(this.#pooler?.port ?? portOf(this.server))
    const member = { role, name, actor, link }
    this.#members.push(member)
    const began = actor.next(`${name} begins`, ({ op }) => op === 'began', BEGINS_WITHIN_MS)
    const { seed, broken } = this.#setting
    const post = { role, name, transport: this.transport, port: link.port, history, broken, seed: `${seed} ${name}` }
    actor.order({ do: 'begin', ...post })
    await began
    return member
  }

  /** Ends a process that has left the group. */
  async dismiss(member: Member): Promise<void> {
    this.#members = this.#members.filter((each) => each !== member)
    await member.actor.kill()
    await member.link.close()
  }

  /** Finds the first consumer in the middle of a handler, where it pauses for `ms`. */
  async lingerer(ms: number, where: Lingers = 'work'): Promise<Lingerer> {
    const found = Promise.withResolvers<{ member: Member; event: Event }>()
    const among = this.of('consumer')
    const unwatch = among.map((member) =>
      member.actor.watch((event) => void (event.op === 'lingers' && found.resolve({ member, event }))),
    )
    const timer = setTimeout(() => found.reject(new Error('nobody has anything to do')), BEGINS_WITHIN_MS / 3)
    for (const { actor } of among) actor.order({ do: 'linger', ms, where })
    try {
      const { member, event } = await found.promise
      for (const each of among) if (each !== member) each.actor.order({ do: 'linger', ms: 0, where })
      return { member, key: event.key ?? '', n: event['n'] as number, text: event.text ?? '' }
    } finally {
      clearTimeout(timer)
      for (const stop of unwatch) stop()
    }
  }

  async close(): Promise<void> {
    await this.#crew.close()
    await this.#database?.close()
    await Promise.all(this.#members.map(({ link }) => link.close()))
    await this.#pooler?.stop()
    await this.server.stop()
    await this.#reaper.dismiss()
    this.#log.close()
    this.ledger.close()
  }

  #historyOf(name: string): string {
    const path = join(this.#setting.folder, `${this.transport}-${name}.jsonl`)
    this.ledger.add(path)
    return path
  }

  async #comes(member: Member, op: string, order: Order): Promise<boolean> {
    const came = member.actor.next(op, (event) => event.op === op, QUIET_WITHIN_MS)
    member.actor.order(order)
    try {
      await came
      return true
    } catch {
      this.#absent.push(`${member.name}: not "${op}" within ${QUIET_WITHIN_MS} ms`)
      return false
    }
  }

  async #until(what: string, holds: () => boolean, otherwise: 'begun' | 'missing'): Promise<void> {
    // With a built-in mistake a message will be missing after any wait.
    const isHopeless = otherwise === 'missing' && this.isBroken
    const deadline = performance.now() + (isHopeless ? HOPELESS_MS : QUIET_WITHIN_MS)
    for (;;) {
      this.ledger.read()
      if (holds() || this.#setting.signal.aborted) return
      if (performance.now() > deadline) break
      await sleep(50)
    }
    if (otherwise === 'begun') throw new Error(`${this.transport}: not within ${QUIET_WITHIN_MS} ms: ${what}`)
  }

  #close(): void {
    const to = nowMs()
    if (this.#brokenAt !== undefined) this.#faults.push({ from: this.#brokenAt, to })
    this.#brokenAt = undefined
    for (const [process, from] of this.#afflicted) this.#cutOff.push({ process, from, to })
    this.#afflicted = new Map()
  }
}

/** `amqp://...:5672`, `host:9092` and `postgres://...:5432/postgres` alike. */
function portOf({ url }: PrivateServer): number {
  return Number(/:(\d+)(?:\/[^/]*)?$/.exec(url)?.[1])
}
