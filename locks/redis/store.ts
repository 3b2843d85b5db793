import { randomId } from '../../core/random-id.ts'
import { defineScript, type RedisConnection, type Script, type ScriptRunner } from '../../core/redis/connection.ts'
import { messageOf } from '../../core/thrown-values.ts'
import { LockError } from '../errors.ts'
import type { LockInfo } from '../lock.ts'
import type { AcquireReply, AcquireRequest, Claim, ClaimTerms, LockStore, NotHeld } from '../store.ts'
import { lockKeys } from './keys.ts'
import { notHeld, termsOf, valueOf } from './lock-value-format.ts'
import { RedisOperator } from './operator.ts'
import type { RestartGuard } from './restart.ts'
import { ABANDON, ACQUIRE, ACQUIRE_IDLE, EXTEND, RELEASE, RELEASE_CERTAIN } from './scripts-exclusive.ts'
import {
  ACQUIRE_SHARED,
  ACQUIRE_SHARED_IDLE,
  EXTEND_SHARED,
  RELEASE_SHARED,
  RELEASE_SHARED_CERTAIN,
} from './scripts-shared-mode.ts'
import { WaiterWakeups } from './waiter-wakeups.ts'

const acquireScript = defineScript(ACQUIRE)
const acquireIdleScript = defineScript(ACQUIRE_IDLE)
const acquireSharedScript = defineScript(ACQUIRE_SHARED)
const acquireSharedIdleScript = defineScript(ACQUIRE_SHARED_IDLE)
const extendScript = defineScript(EXTEND)
const extendSharedScript = defineScript(EXTEND_SHARED)
const releaseScript = defineScript(RELEASE)
const releaseCertainScript = defineScript(RELEASE_CERTAIN)
const releaseSharedScript = defineScript(RELEASE_SHARED)
const releaseSharedCertainScript = defineScript(RELEASE_SHARED_CERTAIN)
const abandonScript = defineScript(ABANDON)

/** The lock store on one Redis server, a master with its replicas, or a cluster. `scripts-exclusive.ts` describes the keys. */
export class RedisLockStore implements LockStore {
  readonly name = 'redis'
  readonly features = { fifo: true, shared: true, lockDelay: true } as const
  readonly operator: RedisOperator
  readonly #commands: RedisConnection
  readonly #acknowledged: (ScriptRunner & { close(): void }) | undefined
  readonly #subscriber: RedisConnection
  readonly #turns: WaiterWakeups
  readonly #prefix: string
  readonly #channel: string
  readonly #clientId = randomId()
  readonly #guard: RestartGuard
  readonly #doubts: Array<(value: string | undefined) => void> = []

  constructor(fields: {
    commands: RedisConnection
    subscriber: RedisConnection
    guard: RestartGuard
    prefix: string
    /** Prefix of the channels on which waiters of this client receive their turns, see `scripts-exclusive.ts`. */
    channel: string
    /** Runs the scripts of grants and renewals, with a wait for replicas if one is configured, see `replicas.ts`. */
    acknowledged?: (ScriptRunner & { close(): void }) | undefined
  }) {
    this.#commands = fields.commands
    this.#acknowledged = fields.acknowledged
    this.#subscriber = fields.subscriber
    this.#guard = fields.guard
    this.#prefix = fields.prefix
    this.#channel = fields.channel
    this.operator = new RedisOperator({ ...fields, turn: fields.channel })
    this.#turns = new WaiterWakeups(fields.subscriber, this.#channel + this.#clientId, (value, lock) => {
      // Called for a waiter that gave up, so its turn goes to the next, and for a holder whose lease was ended.
      this.#doubt(value)
      this.#abandon(lock, value, 0, false).catch(() => {})
    })
    fields.commands.onReady((_client, first) => {
      if (!first) this.#doubt(undefined)
    })
  }

  newValue(terms: ClaimTerms): string {
    return valueOf(this.#clientId, randomId(), terms)
  }

  async acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply> {
    const { value } = claim
    const { lock, fence, line, shared, notes, dead } = lockKeys(this.#lockKey(claim.key))
    if (this.#guard.enabled) await this.#guard.requireSettled(lock)
    const terms = [value, request.ttlMs + claim.lockDelayMs, request.tokenFloor]
    let reply: unknown = null
    if (request.keepPlaceMs === 0) {
      const keys = [lock, fence, line, shared, dead(value)]
      reply =
        claim.mode === 'exclusive'
          ? await this.#run(acquireIdleScript, keys, terms)
          : await this.#run(acquireSharedIdleScript, keys, [
              ...terms,
              Number.isFinite(claim.limit) ? claim.limit - 1 : '',
            ])
      if (reply === null && request.thenWaits === true) return NOT_AT_ONCE
    }
    const handOver = request.handOver === true && this.#mayHandOver ? 1 : 0
    reply ??= await this.#run(
      claim.mode === 'exclusive' ? acquireScript : acquireSharedScript,
      [lock, fence, line, shared, notes, dead(value)],
      [...terms, request.keepPlaceMs, this.#channel, handOver],
    )
    const answer = acquireReply(reply)
    if (answer.status === 'granted' && this.#acknowledged !== undefined) await this.#confirm(claim, request.ttlMs)
    return answer
  }

  async extend(claim: Claim, ttlMs: number): Promise<'extended' | NotHeld> {
    const { lock, shared, dead } = lockKeys(this.#lockKey(claim.key))
    const args = [claim.value, ttlMs + claim.lockDelayMs]
    const runner = this.#acknowledged ?? this.#commands
    const reply =
      claim.mode === 'exclusive'
        ? await runner.run(extendScript, [lock, dead(claim.value)], args)
        : await runner.run(extendSharedScript, [shared, dead(claim.value)], args)
    return reply === 1 ? 'extended' : notHeld(reply)
  }

  async release(claim: Claim, forgetAfterMs: number): Promise<'released' | NotHeld> {
    const { lock, line, shared, notes, dead } = lockKeys(this.#lockKey(claim.key))
    if (forgetAfterMs === 0) {
      const certain = [claim.value, this.#channel]
      const reply =
        claim.mode === 'exclusive'
          ? await this.#run(releaseCertainScript, [lock, line, notes], certain)
          : await this.#run(releaseSharedCertainScript, [lock, line, shared, notes], certain)
      if (reply === 1) return 'released'
    }
    const args = [claim.value, forgetAfterMs, this.#channel]
    const reply =
      claim.mode === 'exclusive'
        ? await this.#run(releaseScript, [lock, line, notes, dead(claim.value)], args)
        : await this.#run(releaseSharedScript, [lock, line, shared, notes, dead(claim.value)], args)
    return reply === 1 ? 'released' : notHeld(reply)
  }

  async abandon(claim: Claim, forgetAfterMs: number): Promise<void> {
    await this.#abandon(this.#lockKey(claim.key), claim.value, forgetAfterMs, true)
  }

  listen(value: string, onTurn: (token?: number) => void): Promise<() => void> {
    return this.#turns.listen(value, onTurn)
  }

  inspect(key: string): Promise<LockInfo | undefined> {
    return this.operator.inspect(key)
  }

  onDoubt(listener: (value: string | undefined) => void): void {
    this.#doubts.push(listener)
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } {
    return this.#commands.health()
  }

  async close(): Promise<void> {
    this.#commands.close()
    this.#acknowledged?.close()
    this.#subscriber.close()
  }

  /** Not available where a grant needs more than the script: a look at the server's age, or answers of its replicas. */
  get #mayHandOver(): boolean {
    return this.#acknowledged === undefined && !this.#guard.enabled
  }

  /**
   * Renews a lease that the replicas must confirm, on a connection that tells whether they have it.
   * @throws `locks.store_unavailable`, always with outcome `unknown`: Redis has granted the lock
   */
  async #confirm(claim: Claim, ttlMs: number): Promise<void> {
    const unconfirmed = (detail: string, cause?: unknown): LockError =>
      new LockError('locks.store_unavailable', { store: 'redis', outcome: 'unknown', detail }, cause)
    const confirmed = await this.extend(claim, ttlMs).catch((error: unknown) => {
      throw unconfirmed(`granted, and not confirmed: ${messageOf(error) ?? 'no reason given'}`, error)
    })
    if (confirmed !== 'extended') throw unconfirmed('what was granted is not known to the master that replicas follow')
  }

  #doubt(value: string | undefined): void {
    for (const listener of this.#doubts) listener(value)
  }

  async #abandon(lock: string, value: string, forgetAfterMs: number, free: boolean): Promise<void> {
    const { line, shared, notes, dead } = lockKeys(lock)
    const args = [value, forgetAfterMs, this.#channel, free ? 1 : 0]
    await this.#run(abandonScript, [lock, line, shared, notes, dead(value)], args)
  }

  #run(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return this.#commands.run(script, keys, args)
  }

  #lockKey(key: string): string {
    return `${this.#prefix}{${key}}`
  }
}

/** Usually there is a waiter: the caller asks again for a place in the queue. */
const NOT_AT_ONCE: AcquireReply = { status: 'busy', retryAfterMs: -1, position: undefined, owner: undefined }

function acquireReply(reply: unknown): AcquireReply {
  if (typeof reply === 'number') {
    if (Number.isSafeInteger(reply) && reply > 0) return { status: 'granted', token: reply }
    throw new LockError(
      'locks.store_refused',
      { store: 'redis' },
      new Error(`the counter of tokens is beyond what numbers can tell apart: ${reply}`),
    )
  }
  if (!Array.isArray(reply)) {
    throw new LockError('locks.store_unavailable', {
      store: 'redis',
      outcome: 'not_done',
      detail: 'this acquisition was given up before',
    })
  }
  const [retryAfterMs, position, value, lastToken] = reply as [number, number, string, number?]
  const place = position < 0 ? undefined : position
  return { status: 'busy', retryAfterMs, position: place, owner: termsOf(value).owner, lastToken }
}
