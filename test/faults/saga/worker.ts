/**
 * Process of the bank: a coordinator, or a participant of one of its two services, with the relay of its outbox. Tests
 * kill and stop it at any time; it reports its events as it writes them down.
 */
import { type Channel, createBinder, type SinkBinding } from 'concordat/binder'
import { type Logger, type SqlClient, type SqlExecutor, systemClock } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { createOutbox, createRelay, type Outbox } from 'concordat/outbox'
import { participant, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { describe } from '../harness/errors.ts'
import { EventLoop } from '../harness/event-loop.ts'
import { EventLog } from '../harness/events.ts'
import { forgetful } from '../harness/forgetful.ts'
import { Random } from '../harness/random.ts'
import { Repeats } from '../harness/repeats.ts'
import {
  type Command,
  credit,
  creditCommands,
  debit,
  debitCommands,
  type Effect,
  leaveLine,
  transferSaga,
} from './bank.ts'
import { uncheckedWrites } from './broken.ts'
import type { Order, Post } from './place.ts'
import { LEASE_MS, POLL_MS, RELAY_LEASE_MS } from './settings.ts'
import { transportTo } from './transport.ts'

/** Pause above which lateness counts as the machine's and not as a fault of the package. */
const STALL_MS = 250

class Worker {
  readonly #post: Post
  readonly #log: EventLog
  readonly #random: Random
  readonly #sql: SqlClient
  readonly #outbox: Outbox
  readonly #transport: Transport
  #repeats: Repeats | undefined
  #state: () => object = () => ({})
  #linger = { ms: 0, blocks: false }
  #failing: string | undefined
  #goOn = new AbortController()

  constructor(post: Post) {
    this.#post = post
    this.#random = new Random(post.seed)
    this.#log = new EventLog(post.history, post.name, (event) => void process.send?.(event))
    const url = post.role === 'credit' ? post.place.there : post.place.here
    const pool = new pg.Pool({ connectionString: url, max: 8, connectionTimeoutMillis: 3_000 })
    pool.on('error', () => {})
    const sql = pgClient(pool)
    this.#sql = post.broken === 'no-epoch' && post.role === 'coordinator' ? uncheckedWrites(sql) : sql
    const service = post.role === 'coordinator' ? 'bank' : post.role
    // Accounts that are paid are in another database: their messages take an outbox, on any broker.
    this.#transport = transportTo(post.place.broker, post.role === 'credit' ? undefined : this.#sql)
    this.#outbox = createOutbox({ sql: this.#sql, service, schema: schemaOf(post.role), transport: this.#transport })
  }

  noteStall(stallMs: number): void {
    if (stallMs > STALL_MS) this.#log.note('stalled', { stalledMs: Math.round(stallMs) })
  }

  note(op: string, error?: unknown): void {
    this.#log.note(op, error === undefined ? {} : { error: describe(error) })
  }

  linger(ms: number, blocks: boolean): void {
    this.#linger = { ms, blocks }
    if (ms > 0) return
    this.#goOn.abort()
    this.#goOn = new AbortController()
  }

  fail(accounts: string | undefined): void {
    this.#failing = accounts
  }

  tell(): void {
    this.#log.note('state', { text: JSON.stringify(this.#state()) })
  }

  repeat(chance: number): void {
    if (this.#repeats !== undefined) this.#repeats.chance = chance
  }

  async begin(): Promise<void> {
    const { role } = this.#post
    if (role === 'coordinator') await this.#coordinate()
    else await this.#connect({ bindings: [this.#participate(role)], sends: [sagaReplies('bank')] })
    this.#log.note('began', { text: role })
  }

  async #coordinate(): Promise<void> {
    const coordinator = createCoordinator({
      service: 'bank',
      sql: this.#sql,
      outbox: this.#outbox,
      instance: this.#post.name,
      sagas: [transferSaga(this.#post.name, (key, operation) => this.#inMiddle(key, operation))],
      leaseMs: LEASE_MS,
      pollMs: POLL_MS,
      logger: this.#logger(),
    })
    await this.#connect({ bindings: coordinator.bindings, sends: coordinator.channels })
    await coordinator.run()
  }

  async #connect(more: Pick<Parameters<typeof createBinder>[0], 'bindings' | 'sends'>): Promise<void> {
    const binder = createBinder({
      service: this.#outbox.service,
      transport: this.#transport,
      logger: this.#logger(),
      ...more,
    })
    await binder.start()
    this.#repeats = new Repeats(binder, this.#random, () => this.#log.note('repeated'))
    const relay = createRelay({
      outbox: this.#outbox,
      publisher: this.#repeats,
      leaseMs: RELAY_LEASE_MS,
      idlePollMs: 20,
      backoff: { initialMs: 100, maxMs: 1_000 },
      logger: this.#logger(),
    })
    this.#state = () => ({ binder: binder.health(), relay: relay.health() })
    await relay.start()
  }

  #participate(role: 'debit' | 'credit'): SinkBinding {
    return role === 'debit' ? this.#serve(debitCommands, debit) : this.#serve(creditCommands, credit)
  }

  #serve<Request extends { readonly account: string }>(channel: Channel<Request, Request>, command: Command<Request>) {
    const { role, name: worker, broken } = this.#post
    // Reservations write to the barrier together; in the other service each command does so separately.
    const sharing = role === 'debit' ? { concurrency: 16, sharesTransactions: true } : { concurrency: 4 }
    const options = { group: role, ...sharing, sql: this.#sql, outbox: this.#outbox }
    const handle =
      (operation: 'invoke' | 'compensate') =>
      async (request: Request, { tx, key }: { readonly tx: SqlExecutor; readonly key: string }) => {
        if (this.#failing !== undefined && request.account.endsWith(this.#failing)) {
          this.#log.note('failed on purpose', { key })
          throw new Error('failed on purpose')
        }
        await command[operation](request, tx)
        await leaveLine(tx, { key, operation, worker })
        await this.#inMiddle(key, operation)
      }
    const handlers = { invoke: handle('invoke'), compensate: handle('compensate') }
    if (broken === 'no-dedupe') return forgetful(channel, options, handlers)
    // All effects are in the transaction: the database itself rolls back a lost one.
    return participant(channel, { ...options, schema: schemaOf(role), effects: 'tx' }, handlers)
  }

  /** Pauses with its effect written and its transaction open. */
  async #inMiddle(key: string, operation: Effect['operation']): Promise<void> {
    await systemClock.sleep(this.#random.between(1, 8))
    const { ms, blocks } = this.#linger
    if (ms === 0) return
    this.#linger = { ms: 0, blocks }
    this.#log.note('lingers', { key, mode: operation })
    if (blocks) {
      // The note is on its way; then not even a timer runs until the time is up.
      await new Promise((resolve) => setImmediate(resolve))
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
    } else await systemClock.sleep(ms, this.#goOn.signal).catch(() => {})
    this.#log.note('goes on', { key })
  }

  #logger(): Logger {
    const write = (level: string) => (fields: object, text: string) => {
      const err = (fields as { err?: unknown }).err
      const { id, partitions } = fields as { readonly id?: string; readonly partitions?: readonly number[] }
      const of = partitions === undefined ? '' : ` (partitions ${partitions.join(', ')})`
      this.#log.note('log', {
        text: `${text}${of}`,
        key: id,
        level,
        ...(err !== undefined && { error: describe(err) }),
      })
    }
    return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
  }
}

function schemaOf(role: Post['role']): string {
  return role === 'coordinator' ? 'concordat' : role
}

let worker: Worker | undefined
new EventLoop((stallMs) => worker?.noteStall(stallMs))

async function obey(order: Order): Promise<void> {
  switch (order.do) {
    case 'begin':
      worker = new Worker(order)
      return worker.begin()
    case 'linger':
      return worker?.linger(order.ms, order.blocks)
    case 'tell':
      return worker?.tell()
    case 'fail':
      return worker?.fail(order.accounts)
    case 'repeat':
      return worker?.repeat(order.chance)
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
