/**
 * Worker process at a broker: sends, or handles messages, and writes each step down before the next statement. Tests
 * kill and stop it at any time.
 */
import {
  type Binder,
  type BinderOptions,
  createBinder,
  encodeMessage,
  type HandlerContext,
  processor,
  sink,
} from 'concordat/binder'
import { type Logger, type SqlClient, type SqlTransaction, systemClock } from 'concordat/core'
import { newId } from '../../support/inside/core.ts'
import { describe } from '../harness/errors.ts'
import { type Event, EventLog } from '../harness/events.ts'
import { Random } from '../harness/random.ts'
import { entries, type Numbered, parcels, receipts, reminders } from './channels.ts'
import type { Lingers, Order, Post } from './place.ts'
import { DELAYS_MS, FAILS, LATE_COMMIT_MS, RETRIED, RETRY_MS, SEND_TIMEOUT_MS, SHARED_WITHIN_MS } from './settings.ts'
import { type Opened, openTransport } from './transports.ts'

/** The rest is read from the file. */
const TOLD = new Set(['began', 'lingers', 'goes on', 'rested', 'drifted', 'up', 'unhandled', 'uncaught', 'failed'])

class Worker {
  readonly #post: Post
  readonly #log: EventLog
  readonly #random: Random
  #binder: Binder | undefined
  #database: Opened['log']
  #sending = false
  #loops: Promise<unknown> = Promise.resolve()
  #lingerMs = 0
  #lingers: Lingers = 'work'
  #burnMs = 0
  #handled = 0
  #goOn: AbortController = new AbortController()

  constructor(post: Post) {
    this.#post = post
    this.#random = new Random(post.seed)
    this.#log = new EventLog(post.history, post.name, (event: Event) => {
      if (TOLD.has(event.op)) process.send?.(event)
    })
  }

  note(op: string, error?: unknown): void {
    this.#log.note(op, error === undefined ? {} : { error: describe(error) })
  }

  /**
   * @param ms 0: no handler lingers, and lingering ones continue
   */
  linger(ms: number, where: Lingers): void {
    this.#lingerMs = ms
    this.#lingers = where
    if (ms > 0) this.#goOn = new AbortController()
    else this.#goOn.abort(new Error('enough'))
  }

  burn(ms: number): void {
    this.#burnMs = ms
  }

  async begin(): Promise<void> {
    const { role } = this.#post
    const sends = [parcels, reminders]
    if (role === 'sender') this.#binder = await this.#open(() => ({ sends, sendTimeoutMs: SEND_TIMEOUT_MS }))
    if (role === 'consumer') this.#binder = await this.#open(() => ({ bindings: this.#bindings() }))
    await this.#binder?.ready({ timeoutMs: 60_000 })
    this.#log.note('began', { text: role })
  }

  send(keys: readonly string[], delayed: readonly string[]): void {
    this.#sending = true
    this.#loops = Promise.all([
      ...keys.map((key) => this.#sendInOrder(key)),
      ...delayed.map((key) => this.#sendForLater(key)),
    ])
  }

  async rest(): Promise<void> {
    this.#sending = false
    await this.#loops
    this.#log.note('rested')
  }

  async drift(times: number, everyMs: number): Promise<void> {
    for (let n = 0; n < times; n++) {
      const binder = await this.#open(() => ({ bindings: this.#bindings() }))
      this.#log.note('came')
      await systemClock.sleep(everyMs)
      await this.#untilHandled()
      await binder.close()
      this.#log.note('went')
    }
    this.#log.note('drifted')
  }

  /** A busy machine may take longer to share the work: who leaves without ever having had a part of it shows nothing. */
  async #untilHandled(): Promise<void> {
    for (let waited = 0; this.#handled === 0 && waited < SHARED_WITHIN_MS; waited += 50) await systemClock.sleep(50)
  }

  async report(): Promise<void> {
    while (this.#binder?.health().status === 'down') await systemClock.sleep(50)
    this.#log.note('up')
  }

  /** @param more asked for when the way to the broker is known */
  async #open(more: () => Pick<BinderOptions, 'bindings' | 'sends' | 'sendTimeoutMs'>): Promise<Binder> {
    const { transport, log } = openTransport(this.#post, (tx) => this.#standStillAfter(tx))
    this.#database = log
    const binder = createBinder({
      service: 'faults',
      transport,
      logger: this.#logger(),
      ...more(),
    })
    await binder.start()
    return binder
  }

  /** Sends in bursts, so that several messages of a key are in flight at once. */
  async #sendInOrder(key: string): Promise<void> {
    let n = 0
    while (this.#sending) {
      await this.#untilAccepted('send', { key, n })
      if (n++ % 6 === 5) await systemClock.sleep(this.#random.between(150, 600))
    }
  }

  /** Sends with different delays: a later message may be due earlier. */
  async #sendForLater(key: string): Promise<void> {
    for (let n = 0; this.#sending; n++) {
      await this.#untilAccepted('delay', { key, n }, this.#random.between(DELAYS_MS.least, DELAYS_MS.most))
      await systemClock.sleep(this.#random.between(60, 240))
    }
  }

  async #untilAccepted(op: 'send' | 'delay', payload: Numbered, delayMs = 0): Promise<void> {
    const id = newId()
    for (;;) {
      const end = this.#log.invoke(op, { ...payload, message: id, delayMs })
      try {
        await this.#send(op, payload, id, delayMs)
        end('ok')
        return
      } catch (error) {
        end('info', { error: describe(error) })
        await systemClock.sleep(100)
      }
    }
  }

  /** Sends. Where the transport allows it, every other key uses a transaction of its own, which commits late. */
  async #send(op: 'send' | 'delay', payload: Numbered, id: string, delayMs: number): Promise<void> {
    const channel = op === 'send' ? parcels : reminders
    const { sql, transport } = this.#database ?? {}
    if (sql === undefined || transport?.publishIn === undefined || !/[02468]$/.test(payload.key)) {
      await (this.#binder as Binder).send(channel, payload, { id, delayMs })
      return
    }
    const message = await encodeMessage(channel, payload, 'faults', { id, delayMs })
    // Each attempt is another transaction, whose entry counts separately.
    const entry = await encodeMessage(entries, payload, 'faults')
    await sql.transaction(async (tx) => {
      await transport.publishIn?.(tx, [message, entry])
      await tx.query('INSERT INTO public.faults_sent VALUES ($1)', [entry.id])
      await systemClock.sleep(this.#random.between(0, LATE_COMMIT_MS))
    })
  }

  #bindings(): BinderOptions['bindings'] {
    const options = { concurrency: 4, backoff: { initialMs: 30, maxMs: 100 } }
    const later = { concurrency: 4, retry: 'delayed', backoff: { initialMs: RETRY_MS, jitter: 0 } } as const
    return [
      processor(parcels, receipts, { ...options, group: 'work' }, async (payload, context) => {
        await this.#handle('work', payload, context)
        return payload
      }),
      sink(receipts, { ...options, group: 'audit' }, (payload, context) => this.#handle('audit', payload, context)),
      sink(reminders, { ...later, group: 'remind' }, (payload, context) => this.#handle('remind', payload, context)),
      ...this.#bookkeeping(),
    ]
  }

  /** Bindings that write their positions in their handlers' transactions, without an inbox. */
  #bookkeeping(): Extract<BinderOptions['bindings'], object> {
    const { transactionsOf } = this.#database ?? {}
    if (transactionsOf === undefined) return []
    const options = { group: 'book', settlesIn: transactionsOf, concurrency: 4, backoff: { initialMs: 30, maxMs: 100 } }
    return [
      sink(entries, { ...options, sharesTransactions: false }, async (payload, { id, tx, attempt }) => {
        await tx.query('INSERT INTO public.faults_book VALUES ($1, $2)', [id, this.#post.name])
        await this.#standStill('before its place', { ...payload, text: id })
        if (attempt === 1 && this.#random.chance(FAILS)) throw new Error('failed on purpose')
      }),
    ]
  }

  /** Pauses with the entry that this transaction has written. */
  async #standStillAfter(tx: SqlTransaction): Promise<void> {
    if (this.#lingerMs === 0 || this.#lingers !== 'after its place') return
    const { rows } = await tx.query<{ id: string }>(
      `SELECT id FROM public.faults_book WHERE xmin::text::bigint = pg_current_xact_id()::text::bigint % 4294967296`,
    )
    const id = rows[0]?.id
    if (id !== undefined) await this.#standStill('after its place', { key: id, n: 0, text: id })
  }

  /** Pauses at the point that the order names. */
  async #standStill(where: Lingers, { key, n, text }: Numbered & { readonly text: string }): Promise<void> {
    const ms = this.#lingerMs
    if (ms === 0 || this.#lingers !== where) return
    this.#lingerMs = 0
    this.#log.note('lingers', { key, n, text })
    await systemClock.sleep(ms, this.#goOn.signal).catch(() => {})
    this.#log.note('goes on', { key, n, text })
  }

  async #handle(op: 'work' | 'audit' | 'remind', payload: Numbered, context: HandlerContext): Promise<void> {
    const { id, attempt } = context
    const end = this.#log.invoke(op, { ...payload, message: id, attempt })
    if (op === 'work') {
      this.#handled++
      burn(this.#burnMs)
    }
    if (op === 'work' && !this.#lingers.endsWith('its place')) await this.#linger(payload)
    await systemClock.sleep(this.#random.between(0, 6))
    if (attempt === 1 && this.#random.chance(op === 'remind' ? RETRIED : FAILS)) {
      end('fail')
      throw new Error('failed on purpose')
    }
    end('ok')
  }

  async #linger({ key, n }: Numbered): Promise<void> {
    const ms = this.#lingerMs
    if (ms === 0) return
    this.#lingerMs = 0
    const wait = async (): Promise<void> => {
      this.#log.note('lingers', { key, n })
      await systemClock.sleep(ms, this.#goOn.signal).catch(() => {})
    }
    const sql = this.#lingers === 'transaction' ? this.#database?.sql : undefined
    if (sql === undefined) await wait()
    else await this.#inTransaction(sql, wait)
    this.#log.note('goes on', { key, n })
  }

  /** Runs `work` in a transaction that has an id and has read the log, so that the log's segments cannot be emptied. */
  async #inTransaction(sql: SqlClient, work: () => Promise<void>): Promise<void> {
    try {
      await sql.transaction(async (tx) => {
        await tx.query('SELECT pg_current_xact_id(), (SELECT count(*) FROM concordat.transport_log)')
        await work()
      })
    } catch (error) {
      // The server may have ended it by now.
      this.#log.note('transaction lost', { error: describe(error) })
    }
  }

  #logger(): Logger {
    const write = (level: string) => (fields: object, text: string) => {
      const { err, binding } = fields as { err?: unknown; binding?: string }
      this.#log.note('log', { text, level, binding, ...(err !== undefined && { error: describe(err) }) })
    }
    return { debug: () => {}, info: write('info'), warn: write('warn'), error: write('error') }
  }
}

function burn(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

let worker: Worker | undefined

async function obey(order: Order): Promise<void> {
  switch (order.do) {
    case 'begin':
      worker = new Worker(order)
      return worker.begin()
    case 'send':
      return worker?.send(order.keys, order.delayed)
    case 'rest':
      return worker?.rest()
    case 'linger':
      return worker?.linger(order.ms, order.where)
    case 'burn':
      return worker?.burn(order.ms)
    case 'drift':
      return worker?.drift(order.times, order.everyMs)
    case 'report':
      return worker?.report()
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
