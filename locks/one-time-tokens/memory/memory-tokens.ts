import { type Clock, systemClock } from '../../../core/clock.ts'
import { optionNames, refuseUnknown } from '../../../core/option-checks.ts'
import { REMEMBERED_MS, type TokenRecord, type TokenStore, type TokenTaken } from '../store.ts'

/** Options of `memoryTokens`. */
export interface MemoryTokensOptions {
  /** @default systemClock */
  readonly clock?: Pick<Clock, 'now'> | undefined
}

interface Kept {
  payload: string | undefined
  readonly expiresAt: number
}

/** Tokens that are gone with the process. @throws TypeError naming the option */
export function memoryTokens(options: MemoryTokensOptions = {}): TokenStore {
  refuseUnknown('memoryTokens', options, optionNames<MemoryTokensOptions>({ clock: true }))
  return new MemoryTokenStore(options.clock ?? systemClock)
}

class MemoryTokenStore implements TokenStore {
  readonly name = 'memory'
  readonly joinsTransactions = false
  readonly #clock: Pick<Clock, 'now'>
  readonly #kept = new Map<string, Kept>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  async put({ hash, payload, ttlMs }: TokenRecord): Promise<number> {
    const now = this.#clock.now()
    for (const [old, { expiresAt }] of this.#kept) if (expiresAt + REMEMBERED_MS <= now) this.#kept.delete(old)
    this.#kept.set(hash, { payload, expiresAt: now + ttlMs })
    return now + ttlMs
  }

  async take(hash: string): Promise<TokenTaken> {
    const kept = this.#kept.get(hash)
    if (kept === undefined) return { outcome: 'unknown' }
    const { payload, expiresAt } = kept
    if (payload === undefined) return { outcome: 'used' }
    if (expiresAt <= this.#clock.now()) return { outcome: 'expired' }
    kept.payload = undefined
    return { outcome: 'taken', payload }
  }

  async close(): Promise<void> {
    this.#kept.clear()
  }
}
