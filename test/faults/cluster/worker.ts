/**
 * Process of a run on clusters: sends with its data through an outbox, handles with an inbox, or contends for a lock
 * and a role. Tests kill and stop it at any time.
 */
import { createBinder, sink } from 'concordat/binder'
import { type Logger, type SqlClient, type SqlExecutor, systemClock } from 'concordat/core'
import { pgClient, pgPrimary } from 'concordat/core/pg'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
// oxlint-disable-next-line no-restricted-imports -- the mistakes of the other suite, not the package's folder
import { withMistake } from '../binder/broken.ts'
import { describe } from '../harness/errors.ts'
import { EventLog } from '../harness/events.ts'
import { Random } from '../harness/random.ts'
import { Contender } from './contender.ts'
import type { Order, Post } from './place.ts'
import { KEYS, PAUSE_MS } from './settings.ts'
import { type Parcel, parcelsIn, poolAt, SCHEMA, SERVICE } from './tables.ts'
import { openTransport } from './transports.ts'

class Worker {
  readonly #post: Post
  readonly #log: EventLog
  readonly #random: Random
  readonly #sql: SqlClient
  readonly #outbox: ReturnType<typeof createOutbox>
  readonly #parcels: ReturnType<typeof parcelsIn>
  #contender: Contender | undefined
  #going = false
  #loops: Promise<unknown> = Promise.resolve()

  constructor(post: Post) {
    this.#post = post
    this.#random = new Random(post.seed)
    this.#log = new EventLog(post.history, post.name, (event) => {
      if (TOLD.has(event.op)) process.send?.(event)
    })
    // Every other process knows both servers, the others the address that follows the primary.
    const { postgresUrl, postgresUrls } = post.place
    const urls = /[02468]$/.test(post.name) ? postgresUrls : [postgresUrl]
    this.#sql = pgClient(pgPrimary(urls.map((url) => poolAt(url, 8))))
    this.#parcels = parcelsIn(post.partitions)
    this.#outbox = createOutbox({ sql: this.#sql, service: SERVICE, schema: SCHEMA })
  }

  note(op: string, error?: unknown): void {
    this.#log.note(op, error === undefined ? {} : { error: describe(error) })
  }

  async begin(): Promise<void> {
    const { role } = this.#post
    if (role === 'contender') this.#contender = new Contender(this.#post, this.#log, this.#sql, this.#random)
    else await this.#connect()
    this.#log.note('began', { text: role })
  }

  go(prefix: string): void {
    this.#going = true
    const going = (): boolean => this.#going
    if (this.#contender !== undefined) {
      this.#loops = this.#contender.contend(prefix, going)
      return
    }
    if (this.#post.role !== 'sender') return
    const keys = Array.from({ length: KEYS }, (_, n) => `${prefix}-${this.#post.name}-${n}`)
    this.#loops = Promise.all(keys.map((key) => this.#send(key)))
  }

  async rest(): Promise<void> {
    this.#going = false
    await this.#loops
    this.#log.note('rested')
  }

  async #connect(): Promise<void> {
    const { role, place, name } = this.#post
    if (place.broker === undefined) throw new Error('no broker')
    const handled = async (sql: SqlExecutor, { key, n }: Parcel): Promise<void> => {
      await sql.query('INSERT INTO handled (key, n, worker) VALUES ($1, $2, $3)', [key, n, name])
    }
    const inbox = createInbox({ sql: this.#sql, schema: SCHEMA })
    const options = { group: 'work', concurrency: 4 } as const
    const work =
      this.#post.broken === 'no-inbox'
        ? sink(this.#parcels, options, (parcel) => handled(this.#sql, parcel))
        : sink(this.#parcels, { ...options, inbox }, (parcel, { tx }) => handled(tx, parcel))
    const binder = createBinder({
      service: SERVICE,
      transport: withMistake(openTransport(place.broker, name), this.#post.broken),
      logger: this.#logger(),
      ...(role === 'sender' ? { sends: [this.#parcels] } : { bindings: [work] }),
    })
    await binder.start()
    await binder.ready({ timeoutMs: 60_000 })
    if (role === 'sender') await this.#relay(binder)
  }

  async #relay(binder: ReturnType<typeof createBinder>): Promise<void> {
    const relay = createRelay({
      outbox: this.#outbox,
      publisher: binder,
      leaseMs: 2_000,
      idlePollMs: 50,
      logger: this.#logger(),
    })
    await relay.start()
  }

  async #send(key: string): Promise<void> {
    for (let n = 0; this.#going; n++) {
      await this.#untilCommitted({ key, n })
      await systemClock.sleep(this.#random.between(PAUSE_MS.least, PAUSE_MS.most))
    }
  }

  /** Repeats until the commit is certain: after an unknown outcome the next transaction looks for the row. */
  async #untilCommitted(parcel: Parcel): Promise<void> {
    for (;;) {
      const end = this.#log.invoke('send', { ...parcel })
      try {
        await this.#sql.transaction(async (tx) => {
          const { rowCount } = await tx.query('INSERT INTO parcel (key, n) VALUES ($1, $2) ON CONFLICT DO NOTHING', [
            parcel.key,
            parcel.n,
          ])
          if (rowCount === 1) await this.#outbox.add(tx, this.#parcels, parcel)
        })
        end('ok')
        return
      } catch (error) {
        end('info', { error: describe(error) })
        await systemClock.sleep(100)
      }
    }
  }

  #logger(): Logger {
    const write = (level: string) => (fields: object, text: string) => {
      const { err, binding } = fields as { err?: unknown; binding?: string }
      this.#log.note('log', { text, level, binding, ...(err !== undefined && { error: describe(err) }) })
    }
    return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
  }
}

/** The rest is read from the file. */
const TOLD = new Set(['began', 'rested', 'unhandled', 'uncaught', 'failed'])

let worker: Worker | undefined

async function obey(order: Order): Promise<void> {
  switch (order.do) {
    case 'begin':
      worker = new Worker(order)
      return worker.begin()
    case 'go':
      return worker?.go(order.prefix)
    case 'rest':
      return worker?.rest()
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
