import { createHash } from 'node:crypto'
import type { Clock } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { LockStoreRefused, LockStoreUnavailable } from '../errors.ts'
import { within } from '../within.ts'
import { failFast, type RedisClient, type RedisConnectionClient } from './client.ts'

export interface ConnectionOptions {
  /** ioredis, or how to get it. */
  readonly client: () => Promise<RedisClient>
  readonly name: string
  /** Every command settles within about this. */
  readonly answerMs: number
  readonly clock: Clock
  readonly logger: Logger
}

/** Lua, with the digest Redis knows it by. */
export interface Script {
  readonly lua: string
  readonly sha: string
}

export function defineScript(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/**
 * One fail-fast connection, opened when first needed, restored in the background for ever after.
 *
 *   idle -> connecting -> ready <-> lost -> closed
 *
 * While `connecting` for the first time commands wait for it, at most `answerMs`; while `lost` they fail at once.
 */
export class RedisConnection {
  readonly #options: ConnectionOptions
  readonly #onReady: Array<(connection: RedisConnectionClient, first: boolean) => void> = []
  #client: RedisConnectionClient | undefined
  #opening: Promise<void> | undefined
  #wasReady = false
  #closed = false
  #corked = false
  #lastError: Error | undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
  }

  /** Called after each (re)connect, before other commands can be sent. */
  onReady(listener: (connection: RedisConnectionClient, first: boolean) => void): void {
    this.#onReady.push(listener)
  }

  /** @throws LockStoreUnavailable, LockStoreRefused */
  async run(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const client = this.#client?.status === 'ready' ? this.#client : await this.ready()
    this.#writeTogether(client.stream)
    try {
      return await client.evalsha(script.sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!startsWith(error, 'NOSCRIPT')) throw this.translate(error)
    }
    try {
      return await client.eval(script.lua, keys.length, ...keys, ...args)
    } catch (error) {
      throw this.translate(error)
    }
  }

  /** The connected client. @throws LockStoreUnavailable (`not_done`) */
  async ready(): Promise<RedisConnectionClient> {
    this.#opening ??= this.#open()
    await this.#opening
    const client = this.#client
    if (client?.status === 'ready') return client
    throw this.#unavailable('not_done', this.#closed ? 'closed' : 'not connected')
  }

  /** What is sent in one turn of the event loop leaves in one system call: those are half of the cost of a lock. */
  #writeTogether(stream: RedisConnectionClient['stream']): void {
    if (this.#corked || stream === undefined) return
    this.#corked = true
    stream.cork()
    process.nextTick(() => {
      this.#corked = false
      stream.uncork()
    })
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } {
    if (this.#client?.status === 'ready') return { status: 'up' }
    if (this.#opening === undefined) return { status: 'idle' }
    return { status: 'down', detail: this.#lastError?.message ?? 'not connected' }
  }

  close(): void {
    this.#closed = true
    this.#client?.disconnect()
  }

  /** Settles when the first attempt to connect has, or after `answerMs`; never rejects. */
  async #open(): Promise<void> {
    if (this.#closed) return
    try {
      const source = await this.#options.client()
      const client = source.duplicate(failFast(this.#options.answerMs, this.#options.name))
      this.#client = client
      client.on('error', (error: Error) => this.#failed(error))
      client.on('ready', () => this.#becameReady(client))
      if (this.#closed) return
      // Settles when `ready`, or when the first attempt failed: `error` has said why, and ioredis goes on trying.
      const connected = client.connect().catch(() => {})
      await within(this.#options.clock, this.#options.answerMs, connected, undefined)
    } catch (error) {
      this.#failed(toError(error))
      if (this.#client === undefined) this.#opening = undefined
    }
  }

  #becameReady(client: RedisConnectionClient): void {
    const first = !this.#wasReady
    this.#wasReady = true
    this.#lastError = undefined
    for (const listener of this.#onReady) listener(client, first)
  }

  #failed(error: Error): void {
    if (this.#lastError?.message !== error.message) {
      this.#options.logger.warn({ err: error, connection: this.#options.name }, 'lock store connection failed')
    }
    this.#lastError = error
  }

  /** A driver's error as one of ours. */
  translate(error: unknown): LockStoreUnavailable | LockStoreRefused {
    if (!(error instanceof Error) || error.name !== 'ReplyError') {
      return this.#unavailable('unknown', `no answer (${toError(error).message})`, error)
    }
    if (RETRYABLE_REPLIES.some((code) => startsWith(error, code))) {
      return this.#unavailable('not_done', error.message, error)
    }
    return new LockStoreRefused('redis', error)
  }

  #unavailable(outcome: 'not_done' | 'unknown', detail: string, cause?: unknown): LockStoreUnavailable {
    const reason = cause ?? this.#lastError
    const text =
      cause === undefined && this.#lastError !== undefined ? `${detail} (${this.#lastError.message})` : detail
    return new LockStoreUnavailable('redis', outcome, text, reason)
  }
}

/** Answers that pass: the server is loading, failing over, busy, or out of memory. Nothing was changed. */
const RETRYABLE_REPLIES = [
  'LOADING',
  'MASTERDOWN',
  'READONLY',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'BUSY',
  'NOREPLICAS',
  'OOM',
  'MISCONF',
] as const

function startsWith(error: unknown, code: string): boolean {
  return error instanceof Error && error.message.startsWith(code)
}
