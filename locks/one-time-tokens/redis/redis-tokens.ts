import { systemClock } from '../../../core/clock.ts'
import { counted } from '../../../core/counted-noun.ts'
import { requireInteger, requireText } from '../../../core/errors.ts'
import { checkLogger, type Logger } from '../../../core/logger.ts'
import { optionNames, refuseUnknown } from '../../../core/option-checks.ts'
import { REDIS_NAMES, type RedisOptions, type RedisValue, resolveRedis } from '../../../core/redis/client.ts'
import { RedisConnection, type Script } from '../../../core/redis/connection.ts'
import { warnOfEviction } from '../../../core/redis/eviction-warning.ts'
import type { RedisErrors } from '../../../core/redis/translate-errors.ts'
import { TokenError } from '../errors.ts'
import { REMEMBERED_MS, type TokenRecord, type TokenStore, type TokenTaken } from '../store.ts'
import { PUT, TAKE } from './scripts.ts'

/** How many replicas must know that a token was used before it counts. */
export interface TokenReplicas {
  /** At least 1. Only with the number of all replicas that may be promoted is the one promoted sure to have it. */
  readonly count: number
  /** How long a call waits for them, in ms. @default 100 ms */
  readonly timeoutMs?: number | undefined
}

/** Options of `redisTokens`. */
export interface RedisTokensOptions extends RedisOptions {
  /** Begins every key. @default 'concordat:token:' */
  readonly prefix?: string | undefined
  /**
   * A token is issued, or redeemed, only when this many replicas have acknowledged it (`WAIT`); otherwise the call fails with
   * `tokens.store_unavailable`, and a token being redeemed is used up. Narrows what a failover can forget, and does not close the gap.
   * @default not waited for
   */
  readonly replicas?: TokenReplicas | undefined
  /** Hears of the connection. @default stderrLogger */
  readonly logger?: Logger | undefined
}

const NAMES = optionNames<RedisTokensOptions>({
  ...REDIS_NAMES,
  prefix: true,
  replicas: true,
  logger: true,
})
const REPLICA_NAMES = optionNames<TokenReplicas>({ count: true, timeoutMs: true })

const ERRORS: RedisErrors = {
  unavailable: (outcome, detail, cause) =>
    new TokenError('tokens.store_unavailable', { store: 'redis', outcome, detail }, cause),
  refused: (cause) => new TokenError('tokens.store_refused', { store: 'redis' }, cause),
}

/** @throws TypeError / RangeError for a bad option; connects later, so never because Redis is away */
export function redisTokens(options: RedisTokensOptions): TokenStore {
  refuseUnknown('redisTokens', options, NAMES)
  const replicas = options.replicas && resolveReplicas(options.replicas)
  const { client, answerMs } = resolveRedis('redisTokens', options)
  const logger = checkLogger('redisTokens.logger', options.logger)
  const connection = new RedisConnection({
    client,
    name: 'concordat-tokens',
    answerMs: answerMs + (replicas?.timeoutMs ?? 0),
    clock: systemClock,
    logger,
    errors: ERRORS,
    letsExit: true,
  })
  warnOfEviction(connection, { name: 'one-time tokens', expires: true }, logger)
  return new RedisTokenStore(
    connection,
    requireText('redisTokens.prefix', options.prefix ?? 'concordat:token:'),
    replicas,
  )
}

interface Acknowledged {
  readonly count: number
  readonly timeoutMs: number
}

function resolveReplicas(given: TokenReplicas): Acknowledged {
  const path = 'redisTokens.replicas'
  refuseUnknown(path, given, REPLICA_NAMES)
  return {
    count: requireInteger(`${path}.count`, given.count, 1),
    timeoutMs: requireInteger(`${path}.timeoutMs`, given.timeoutMs ?? 100, 1, 60_000),
  }
}

class RedisTokenStore implements TokenStore {
  readonly name = 'redis'
  readonly joinsTransactions = false
  readonly #connection: RedisConnection
  readonly #prefix: string
  readonly #replicas: Acknowledged | undefined

  constructor(connection: RedisConnection, prefix: string, replicas: Acknowledged | undefined) {
    this.#connection = connection
    this.#prefix = prefix
    this.#replicas = replicas
  }

  async put({ hash, payload, ttlMs }: TokenRecord): Promise<number> {
    return Number(await this.#run(PUT, hash, [payload, ttlMs, REMEMBERED_MS]))
  }

  async take(hash: string): Promise<TokenTaken> {
    const [outcome, payload] = (await this.#run(TAKE, hash, [])) as ['taken', string] | ['unknown' | 'used' | 'expired']
    return outcome === 'taken' ? { outcome, payload: payload as string } : { outcome }
  }

  async close(): Promise<void> {
    this.#connection.close()
  }

  async #run(script: Script, hash: string, args: readonly (string | number)[]): Promise<unknown> {
    const keys = [`${this.#prefix}${hash}`]
    if (this.#replicas === undefined) return this.#connection.run(script, keys, args as readonly RedisValue[])
    const { count, timeoutMs } = this.#replicas
    const { replies, last } = await this.#connection.runThen([{ script, keys, args }], ['wait', count, timeoutMs])
    const reply = replies[0]
    if (reply?.status !== 'fulfilled') throw reply?.reason ?? new Error('unreachable: a script without a reply')
    if (Number(last) >= count) return reply.value
    const detail = `${Number(last)} of ${counted(count, 'replica has', 'replicas have')} acknowledged within ${timeoutMs} ms`
    throw new TokenError('tokens.store_unavailable', { store: 'redis', outcome: 'unknown', detail })
  }
}
