import { CallHealth } from '../../core/call-health.ts'
import type { Clock } from '../../core/clock.ts'
import { hasCode, invalidOption, requireInteger, requireText } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { REDIS_NAMES, type RedisOptions, type RedisValue, resolveRedis } from '../../core/redis/client.ts'
import { defineScript, RedisConnection } from '../../core/redis/connection.ts'
import { warnOfEviction } from '../../core/redis/eviction-warning.ts'
import type { RedisErrors } from '../../core/redis/translate-errors.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../core/runtime-options.ts'
import { fieldOf, messageOf } from '../../core/thrown-values.ts'
import { LockError } from '../errors.ts'
import { requireResourceName } from '../options.ts'
import { LAST, RAISE, WRITE } from './fence-scripts.ts'

/** Options of `redisFence`. The server is the one with the guarded data; failed connections are logged to `logger`. */
export interface RedisFenceOptions extends RedisOptions, RuntimeOptions {
  /** Prefix of the keys with the highest tokens. @default 'concordat:fence:' */
  readonly prefix?: string | undefined
}

/** A Redis command as in `redis-cli`: name, then arguments. Bytes are unchanged. */
export type RedisCommand = readonly [name: string, ...args: ReadonlyArray<string | number | Uint8Array>]

/**
 * Guards data in Redis against stale lock holders: the check of the token and the write are one step on the server, so no older
 * holder gets a write through.
 *
 *     await fence.write('stock:42', lease.token, [['HSET', 'stock:42', 'left', 7]])
 *
 * For each resource one small key stores the highest token and never expires. In a cluster the written keys must be in the
 * resource's slot: name the resource like the key, or give the keys the hash tag `{resource}`.
 */
export interface RedisFence extends AsyncDisposable {
  /**
   * Runs the commands in order, without commands of others in between, if `token` is at least the highest seen for `resource`,
   * and stores it. Resolves with their replies. An equal token is accepted: a holder may write often, and may repeat a write
   * whose answer was lost, so make commands idempotent, or read before repeating.
   * @throws `locks.fence_rejected` after a newer token, without writing; `locks.fenced_write_failed` when a command failed:
   * earlier ones took effect, Redis does not roll back; `locks.store_unavailable` (`unknown`: perhaps written),
   * `locks.store_refused`
   */
  write(
    resource: string,
    token: number,
    commands: readonly RedisCommand[],
    options?: FencedWriteOptions,
  ): Promise<readonly unknown[]>
  /** Checks the token without writing, and refuses older ones from then on. Does not protect later effects of the caller. */
  check(resource: string, token: number): Promise<void>
  /** Highest token seen, or `undefined`. */
  lastToken(resource: string): Promise<number | undefined>
  /**
   * For operators: accepts only tokens of at least `token` from now on. Never lowers the limit. Resolves with the highest
   * token. To exclude a holder that must no longer write, raise it to that holder's token + 1.
   */
  raise(resource: string, token: number): Promise<number>
  /** `up`: the last call of each kind succeeded, or a probe since. Cheap, no I/O. */
  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string | undefined }
  /** Closes the connection. Idempotent, never rejects. Running calls fail as unavailable. */
  close(): Promise<void>
}

/** Options of `fence.write`. */
export interface FencedWriteOptions {
  /** True: replies contain Buffers instead of strings, for values that are not text. @default false */
  readonly buffers?: boolean | undefined
}

const writeScript = defineScript(WRITE)
const raiseScript = defineScript(RAISE)
const lastScript = defineScript(LAST)

const NAMES = optionNames<RedisFenceOptions>({
  ...REDIS_NAMES,
  ...RUNTIME_NAMES,
  prefix: true,
})
const WRITE_NAMES = optionNames<FencedWriteOptions>({ buffers: true })

const ERRORS: RedisErrors = {
  unavailable: (outcome, detail, cause) =>
    new LockError('locks.store_unavailable', { store: 'redis (fence)', outcome, detail }, cause),
  refused: (cause) => new LockError('locks.store_refused', { store: 'redis (fence)' }, cause),
}

/** Resource written by the probes of `health`. */
const PROBE_RESOURCE = 'concordat/probe'
/** Maximum number of words in one command that Lua passes on, and a few more. */
const MAX_WORDS = 7_000
/** Commands whose first argument is not a key. */
const NO_KEY_FIRST = new Set(['PUBLISH', 'SPUBLISH', 'BITOP', 'OBJECT', 'XGROUP', 'XINFO'])

/**
 * Creates a fence. @throws TypeError / RangeError for a bad option. Connects later, so an unavailable Redis never makes it
 * throw.
 */
export function redisFence(options: RedisFenceOptions): RedisFence {
  refuseUnknown('redisFence', options, NAMES)
  const { clock, logger } = resolveRuntime('redisFence', options)
  const { client, answerMs } = resolveRedis('redisFence', options)
  const connection = new RedisConnection({
    client,
    name: 'concordat-fence',
    answerMs,
    clock,
    logger,
    errors: ERRORS,
  })
  warnOfEviction(connection, { name: 'fencing tokens', expires: false }, logger)
  return new ScriptedFence(connection, requireText('redisFence.prefix', options.prefix ?? 'concordat:fence:'), clock)
}

class ScriptedFence implements RedisFence {
  readonly #connection: RedisConnection
  readonly #prefix: string
  readonly #calls: CallHealth

  constructor(connection: RedisConnection, prefix: string, clock: Clock) {
    this.#connection = connection
    this.#prefix = prefix
    this.#calls = new CallHealth({
      clock,
      // Needs the right and the memory to write, like a fenced write.
      probe: () => this.raise(PROBE_RESOURCE, 0),
      isFailure: (error) => hasCode(error, 'locks.store_unavailable') || hasCode(error, 'locks.store_refused'),
    })
  }

  async write(
    resource: string,
    token: number,
    commands: readonly RedisCommand[],
    options: FencedWriteOptions = {},
  ): Promise<readonly unknown[]> {
    const path = `fence("${resource}").write`
    refuseUnknown(path, options, WRITE_NAMES)
    const args = [tokenText(resource, token), ...wordsOf(path, commands)]
    const keys = [this.#key(resource), ...keysOf(commands)]
    const written = this.#run(resource, keys, args, options.buffers === true, commands[0]?.[0] ?? 'SET')
    const reply = await this.#calls.track(written, 'write')
    const [status, detail, message] = reply as [number, unknown, unknown]
    if (status === 0)
      throw new LockError('locks.fence_rejected', { resource, token, lastToken: Number(String(detail)) })
    if (status === 1) return detail as readonly unknown[]
    const failed = commands[Number(detail)]?.[0] ?? 'a command'
    throw new LockError(
      'locks.fenced_write_failed',
      { resource, command: failed, applied: Number(detail) },
      new Error(String(message)),
    )
  }

  async check(resource: string, token: number): Promise<void> {
    await this.write(resource, token, [])
  }

  async lastToken(resource: string): Promise<number | undefined> {
    const last = await this.#calls.track(this.#connection.run(lastScript, [this.#key(resource)], []), 'lastToken')
    return last === null ? undefined : Number(last)
  }

  async raise(resource: string, token: number): Promise<number> {
    const raised = this.#connection.run(raiseScript, [this.#key(resource)], [tokenText(resource, token)])
    return Number(await this.#calls.track(raised, 'raise'))
  }

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string | undefined } {
    const connection = this.#connection.health()
    const calls = this.#calls.state()
    return connection.status === 'down' || calls.status !== 'down' ? connection : calls
  }

  async close(): Promise<void> {
    this.#calls.close()
    this.#connection.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #run(
    resource: string,
    keys: readonly RedisValue[],
    args: readonly RedisValue[],
    buffers: boolean,
    firstCommand: string,
  ): Promise<unknown> {
    try {
      if (buffers) return await this.#connection.runForBuffers(writeScript, keys, args)
      return await this.#connection.run(writeScript, keys, args)
    } catch (error) {
      const cause = hasCode(error, 'locks.store_refused') ? fieldOf(error, 'cause') : undefined
      if (messageOf(cause)?.startsWith('CROSSSLOT') === true)
        throw new LockError('locks.fenced_write_failed', { resource, command: firstCommand, applied: 0 }, cause)
      throw error
    }
  }

  /**
   * Returns the key. A resource with a hash tag keeps it; otherwise the resource is the tag. The slot is that of a key with
   * this name.
   */
  #key(resource: string): string {
    requireResourceName(resource)
    return /\{[^}]+\}/.test(resource) ? `${this.#prefix}tag:${resource}` : `${this.#prefix}{${resource}}`
  }
}

function tokenText(resource: string, token: number): string {
  return String(requireInteger(`fence("${resource}") token`, token, 0))
}

/** Returns the keys to declare to Redis, which then refuses keys of another slot, or forbidden keys, before anything is done. */
function keysOf(commands: readonly RedisCommand[]): ReadonlySet<RedisValue> {
  const withKey = commands.filter(([name, key]) => key !== undefined && !NO_KEY_FIRST.has(name.toUpperCase()))
  return new Set(withKey.map(([, key]) => wordOf(key)))
}

function wordsOf(path: string, commands: readonly RedisCommand[]): readonly RedisValue[] {
  if (!Array.isArray(commands)) throw invalidOption(path, commands, 'a list of commands: [["SET", key, value], ...]')
  return (commands as readonly RedisCommand[]).flatMap((command, n) => {
    if (!Array.isArray(command) || typeof command[0] !== 'string' || command[0] === '') {
      throw invalidOption(`${path}[${n}]`, command, 'a command: ["SET", key, value]')
    }
    requireInteger(`${path}[${n}].length`, command.length, 1, MAX_WORDS)
    return [command.length, ...(command as RedisCommand).map((word, at) => wordOf(word, `${path}[${n}][${at}]`))]
  })
}

function wordOf(word: unknown, path = 'a key'): RedisValue {
  if (typeof word === 'string' || (typeof word === 'number' && Number.isFinite(word))) return word
  if (word instanceof Uint8Array) return Buffer.from(word.buffer, word.byteOffset, word.byteLength)
  throw invalidOption(path, word, 'a string, a finite number or bytes')
}
