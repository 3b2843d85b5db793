/**
 * One-time tokens for links in emails, invitations and confirmations. A token is redeemed exactly once, however many concurrent
 * calls there are.
 *
 * A token is 256 random bits. The store has its SHA-256 with the purpose but never the token, so a reader of the store cannot
 * redeem any, and a token of one purpose is invalid for another. A token is looked up by this hash: no secret is compared, so the
 * time of an answer reveals nothing about a guess.
 */
import { createHash, randomBytes } from 'node:crypto'
import { DAY } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { Lifecycle } from '../../core/lifecycle.ts'
import { checkLogger, type Logger } from '../../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../../core/option-checks.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import { checkTelemetry, type Measure, type Telemetry } from '../../core/telemetry-interface.ts'
import { TokenError } from './errors.ts'
import type { TokenStore, TokenTaken } from './store.ts'

/** Options of `createTokens`. */
export interface TokensOptions {
  /** `redisTokens(...)`, `postgresTokens(...)` or `memoryTokens()`. Closed with the tokens. */
  readonly store: TokenStore
  /** Logs each refused token with the reason, but never a token or a payload. @default stderrLogger */
  readonly logger?: Logger | undefined
  /** Counts issued, redeemed and refused tokens. @default none */
  readonly telemetry?: Telemetry | undefined
}

/** Options of issuing and redeeming a token. */
export interface TokenCallOptions {
  /** An open transaction of the store's database: the call takes effect if and only if it commits. Only with `postgresTokens`. */
  readonly tx?: SqlTransaction | undefined
}

/** One-time tokens of one store. */
export interface Tokens extends AsyncDisposable {
  /**
   * Creates a token, which is only in the return value.
   * @param purpose purpose of the token, such as `password-reset`; 1 to 100 characters
   * @param payload JSON, at most 64 KiB, stored in clear: whom the token is for, no secrets
   * @param ttlMs how long it can be redeemed, by the store's clock; at most 400 days
   * @throws TypeError / RangeError naming the argument; `tokens.store_unavailable`, `tokens.closed`
   */
  issue(
    purpose: string,
    payload: unknown,
    ttlMs: number,
    options?: TokenCallOptions,
  ): Promise<{ readonly token: string; readonly expiresAt: number }>
  /**
   * Uses a token up. Validate the payload with your own schema, like all stored data.
   * @returns the payload
   * @throws `tokens.refused` for any value that is not a valid token; `tokens.store_unavailable`, `tokens.closed`
   */
  redeem(purpose: string, token: unknown, options?: TokenCallOptions): Promise<unknown>
  /** Closes the store. Idempotent, never rejects. */
  close(): Promise<void>
}

const NAMES = optionNames<TokensOptions>({ store: true, logger: true, telemetry: true })
const CALL_NAMES = optionNames<TokenCallOptions>({ tx: true })
const TOKEN_BYTES = 32
const MAX_PAYLOAD_BYTES = 64 * 1024
const MAX_TTL_MS = 400 * DAY

/** @throws TypeError naming the option */
export function createTokens(options: TokensOptions): Tokens {
  refuseUnknown('createTokens', options, NAMES)
  return new StoredTokens(options)
}

class StoredTokens implements Tokens {
  readonly #store: TokenStore
  readonly #logger: Logger
  readonly #issued: Measure | undefined
  readonly #redeemed: Measure | undefined
  readonly #life = new Lifecycle(() => new TokenError('tokens.closed'))

  constructor({ store, logger, telemetry }: TokensOptions) {
    if (!hasMethods(store, ['put', 'take', 'close']))
      throw wrongKind('createTokens.store', store, 'redisTokens(...), postgresTokens(...) or memoryTokens()')
    this.#store = store
    this.#logger = checkLogger('createTokens.logger', logger)
    const meter = checkTelemetry('createTokens.telemetry', telemetry)
    this.#issued = meter?.counter({
      name: 'concordat.token.issued',
      unit: '{token}',
      description: 'Tokens that were made',
    })
    this.#redeemed = meter?.counter({
      name: 'concordat.token.redeemed',
      unit: '{token}',
      description: 'Tokens that were presented, by what became of them',
    })
  }

  async issue(purpose: string, payload: unknown, ttlMs: number, options?: TokenCallOptions) {
    checkPurpose('tokens.issue', purpose)
    requireInteger('tokens.issue.ttlMs', ttlMs, 1, MAX_TTL_MS)
    const tx = this.#transactionOf('tokens.issue', options)
    this.#life.requireOpen()
    const token = randomBytes(TOKEN_BYTES).toString('base64url')
    const record = { hash: hashOf(purpose, token), purpose, payload: jsonOf(payload), ttlMs }
    const expiresAt = await this.#store.put(record, tx)
    this.#issued?.(1, { 'concordat.purpose': purpose })
    return { token, expiresAt }
  }

  async redeem(purpose: string, token: unknown, options?: TokenCallOptions): Promise<unknown> {
    checkPurpose('tokens.redeem', purpose)
    const tx = this.#transactionOf('tokens.redeem', options)
    this.#life.requireOpen()
    const taken: TokenTaken = isToken(token)
      ? await this.#store.take(hashOf(purpose, token), tx)
      : { outcome: 'unknown' }
    this.#redeemed?.(1, { 'concordat.purpose': purpose, 'concordat.outcome': taken.outcome })
    if (taken.outcome === 'taken') return JSON.parse(taken.payload) as unknown
    this.#logger.warn({ purpose, reason: taken.outcome, store: this.#store.name }, 'token refused')
    throw new TokenError('tokens.refused', { purpose })
  }

  close(): Promise<void> {
    return this.#life.close(() => this.#store.close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #transactionOf(path: string, options: TokenCallOptions = {}): SqlTransaction | undefined {
    refuseUnknown(path, options, CALL_NAMES)
    const { tx } = options
    if (tx === undefined) return undefined
    if (!this.#store.joinsTransactions)
      throw wrongKind(`${path}.tx`, tx, `no transaction: ${this.#store.name} has none. Use postgresTokens({ sql })`)
    if (hasMethods(tx, ['query']) && 'inTransaction' in tx) return tx
    throw wrongKind(
      `${path}.tx`,
      tx,
      'the open transaction: sql.transaction((tx) => tokens.redeem(purpose, token, { tx }))',
    )
  }
}

/** Checks foreign input: a text with the length of a token; other values never reach the store. */
function isToken(token: unknown): token is string {
  return typeof token === 'string' && /^[A-Za-z0-9_-]{43}$/.test(token)
}

function hashOf(purpose: string, token: string): string {
  return createHash('sha256')
    .update(JSON.stringify(['concordat token', purpose, token]))
    .digest('hex')
}

function checkPurpose(path: string, purpose: unknown): void {
  if (typeof purpose === 'string' && /^[\w.:-]{1,100}$/.test(purpose)) return
  throw invalidOption(`${path}.purpose`, purpose, '1 to 100 characters of A-Z a-z 0-9 _ . : -')
}

/** The error contains nothing of the payload. */
function jsonOf(payload: unknown): string {
  const json: string | undefined = JSON.stringify(payload)
  if (json === undefined) throw wrongKind('tokens.issue.payload', payload, 'a value that JSON has, or null')
  const bytes = Buffer.byteLength(json)
  if (bytes > MAX_PAYLOAD_BYTES)
    throw new RangeError(
      `tokens.issue.payload: expected at most ${MAX_PAYLOAD_BYTES} bytes, got ${bytes}: keep it in a table, and its id in the token`,
    )
  return json
}
