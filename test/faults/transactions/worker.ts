/**
 * Worker process: a desk, which coordinates, or a bank, which takes part in every kind, with the relay of its outbox.
 * Tests kill and stop it at any of its steps; it reports its events as it writes them down.
 */
import { createBinder } from 'concordat/binder'
import { type Logger, type SqlClient, systemClock } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { createOutbox, createRelay, type Outbox } from 'concordat/outbox'
import { sagaReplies } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { codeOf, describe } from '../harness/errors.ts'
import { EventLog } from '../harness/events.ts'
import { postgresLog } from '../harness/postgres-log.ts'
import { Random } from '../harness/random.ts'
import { Repeats } from '../harness/repeats.ts'
import { BRANCH_KINDS, BRANCHES, type House, sagasOf, type Transfer, transferByCode, transferCode } from './bank.ts'
import { deciding } from './broken.ts'
import type { Moment, Order, Post } from './place.ts'
import { CALL_MS, LEASE_MS, LOCK_TIMEOUT_MS, POLL_MS, RELAY_LEASE_MS } from './settings.ts'
import { type OnStep, stepped } from './steps.ts'
import { vaultParticipant } from './vault.ts'

/** Number of its steps within which a process pauses after the order. */
const LINGERS_WITHIN = 40
export const DECISION = 'DECISION'

class Worker {
  readonly #post: Post
  readonly #log: EventLog
  readonly #random: Random
  readonly #sql: SqlClient
  readonly #outbox: Outbox
  readonly #transport: Transport
  #repeats: Repeats | undefined
  #coordinator: Coordinator | undefined
  #state: () => object = () => ({})
  #dieAt: Moment | undefined
  #lingerAt: (Moment & { readonly ms: number; readonly blocks: boolean }) | undefined
  #goOn = new AbortController()

  constructor(post: Post) {
    this.#post = post
    this.#random = new Random(post.seed)
    this.#log = new EventLog(post.history, post.name, (event) => void process.send?.(event))
    const pool = new pg.Pool({ connectionString: post.urls[post.role], max: 20, connectionTimeoutMillis: 3_000 })
    pool.on('error', () => {})
    this.#sql = stepped(pgClient(pool), (what, when) => this.#step(what, when))
    this.#transport = postgresLog(post.urls.desk, { callMs: CALL_MS, leaseMs: LEASE_MS })
    const { service, schema } = namesOf(post.role)
    const outbox = createOutbox({ sql: this.#sql, service, schema, transport: this.#transport })
    const tooEarly = post.broken === 'decision-after-phase-two'
    this.#outbox = deciding(outbox, this.#sql, { tooEarly, decides: () => this.#step(DECISION, 'before') })
  }

  note(op: string, error?: unknown): void {
    this.#log.note(op, error === undefined ? {} : { error: describe(error) })
  }

  tell(): void {
    this.#log.note('state', { text: JSON.stringify(this.#state()) })
  }

  repeat(chance: number): void {
    if (this.#repeats !== undefined) this.#repeats.chance = chance
  }

  die(at: Moment): void {
    this.#dieAt = at
  }

  linger(ms: number, blocks: boolean): void {
    this.#lingerAt = undefined
    this.#goOn.abort()
    this.#goOn = new AbortController()
    const when = this.#random.chance(0.5) ? 'before' : 'after'
    if (ms > 0) this.#lingerAt = { ms, blocks, when, nth: this.#random.between(1, LINGERS_WITHIN) }
  }

  async begin(): Promise<void> {
    const { role } = this.#post
    if (role === 'desk') await this.#coordinate()
    else await this.#connect({ bindings: this.#participate(role), sends: [sagaReplies('bank')] })
    this.#log.note('began', { text: role })
  }

  /** Runs the code of a transfer. The tables show its outcome: the process may die in the middle. */
  async pay(id: string, input: Transfer): Promise<void> {
    const coordinator = this.#coordinator
    if (coordinator === undefined) return
    try {
      await coordinator.globalTransaction(transferCode, { id, input }, (global) => transferByCode(global, input))
      this.#log.note('paid', { key: id })
    } catch (error) {
      this.#log.note('not paid', { key: id, error: codeOf(error) || describe(error) })
    }
  }

  async #coordinate(): Promise<void> {
    const coordinator = createCoordinator({
      service: 'bank',
      sql: this.#sql,
      outbox: this.#outbox,
      instance: this.#post.name,
      sagas: [...sagasOf(this.#post.name), transferCode],
      leaseMs: LEASE_MS,
      pollMs: POLL_MS,
      logger: this.#logger(),
    })
    this.#coordinator = coordinator
    await this.#connect({ bindings: coordinator.bindings, sends: coordinator.channels })
    await coordinator.run()
  }

  async #connect(more: Pick<Parameters<typeof createBinder>[0], 'bindings' | 'sends'>): Promise<void> {
    const logger = this.#logger()
    const binder = createBinder({ service: this.#outbox.service, transport: this.#transport, logger, ...more })
    await binder.start()
    this.#repeats = new Repeats(binder, this.#random, () => this.#log.note('repeated'))
    const relay = createRelay({
      outbox: this.#outbox,
      publisher: this.#repeats,
      leaseMs: RELAY_LEASE_MS,
      idlePollMs: 20,
      backoff: { initialMs: 100, maxMs: 1_000 },
      logger,
    })
    this.#state = () => ({ binder: binder.health(), relay: relay.health() })
    await relay.start()
  }

  #participate(house: House) {
    const { name, broken, role, urls } = this.#post
    const { schema } = namesOf(role)
    const side = { group: house, concurrency: 6, sql: this.#sql, outbox: this.#outbox, schema }
    return BRANCH_KINDS.map((kind) => {
      if (kind !== 'xa' || house !== 'south' || urls.vault === undefined)
        return BRANCHES[kind](house, side, name, broken)
      const onStep: OnStep = (what, when) => this.#step(what, when)
      return vaultParticipant(urls.vault, { ...side, onStep, worker: name, lockTimeoutMs: LOCK_TIMEOUT_MS })
    })
  }

  /** Each statement, commit and preparation of this process passes here. */
  async #step(what: string, when: Moment['when']): Promise<void> {
    const text = what.replaceAll(/\s+/g, ' ').trim()
    this.#dieAt = next(this.#dieAt, text, when)
    if (this.#dieAt?.nth === 0) {
      this.#log.note('dies', { text: `${when} ${text.slice(0, 120)}`, key: text })
      process.kill(process.pid, 'SIGKILL')
      await new Promise(() => {})
    }
    this.#lingerAt = next(this.#lingerAt, text, when)
    if (this.#lingerAt?.nth !== 0) return
    const { ms, blocks } = this.#lingerAt
    this.#lingerAt = undefined
    this.#log.note('lingers', { key: `${when} ${text.slice(0, 120)}`, mode: when })
    if (blocks) {
      // The note is on its way; then not even a timer runs until the time is up.
      await new Promise((resolve) => setImmediate(resolve))
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
    } else await systemClock.sleep(ms, this.#goOn.signal).catch(() => {})
    this.#log.note('goes on')
  }

  #logger(): Logger {
    const write = (level: string) => (fields: object, text: string) => {
      const { id, err } = fields as { readonly id?: string; readonly err?: unknown }
      this.#log.note('log', { text, key: id, level, ...(err !== undefined && { error: describe(err) }) })
    }
    return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
  }
}

/** Counts the step if it matches. */
function next<At extends Moment>(at: At | undefined, text: string, when: Moment['when']): At | undefined {
  if (at === undefined || at.nth === 0 || at.when !== when) return at
  const counts = at.of === undefined ? text !== DECISION : text.startsWith(at.of)
  return counts ? { ...at, nth: at.nth - 1 } : at
}

export function namesOf(role: Post['role']): { readonly service: string; readonly schema: string } {
  return role === 'desk' ? { service: 'bank', schema: 'concordat' } : { service: role, schema: role }
}

let worker: Worker | undefined

async function obey(order: Order): Promise<void> {
  switch (order.do) {
    case 'begin':
      worker = new Worker(order)
      return worker.begin()
    case 'die':
      return worker?.die(order.at)
    case 'linger':
      return worker?.linger(order.ms, order.blocks)
    case 'tell':
      return worker?.tell()
    case 'repeat':
      return worker?.repeat(order.chance)
    case 'pay':
      return worker?.pay(order.id, order.input)
    default:
      order satisfies never
  }
}

process.on('unhandledRejection', (error) => worker?.note('unhandled', error))
process.on('uncaughtException', (error) => {
  worker?.note('uncaught', error)
  process.exit(1)
})
process.on('disconnect', () => process.exit(0))
process.on('message', (order) => {
  obey(order as Order).catch((error: unknown) => {
    worker?.note('failed', error)
    process.exit(1)
  })
})
