import { LockStoreUnavailable } from '../errors.ts'
import type { LockHolder } from '../lock.ts'
import { randomId } from '../random.ts'
import type { AcquireReply, AcquireRequest, LockStore } from '../store.ts'
import { defineScript, type RedisConnection, type Script } from './connection.ts'
import type { RestartGuard } from './restart.ts'
import { ABANDON, ACQUIRE, EXTEND, INSPECT, RELEASE } from './scripts.ts'
import { Turns } from './turns.ts'

const acquireScript = defineScript(ACQUIRE)
const extendScript = defineScript(EXTEND)
const releaseScript = defineScript(RELEASE)
const abandonScript = defineScript(ABANDON)
const inspectScript = defineScript(INSPECT)

/** The lock store on one Redis server (or one master and its replicas): see `scripts.ts` for what is stored. */
export class RedisLockStore implements LockStore {
  readonly name = 'redis'
  readonly #commands: RedisConnection
  readonly #subscriber: RedisConnection
  readonly #turns: Turns
  readonly #prefix: string
  readonly #channel: string
  readonly #clientId = randomId()
  readonly #guard: RestartGuard

  constructor(fields: { commands: RedisConnection; subscriber: RedisConnection; guard: RestartGuard; prefix: string }) {
    this.#commands = fields.commands
    this.#subscriber = fields.subscriber
    this.#guard = fields.guard
    this.#prefix = fields.prefix
    this.#channel = `${fields.prefix}turn:`
    this.#turns = new Turns(fields.subscriber, this.#channel + this.#clientId, (value, lockKey) => {
      this.#run(abandonScript, this.#keys(lockKey, value), [value, 0, this.#channel, 0]).catch(() => {})
    })
  }

  newValue(owner: string): string {
    return `${this.#clientId}.${randomId()}.${encodeURIComponent(owner)}`
  }

  async acquire(request: AcquireRequest): Promise<AcquireReply> {
    if (this.#guard.enabled) await this.#guard.requireSettled()
    const { value } = request
    const [lock, line, places, dead] = this.#keys(this.#lockKey(request.key), value)
    const reply = await this.#run(
      acquireScript,
      [lock, `${lock}:fence`, line, places, dead],
      [value, request.ttlMs, request.tokenFloor, request.keepPlaceMs, this.#channel],
    )
    return acquireReply(reply)
  }

  async extend(key: string, value: string, ttlMs: number): Promise<'extended' | 'lost'> {
    return (await this.#run(extendScript, [this.#lockKey(key)], [value, ttlMs])) === 1 ? 'extended' : 'lost'
  }

  async release(key: string, value: string, forgetAfterMs: number): Promise<'released' | 'lost'> {
    const keys = this.#keys(this.#lockKey(key), value)
    return (await this.#run(releaseScript, keys, [value, forgetAfterMs, this.#channel])) === 1 ? 'released' : 'lost'
  }

  async abandon(key: string, value: string, forgetAfterMs: number): Promise<void> {
    await this.#run(abandonScript, this.#keys(this.#lockKey(key), value), [value, forgetAfterMs, this.#channel, 1])
  }

  listen(value: string, onTurn: () => void): Promise<() => void> {
    return this.#turns.listen(value, onTurn)
  }

  async inspect(key: string): Promise<LockHolder | undefined> {
    const lock = this.#lockKey(key)
    const reply = await this.#run(inspectScript, [lock, `${lock}:fence`, `${lock}:line`], [])
    if (reply === null) return undefined
    const [value, token, expiresInMs, waiting] = reply as [string, string, number, number]
    return { owner: ownerOf(value), token: Number(token), expiresInMs, waiting }
  }

  onRestored(listener: () => void): void {
    this.#commands.onReady((_client, first) => {
      if (!first) listener()
    })
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string } {
    return this.#commands.health()
  }

  async close(): Promise<void> {
    this.#commands.close()
    this.#subscriber.close()
  }

  #run(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return this.#commands.run(script, keys, args)
  }

  #lockKey(key: string): string {
    return `${this.#prefix}{${key}}`
  }

  #keys(lock: string, value: string): [lock: string, line: string, places: string, dead: string] {
    return [lock, `${lock}:line`, `${lock}:places`, `${lock}:dead:${value}`]
  }
}

function acquireReply(reply: unknown): AcquireReply {
  const [status, number, position, value] = reply as [number, number, number, string]
  if (status === 1) return { status: 'granted', token: number }
  if (status === 0) {
    const place = position < 0 ? undefined : position
    return { status: 'busy', retryAfterMs: number, position: place, owner: ownerOf(value) }
  }
  throw new LockStoreUnavailable('redis', 'not_done', 'this acquisition was given up before')
}

/** Values are `<client>.<random>.<owner>`. */
function ownerOf(value: string): string {
  const encoded = value.split('.').slice(2).join('.')
  try {
    return decodeURIComponent(encoded)
  } catch {
    return encoded
  }
}
