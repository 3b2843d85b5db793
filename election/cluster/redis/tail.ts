import type { Clock } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { defineScript, type RedisConnection, type ScriptRunner } from '../../../core/redis/connection.ts'
import type { LogFollower } from '../store/cluster-store.ts'
import { logEntry, type StreamEntry } from './script-replies.ts'
import { CHANGES, ENDS, WAKE } from './scripts-log.ts'

const changesScript = defineScript(CHANGES)
const endsScript = defineScript(ENDS)
const wakeScript = defineScript(WAKE)

/** How long one read waits for news. After one without news the ends of the logs are compared. */
export const BLOCK_MS = 1_000
const WAKE_FOR_MS = 60_000
const PAGE = 256
const RETRY_MS = 50
const MAX_RETRY_MS = 1_000

interface Following {
  readonly log: string
  readonly meta: string
  readonly follower: LogFollower
  /** The last reported revision. */
  position: number
}

export interface TailFields {
  /** A separate connection, because it is blocked most of the time. Its time limit must be longer than `BLOCK_MS`. */
  readonly connection: RedisConnection
  /** Another connection, to end the blocking read when a log is added. */
  readonly waker: ScriptRunner
  readonly wakeKey: string
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Reads all logs that this process follows over one connection, with repeated `XREAD BLOCK` of all of them. An entry of a log is
 * parsed once, however many follow it. `XREAD` limits its answer by entries only, so after a failure each log is first read in
 * pages that are limited by bytes.
 */
export class Tail {
  readonly #fields: TailFields
  readonly #followings = new Set<Following>()
  #wakePosition = '0-0'
  #isReading = false
  #isBlocked = false
  #closed = false
  #problem: Error | undefined

  constructor(fields: TailFields) {
    this.#fields = fields
  }

  follow(keys: { readonly log: string; readonly meta: string }, after: number, follower: LogFollower): () => void {
    const following: Following = { ...keys, follower, position: after }
    this.#followings.add(following)
    if (!this.#isReading) this.#start()
    else if (this.#isBlocked) this.#wake()
    return () => this.#followings.delete(following)
  }

  /** Reason why the logs cannot be read; `undefined` while they are read or not needed. */
  get problem(): string | undefined {
    return this.#problem?.message
  }

  close(): void {
    this.#closed = true
    this.#followings.clear()
    this.#fields.connection.close()
  }

  #start(): void {
    if (this.#closed) return
    this.#isReading = true
    this.#read().catch((error: unknown) => this.#warn(error, 'cluster: the reader of the logs ended'))
  }

  #wake(): void {
    // Otherwise the new log is read after `BLOCK_MS` at the latest.
    this.#fields.waker.run(wakeScript, [this.#fields.wakeKey], [WAKE_FOR_MS]).catch(() => {})
  }

  async #read(): Promise<void> {
    let retryMs = RETRY_MS
    let isSure = true
    let hasFailed = false
    while (!this.#closed && this.#followings.size > 0) {
      try {
        if (!isSure) await this.#compareEnds()
        if (hasFailed) await this.#catchUp()
        hasFailed = false
        isSure = await this.#readOnce()
        this.#problem = undefined
        retryMs = RETRY_MS
      } catch (error) {
        if (this.#closed) break
        this.#warn(error, 'cluster: cannot follow the logs, trying again')
        this.#wakePosition = '0-0'
        isSure = false
        hasFailed = true
        await this.#fields.clock.sleep(retryMs)
        retryMs = Math.min(2 * retryMs, MAX_RETRY_MS)
      }
    }
    this.#problem = undefined
    this.#isReading = false
  }

  /** @returns false when there was no news, so comparing is worthwhile */
  async #readOnce(): Promise<boolean> {
    const { connection, wakeKey } = this.#fields
    const client = await connection.ready()
    const positions = this.#positions()
    const ids = [...positions.values()].map((position) => `${position}-0`)
    const streams = [wakeKey, ...positions.keys(), this.#wakePosition, ...ids]
    this.#isBlocked = true
    const answer = client.call('XREAD', 'COUNT', PAGE, 'BLOCK', BLOCK_MS, 'STREAMS', ...streams)
    try {
      const reply = (await answer) as ReadonlyArray<readonly [log: string, entries: readonly StreamEntry[]]> | null
      for (const [log, entries] of reply ?? []) this.#tell(log, entries)
      return reply !== null
    } catch (error) {
      throw connection.failed(error, client)
    } finally {
      this.#isBlocked = false
    }
  }

  /** Reads each log to its end. A log that does not reach back is left to `XREAD`: its followers notice the gap. */
  async #catchUp(): Promise<void> {
    const { connection } = this.#fields
    const metas = new Map([...this.#followings].map(({ log, meta }) => [log, meta]))
    for (const [log, position] of this.#positions()) {
      for (let after: number | undefined = position; after !== undefined && !this.#closed; ) {
        const reply = await connection.run(changesScript, [log, metas.get(log) ?? ''], [after, PAGE])
        const [status, entries = []] = reply as [string, StreamEntry[]?]
        if (status === 'ok' && entries.length > 0) this.#tell(log, entries)
        const last = entries.at(-1)?.[0]
        after = last === undefined ? undefined : Number.parseInt(last, 10)
      }
    }
  }

  /** Returns the position in each log after everything that all of its followers received. */
  #positions(): Map<string, number> {
    const positions = new Map<string, number>()
    for (const { log, position } of this.#followings) {
      positions.set(log, Math.min(position, positions.get(log) ?? position))
    }
    return positions
  }

  #tell(log: string, entries: readonly StreamEntry[]): void {
    if (log === this.#fields.wakeKey) {
      this.#wakePosition = entries.at(-1)?.[0] ?? this.#wakePosition
      return
    }
    const parsed = entries.map(logEntry)
    const last = parsed.at(-1)?.revision ?? 0
    for (const following of this.#followings) {
      if (following.log !== log || last <= following.position) continue
      const missing = parsed.filter(({ revision }) => revision > following.position)
      following.position = last
      this.#call(() => following.follower.onEntries(missing))
    }
  }

  /** Redis reports nothing about missing entries: a log that ends before the position read has been rolled back. */
  async #compareEnds(): Promise<void> {
    const { connection, wakeKey } = this.#fields
    const metas = [...new Set([...this.#followings].map(({ meta }) => meta))]
    const ends = (await connection.run(endsScript, [wakeKey, ...metas], [WAKE_FOR_MS])) as string[]
    for (const following of this.#followings) {
      const end = Number(ends[metas.indexOf(following.meta)] ?? 0)
      if (end >= following.position || !metas.includes(following.meta)) continue
      following.position = end
      this.#call(() => following.follower.onRollback())
    }
  }

  #call(tell: () => void): void {
    try {
      tell()
    } catch (error) {
      this.#fields.logger.error({ err: toError(error) }, 'cluster: a follower failed')
    }
  }

  #warn(error: unknown, message: string): void {
    const problem = toError(error)
    if (this.#problem?.message !== problem.message) this.#fields.logger.warn({ err: error }, message)
    this.#problem = problem
  }
}
