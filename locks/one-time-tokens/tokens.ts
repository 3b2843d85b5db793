/**
 * One-time tokens: for a link in a mail, an invitation, a confirmation. A token is redeemed once and only once, however many ask
 * at a time.
 *
 * A token is 256 random bits. The store has its SHA-256 with the purpose and never the token, so who reads the store can redeem
 * nothing, and a token of one purpose is none of another. A token is looked up by that hash: nothing secret is compared, so no
 * answer's time says how much of a guess was right.
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
  /** Hears of each token that was refused, and why. Never of a token or a payload. @default stderrLogger */
  readonly logger?: Logger | undefined
  /** Counts what was issued, redeemed and refused. @default none */
  readonly telemetry?: Telemetry | undefined
}

/** How a token is issued or redeemed. */
export interface TokenCallOptions {
  /** An open transaction of the store's database: it counts if and only if that commits. Only with `postgresTokens`. */
  readonly tx?: SqlTransaction | undefined
}

/** One-time tokens of one store. */
export interface Tokens extends AsyncDisposable {
  /**
   * Makes a token. It is in the answer and nowhere else.
   * @param purpose what it is for, such as `password-reset`; 1 to 100 characters
   * @param payload JSON, at most 64 KiB, kept as it is by the store: who it is for, not what is secret
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
   * Uses a token up. Check the payload with a schema of yours, as all that was stored.
   * @returns the payload
   * @throws `tokens.refused` for anything that is no valid token, whatever it is; `tokens.store_unavailable`, `tokens.closed`
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

/** Checks foreign input: a text with the length of a token; anything else never reaches the store. */
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

/** The error shows nothing of it. */
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
