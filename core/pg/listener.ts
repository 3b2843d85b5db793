/**
 * `SqlListener` on node-postgres: its own connection, opened again when it dies. The connection must reach the server itself or a
 * pooler in session mode; behind a transaction pooler, `LISTEN` receives nothing, which is detected and logged.
 */
import { type Backoff, backoffDelayMs, resolveBackoff } from '../backoff.ts'
import { type Clock, SECOND } from '../clock.ts'
import { toError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { optionNames, refuseUnknown, wrongKind } from '../option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../runtime-options.ts'
import { quoteIdentifier, type SqlListener } from '../sql.ts'
import { finishesWithin } from '../time-limit.ts'
import type { PgListenConnection } from './listen-connection-type.ts'
import { hearsNotifications } from './notification-check.ts'

/** Options of `pgListener`. */
export interface PgListenerOptions extends RuntimeOptions {
  /**
   * Creates an unconnected client, called again for each reconnect: `() => new pg.Client({ connectionString, keepAlive: true })`.
   */
  readonly connect: () => PgListenConnection
}

/** Time limit for a graceful end. */
const END_MS = 2 * SECOND
const RECONNECT: Backoff = resolveBackoff('pgListener', { initialMs: 100, maxMs: 5 * SECOND })

const NAMES = optionNames<PgListenerOptions>({ connect: true, ...RUNTIME_NAMES })

/** @throws TypeError with the name of the option */
export function pgListener(options: PgListenerOptions): SqlListener {
  refuseUnknown('pgListener', options, NAMES)
  if (typeof options.connect !== 'function') {
    throw wrongKind(
      'pgListener.connect',
      options.connect,
      'a function such as () => new pg.Client({ connectionString })',
    )
  }
  return new PgListener(options)
}

class PgListener implements SqlListener {
  readonly #connect: () => PgListenConnection
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #listeners = new Map<string, Set<(payload: string) => void>>()
  readonly #stopping = new AbortController()
  #connection: PgListenConnection | undefined
  #up = false
  /** The last `LISTEN` requested on a connection that is up. */
  #asking: Promise<void> = Promise.resolve()
  #running: Promise<void> | undefined
  #hasWarned = false

  constructor(options: PgListenerOptions) {
    this.#connect = options.connect
    const { logger, clock } = resolveRuntime('pgListener', options)
    this.#logger = logger
    this.#clock = clock
  }

  listen(channel: string, onNotify: (payload: string) => void): () => void {
    const known = this.#listeners.get(channel)
    const listeners = known ?? new Set()
    this.#listeners.set(channel, listeners.add(onNotify))
    if (this.#running === undefined) this.#running = this.#run()
    else if (known === undefined && this.#up) this.#listenTo(channel)
    return () => {
      listeners.delete(onNotify)
    }
  }

  get backend(): number | undefined {
    return this.#up ? (this.#connection?.processID ?? undefined) : undefined
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    if (this.#connection !== undefined) await this.#end(this.#connection)
    if (this.#running !== undefined) await finishesWithin(this.#clock, END_MS, this.#running)
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    for (let attempt = 1; !signal.aborted; attempt++) {
      const error = await this.#session(() => {
        attempt = 0
      })
      if (signal.aborted) return
      this.#logger.warn({ err: error, attempt }, 'LISTEN connection lost, reconnecting')
      await this.#clock
        .sleep(backoffDelayMs(RECONNECT, Math.max(1, attempt), Math.random()), signal)
        .catch(() => undefined)
    }
  }

  /** Sends one statement at a time, as `pg` requires. */
  #listenTo(channel: string): void {
    const connection = this.#connection
    this.#asking = this.#asking
      .then(() => connection?.query(`LISTEN ${quoteIdentifier(channel)}`))
      .then(
        // Notifications sent before the server listened are lost.
        () => this.#deliver(channel, ''),
        () => undefined,
      )
  }

  /** Runs a connection from `connect` to its end; resolves with the reason for the end. */
  async #session(onUp: () => void): Promise<Error> {
    let connection: PgListenConnection | undefined
    try {
      connection = this.#connect()
      this.#connection = connection
      const ended = endOf(connection)
      connection.on('notification', (message) => this.#deliver(message.channel, message.payload ?? ''))
      await connection.connect()
      for (const channel of this.#listeners.keys()) await connection.query(`LISTEN ${quoteIdentifier(channel)}`)
      if (this.#stopping.signal.aborted) return new Error('closed')
      this.#up = true
      onUp()
      for (const channel of this.#listeners.keys()) this.#deliver(channel, '')
      const current = connection
      this.#asking = this.#asking.then(() => this.#warnIfDeaf(current))
      return await ended
    } catch (error) {
      return toError(error)
    } finally {
      this.#up = false
      if (connection !== undefined) await this.#end(connection)
    }
  }

  /** Once is enough. Never rejects. */
  async #warnIfDeaf(connection: PgListenConnection): Promise<void> {
    const isDeaf =
      !this.#hasWarned && !(await hearsNotifications(connection, this.#connect, this.#clock).catch(() => true))
    if (!isDeaf || !this.#up || this.#connection !== connection) return
    this.#hasWarned = true
    this.#logger.warn(
      {},
      'LISTEN hears nothing: a pooler in transaction mode is between; connect pgListener to the server itself or in session mode',
    )
  }

  /** A server that is suspended does not respond to a graceful end: after a while the socket is destroyed. Never rejects. */
  async #end(connection: PgListenConnection): Promise<void> {
    if (
      await finishesWithin(
        this.#clock,
        END_MS,
        Promise.resolve(connection.end()).catch(() => {}),
      )
    )
      return
    connection.connection?.stream?.destroy?.()
  }

  #deliver(channel: string, payload: string): void {
    for (const listener of this.#listeners.get(channel) ?? []) listener(payload)
  }
}

function endOf(connection: PgListenConnection): Promise<Error> {
  return new Promise((resolve) => {
    connection.on('error', resolve)
    connection.on('end', () => resolve(new Error('the server closed the connection')))
  })
}
